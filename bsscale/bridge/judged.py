"""What a script reports, checked and judged: the same code in bsscale and in the script itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bsscale.bridge.contract import Contract
from bsscale.errors import ScriptError
from bsscale.objectives.metric import Criterion
from bsscale.objectives.reported import NonFiniteDetector
from bsscale.records.evaluation import EvalPoint
from bsscale.training.trajectory import Trajectory

if TYPE_CHECKING:
    from bsscale.schedules import Schedule

__all__ = ["Judged"]

# Reported beside the metrics.
_APART = ("step", "samples", "train_loss", "lr", "momentum", "wall_s", "noise_scale")
# A reported learning rate may be a float32.
SAME_LR = 1e-6


class Judged:
    """The reports of one run: each is checked and becomes an evaluation, which may end the run.

    Parameters
    ----------
    contract
        The run.
    earlier
        The evaluations of its earlier starts. Those that a first report lies before are taken back:
        the script has gone back to its checkpoint.
    """

    def __init__(self, contract: Contract, earlier: Sequence[EvalPoint] = ()) -> None:
        self.contract = contract
        self.earlier = tuple(earlier)
        self.begun = False
        self.trajectory = self._trajectory()

    @cached_property
    def schedule(self) -> Schedule:
        """Of the run."""
        return self.contract.built_schedule()

    @property
    def status(self) -> str | None:
        """reached, exhausted or diverged; None while the run goes on."""
        return self.trajectory.status

    def add(self, data: Mapping[str, Any], wall_s: float | None) -> EvalPoint | None:
        """Take a report.

        Parameters
        ----------
        data
            ``samples``, the metric that judges the run, and what else the script reports.
        wall_s
            Seconds since the run began.

        Returns
        -------
        The evaluation; None for one beyond the budget, which only ends the run.

        Raises
        ------
        ScriptError
            For a report that cannot be.
        """
        point = self._point(data, wall_s)
        if not self.begun:
            self.begin(point.samples)
        before = self.trajectory.points[-1].samples if self.trajectory.points else -1
        if point.samples <= before:
            raise ScriptError(
                f"the script reported {point.samples:,} samples after {before:,}",
                "report the evaluations of one process, in the order in which they are made",
            )
        if point.step > self.contract.steps:
            if not self.trajectory.points:
                raise ScriptError(
                    f"the first report of the script is at {point.samples:,} samples, beyond its "
                    f"budget of {self.contract.budget_samples:,}",
                    "report evaluations along the way (run.due tells when)",
                )
            self.trajectory.end("the budget is spent")
            return None
        self.trajectory.add(point, decides=point.step > 0)
        return point

    def begin(self, samples: int) -> None:
        """Begin at the first report of this start: what lies at or after it is taken back."""
        self.begun = True
        self.trajectory.keep([point for point in self.earlier if point.samples < samples])

    def _trajectory(self) -> Trajectory:
        contract = self.contract
        return Trajectory(
            Criterion(contract.metric, contract.direction),
            contract.target,
            NonFiniteDetector([contract.metric, contract.loss]),
            contract.steps,
            contract.stop_at_target,
            of_script=True,
            bar=contract.bar,
        )

    def _point(self, data: Mapping[str, Any], wall_s: float | None) -> EvalPoint:
        contract = self.contract
        samples = _whole(data, "samples")
        step, rest = divmod(samples, contract.global_batch)
        if rest:
            raise ScriptError(
                f"the script reported {samples:,} samples, which is no multiple of its global "
                f"batch of {contract.global_batch:,}",
                "count whole updates (drop an incomplete last batch), and take global_batch, "
                "micro_batch and gpus from bsscale",
            )
        if data.get("step") is not None and _whole(data, "step") != step:
            raise ScriptError(
                f"the script reported step {data['step']} with {samples:,} samples, which are "
                f"{step:,} updates of {contract.global_batch:,}",
                "count samples of all replicas: step x global_batch",
            )
        metrics = {name: _number(name, data[name]) for name in data if name not in _APART}
        if contract.metric not in metrics:
            known = ", ".join(metrics) or "no metric"
            raise ScriptError(
                f"the script reported {known}, and {contract.metric} judges it",
                f"report {contract.metric}, or give metric=NAME",
            )
        others = {name: data.get(name) for name in ("train_loss", "lr", "momentum", "noise_scale")}
        numbers = {name: _optional(name, value) for name, value in others.items()}
        if numbers["train_loss"] is None and others["train_loss"] is not None:
            numbers["train_loss"] = math.nan  # (the run has diverged)
        self._check_rate(step, numbers["lr"])
        return EvalPoint(
            step=step,
            samples=samples,
            metrics=metrics,
            train_loss=numbers["train_loss"],
            lr=numbers["lr"],
            momentum=numbers["momentum"],
            noise_scale=numbers["noise_scale"],
            wall_s=wall_s,
        )

    def _check_rate(self, step: int, lr: float | None) -> None:
        """Raise ScriptError where a reported rate is not the schedule's at the last update."""
        if lr is None or step == 0:
            return
        wanted = self.schedule.lr(step - 1)
        if not math.isclose(lr, wanted, rel_tol=SAME_LR, abs_tol=SAME_LR * abs(wanted)):
            raise ScriptError(
                f"the script reported the learning rate {lr:.6g} at step {step:,}, where the "
                f"schedule has {wanted:.6g}",
                "set the rate of every update from bsscale: run.attach(optimizer), "
                "run.schedule.lr(step) or {lr} with a constant schedule",
            )


def _whole(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise ScriptError(
            f"the script reported {name}={value!r}, which is no whole number",
            'report one object an evaluation, such as {"samples": 8192, "auc": 0.71}',
        )
    if value < 0:
        raise ScriptError(f"the script reported {name}={value}", "give 0 or more")
    return int(value)


def _number(name: str, value: Any) -> float | None:
    """A metric; None where it is not finite."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ScriptError(
            f"the script reported {name}={value!r}, which is no number",
            "report numbers, and null for one that is not defined",
        )
    return float(value) if math.isfinite(value) else None


def _optional(name: str, value: Any) -> float | None:
    return None if value is None else _number(name, value)
