"""spec.json: what a training script is to do, in plain words that any language can read."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bsscale.errors import RecordsError
from bsscale.files.replace import plain, write_json
from bsscale.records.schema import FORMAT_VERSION, read_object, typed, version_of

if TYPE_CHECKING:
    from bsscale.planning.plan import Plan
    from bsscale.schedules import Schedule
    from bsscale.stats.median_rule import Bar

__all__ = ["SPEC", "Contract", "contract_of", "read_contract", "write_contract"]

SPEC = "spec.json"
_REMEDY = "start the run by bsscale again, or leave BSSCALE_RUN out"


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What a script trains, until when, and how it is judged.

    `lr` and `momentum` are those of the first update; `schedule` and `scaling` are the options of
    which all others follow. `loss` is the name of the validation loss, if the script reports one.
    `bar` is of a run of a search: pairs of samples and the metric's value that it must have reached
    by then, or it is stopped as hopeless.
    `resumed` says whether an earlier start has begun this run; `start` names this start.
    """

    format_version: int = FORMAT_VERSION
    arm: str
    seed: int
    gpus: int
    micro_batch: int
    grad_accum: int
    global_batch: int
    lr: float
    momentum: float | None
    base_lr: float
    schedule: dict[str, Any]
    scaling: dict[str, Any]
    configured_momentum: float | None
    samples_per_pass: int | None
    metric: str
    direction: Literal["max", "min"]
    loss: str
    target: float | None
    stop_at_target: bool
    budget_samples: int
    steps: int
    eval_interval_samples: int
    resumed: bool
    start: str
    bar: tuple[tuple[int, float], ...] = ()

    def built_schedule(self) -> Schedule:
        """The schedule of all updates; equal to the one that bsscale compares reports with."""
        from bsscale.planning.scaling import scaled_context
        from bsscale.schedules.options import ScheduleContext
        from bsscale.schedules.options.given import make_schedule
        from bsscale.schedules.options.scaling import make_scaling

        context = ScheduleContext(
            base_lr=self.base_lr,
            gpus=self.gpus,
            global_batch=self.global_batch,
            samples_per_pass=self.samples_per_pass,
            momentum=self.configured_momentum,
        )
        rule = make_scaling(self.scaling).build()
        return make_schedule(self.schedule).build(scaled_context(rule, context))


def contract_of(plan: Plan, arm: str, resumed: bool, bar: Bar = ()) -> Contract:
    """What a script is told about its run.

    Parameters
    ----------
    plan, arm
        Of the run.
    resumed
        Whether an earlier start has begun it.
    bar
        What it must have reached, or it is stopped.
    """
    from bsscale.schedules.options.given import given_options
    from bsscale.schedules.options.scaling import given_scaling

    config = plan.config
    loss = getattr(plan.objective, "loss", None) or plan.metric.name
    momentum = plan.momentum(0)
    return Contract(
        arm=arm,
        seed=config.seed,
        gpus=plan.gpus,
        micro_batch=config.micro_batch,
        grad_accum=config.grad_accum,
        global_batch=plan.global_batch,
        lr=float(plan.schedule.lr(0)),
        momentum=None if momentum is None else float(momentum),
        base_lr=plan.base_lr,
        schedule=plain(given_options(config.schedule)),
        scaling=plain(given_scaling(config.scaling)),
        configured_momentum=config.optimizer.momentum_now,
        samples_per_pass=plan.samples_per_pass,
        metric=plan.metric.name,
        direction=plan.metric.direction,
        loss=loss,
        target=config.target,
        stop_at_target=config.stop_at_target,
        budget_samples=plan.budget_samples,
        steps=plan.steps,
        eval_interval_samples=plan.eval_interval_samples,
        resumed=resumed,
        start=secrets.token_hex(8),
        bar=bar,
    )


def write_contract(directory: Path, contract: Contract) -> None:
    """Write spec.json, whole or not at all."""
    write_json(directory / SPEC, plain(msgspec.to_builtins(contract)))


def read_contract(directory: Path) -> Contract:
    """Read spec.json of a run's directory.

    Raises
    ------
    RecordsError
        If there is none, or it is not what bsscale writes.
    """
    path = directory / SPEC
    try:
        data: Mapping[str, Any] = read_object(path, _REMEDY)
    except FileNotFoundError:
        raise RecordsError(f"there is no {path}, which BSSCALE_RUN names", _REMEDY) from None
    version_of(dict(data), path)
    return typed(data, Contract, path, _REMEDY)
