"""spec.json: what a training script is to do, in plain words that any language can read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bsscale.errors import RecordsError
from bsscale.files.replace import plain, write_json
from bsscale.records.schema import FORMAT_VERSION, read_object, typed, version_of

if TYPE_CHECKING:
    from bsscale.schedules import Schedule

__all__ = ["SPEC", "Contract", "read_contract", "write_contract"]

SPEC = "spec.json"
_REMEDY = "start the run by bsscale again, or leave BSSCALE_RUN out"


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What a script trains, until when, and how it is judged.

    `lr` and `momentum` are those of the first update; `schedule` and `scaling` are the options of
    which all others follow. `loss` is the name of the validation loss, if the script reports one.
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
