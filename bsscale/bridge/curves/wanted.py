"""What is read of curves: the metric that judges them, and the names that sources have for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bsscale.errors import ConfigError
from bsscale.objectives import Criterion

__all__ = ["Names", "Wanted"]


@dataclass(frozen=True)
class Names:
    """The names of columns, scalars or keys.

    Attributes
    ----------
    arm, seed
        What distinguishes the runs.
    samples
        The training samples at an evaluation, or what is counted in their place; None: ``samples``,
        or ``step`` if `Wanted.samples_per_step` is given.
    metric
        The metric's values; None: the name of the metric.
    """

    arm: str = "arm"
    seed: str = "seed"
    samples: str | None = None
    metric: str | None = None


@dataclass(frozen=True)
class Wanted:
    """How curves are read and judged.

    Attributes
    ----------
    criterion
        The metric, with its direction.
    target
        The value to reach; None: there is none.
    names
        The names in the sources.
    samples_per_step
        The samples that one unit of the counter stands for, for all arms or by the name of the arm;
        None: it counts samples.
    layout
        Where paths have arm and seed, for sources of one run: ``ARM/seed-SEED``; None: the
        run's folder or file says it.
    """

    criterion: Criterion
    target: float | None = None
    names: Names = field(default_factory=Names)
    samples_per_step: float | Mapping[str, float] | None = None
    layout: str | None = None

    @property
    def metric_name(self) -> str:
        """The name of the metric in the sources."""
        return self.names.metric or self.criterion.name

    @property
    def samples_name(self) -> str:
        """The name of the counter of samples in the sources."""
        if self.names.samples is not None:
            return self.names.samples
        return "samples" if self.samples_per_step is None else "step"

    def samples_per_unit(self, arm: str) -> float:
        """The samples that one unit of the counter stands for.

        Raises
        ------
        ConfigError
            If `samples_per_step` names other arms only.
        """
        if not isinstance(self.samples_per_step, Mapping):
            return 1.0 if self.samples_per_step is None else self.samples_per_step
        if arm not in self.samples_per_step:
            raise ConfigError(
                f"task.samples_per_step has no value for the arm {arm!r}, only for "
                f"{', '.join(map(repr, self.samples_per_step))}",
                f"give one number for all arms, or add this one: 'task.samples_per_step={{{arm}: "
                "128, ...}'",
            )
        return self.samples_per_step[arm]
