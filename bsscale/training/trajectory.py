"""The evaluations of a run, and what they decide: reached, exhausted, diverged, or go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from bsscale.objectives.metric import Criterion
from bsscale.objectives.target import Crossing, crossing
from bsscale.records.evaluation import EvalPoint
from bsscale.stats.median_rule import Bar, bar_at

__all__ = ["STOPPED", "Detector", "Trajectory"]

STOPPED = "stopped by the median rule"
_CONFIRMED = "the target was reached and confirmed by the next evaluation"


class Detector(Protocol):
    """What tells divergence from slow training; an objective makes it."""

    def reason(self, metrics: Mapping[str, float | None], train_loss: float | None) -> str | None:
        """Why the run counts as diverged after this evaluation; None if it does not."""
        ...


class Trajectory:
    """The evaluations of one run, whoever trains it, and what they decide.

    Parameters
    ----------
    criterion
        The metric that judges the run.
    target
        The value to reach; None: there is none.
    detector
        What detects divergence; it is of this run alone.
    budget_steps
        The most updates.
    stops
        Whether the run ends with its target.
    of_script
        Whether a script trains it. It may have a rule of its own by which it ends, so a hit at its
        last evaluation counts.
    bar
        What it must have reached after how many samples, or it ends as hopeless.

    Attributes
    ----------
    points
        The evaluations.
    status
        reached, exhausted or diverged; None while the run goes on.
    reason
        Why, in a sentence.
    """

    def __init__(
        self,
        criterion: Criterion,
        target: float | None,
        detector: Detector,
        budget_steps: int,
        stops: bool,
        of_script: bool = False,
        bar: Bar = (),
    ) -> None:
        self._criterion, self._target, self._detector = criterion, target, detector
        self._budget_steps, self._stops, self._of_script = budget_steps, stops, of_script
        self._bar = bar
        self.points: list[EvalPoint] = []
        self.status: str | None = None
        self.reason = ""
        self._ended = False

    def keep(self, points: Sequence[EvalPoint]) -> None:
        """Take over evaluations of an earlier start, which have decided nothing."""
        for point in points:
            self.points.append(point)
            self._detector.reason(point.metrics, point.train_loss)

    def add(self, point: EvalPoint, decides: bool = True) -> None:
        """Add an evaluation, and decide, except after that of an untrained model."""
        self.points.append(point)
        if not decides:
            return
        diverged = self._detector.reason(point.metrics, point.train_loss)
        if diverged is not None:
            self.status, self.reason = "diverged", diverged
            return
        if point.step >= self._budget_steps:
            self.end("the budget is spent")
        elif self._stops and self.crossing() is not None:
            self.status, self.reason = "reached", _CONFIRMED
        elif (why := self._hopeless()) is not None:
            self.status, self.reason = "exhausted", why

    def end_itself(self) -> None:
        """The script has ended, and nothing has been decided."""
        last = self.points[-1].samples
        self.end(f"the script ended itself after {last:,} samples, before its budget was spent")

    def end(self, why: str) -> None:
        """End the run, because no evaluation follows the last one; `why` in a few words."""
        confirmed = self.crossing() is not None
        self._ended = True
        if self.crossing() is not None:
            self.status = "reached"
            at_last = f"{why}; the last evaluation reached the target"
            self.reason = _CONFIRMED if confirmed else at_last
            return
        self.status = "exhausted"
        if self._target is None:
            self.reason = f"{why}; no target was set"
        elif self.is_hit:
            self.reason = f"{why}; the last evaluation reached the target unconfirmed"
        else:
            self.reason = f"{why}; the target was not confirmed"

    @property
    def is_hit(self) -> bool:
        """Whether the last evaluation is at the target."""
        return bool(self.points) and self._criterion.reaches(self.last_value, self._target)

    @property
    def last_value(self) -> float | None:
        """The metric at the last evaluation."""
        return self._value(self.points[-1]) if self.points else None

    @property
    def best_value(self) -> float | None:
        """The best value of the metric; None where none is defined."""
        return self._criterion.best(map(self._value, self.points))

    def crossing(self) -> Crossing | None:
        """Where the target was reached and confirmed; None if it was not."""
        if self._target is None:
            return None
        samples = [point.samples for point in self.points]
        values = [self._value(point) for point in self.points]
        return crossing(
            samples,
            values,
            self._target,
            self._criterion.direction,
            ended_itself=self._ended and self._of_script,
        )

    def _hopeless(self) -> str | None:
        """Why the median rule stops the run; None if it does not."""
        samples, best = self.points[-1].samples, self.best_value
        least = bar_at(self._bar, samples)
        if least is None or self.is_hit or self._criterion.reaches(best, least):
            return None
        title, shown = self._criterion.title, "none" if best is None else f"{best:.6g}"
        return (
            f"{STOPPED} after {samples:,} samples: its best {title} is {shown}, and the median of "
            f"the runs before it was {least:.6g}"
        )

    def _value(self, point: EvalPoint) -> float | None:
        return point.metrics.get(self._criterion.name)
