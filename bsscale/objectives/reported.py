"""The objective of a script that is not ours: it reports values, and bsscale computes none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bsscale.errors import ConfigError, MetricError
from bsscale.objectives.binary_objective import Binary
from bsscale.objectives.metric import Criterion, Direction, Floats, Metric
from bsscale.objectives.objective import Objective
from bsscale.objectives.regression import Regression

__all__ = ["NonFiniteDetector", "Reported", "known_metric"]

# Values at chance that do not depend on the labels, which only the script knows.
_AT_CHANCE = {"auc": 0.5, "normalized_entropy": 1.0, "r2": 0.0}


class NonFiniteDetector:
    """Divergence as far as a script's report tells it: a value that is not finite.

    Parameters
    ----------
    names
        The metrics that are watched, where they are reported.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def reason(self, metrics: Mapping[str, float | None], train_loss: float | None) -> str | None:
        """Why the run counts as diverged after this evaluation; None if it does not."""
        if train_loss is not None and not math.isfinite(train_loss):
            return "non-finite training loss"
        for name in self._names:
            value = metrics.get(name, 0.0)
            if value is None or not math.isfinite(value):
                return f"non-finite {Criterion(name, 'max').title}"
        return None


@dataclass(frozen=True)
class Reported(Objective):
    """What a script reports.

    Attributes
    ----------
    metric_name, direction
        The metric that judges its runs. The direction may be None for a metric that bsscale knows.
    loss
        The name of its validation loss, for range tests; None: the metric itself where lower is
        better, else log_loss.
    """

    metric_name: str = "auc"
    direction: Direction | None = None
    loss: str | None = None  # type: ignore[assignment,misc]  # (here an option)

    def __post_init__(self) -> None:
        if self.loss is None:
            lower = _metric(self.metric_name, self.direction).direction == "min"
            object.__setattr__(self, "loss", self.metric_name if lower else "log_loss")

    @property
    def own_metrics(self) -> Sequence[Metric]:
        judges = _metric(self.metric_name, self.direction)
        assert self.loss is not None
        return [judges] if judges.name == self.loss else [judges, _metric(self.loss, "min")]

    def score(self, output: Floats) -> Floats:
        raise _not_computed("a score")

    def check_labels(self, label: Floats, where: str) -> None:
        """The labels are the script's."""

    def divergence(self, label: Floats) -> NonFiniteDetector:  # type: ignore[override]
        assert self.loss is not None
        return NonFiniteDetector([self.metric_name, self.loss])

    def loss_at_chance(self, label: Floats, weight: Floats | None = None) -> float:
        return math.inf


def known_metric(name: str) -> Metric | None:
    """The metric of that name among those of the shipped objectives; None if there is none."""
    return {**Regression().metrics, **Binary().metrics}.get(name)


def _metric(name: str, direction: Direction | None) -> Metric:
    """A metric that a script computes: its name, direction and scale as far as they are known."""
    known = known_metric(name)
    if known is None:
        if direction is None:
            raise ConfigError(
                f"metric={name} is not a metric that bsscale knows",
                "say whether higher or lower values are better: trainer.direction=max or min",
            )
        return Metric(name, direction, partial(_never, name))
    if direction not in (None, known.direction):
        raise ConfigError(
            f"trainer.direction={direction} contradicts metric={name}",
            f"leave it out: the direction of {name} is {known.direction}",
        )
    chance = _AT_CHANCE.get(name)
    return replace(
        known,
        function=partial(_never, name),
        at_chance=None if chance is None else partial(_constant, chance),
        bound=None,
    )


def _constant(value: float, label: Floats) -> float:
    return value


def _never(name: str, label: Floats, score: Floats) -> float:
    raise _not_computed(name)


def _not_computed(what: str) -> MetricError:
    return MetricError(f"{what} of a script's run", "the script reports it; bsscale computes none")
