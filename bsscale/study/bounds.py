"""A study within a bound: what is given up, in which order, before anything is registered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bsscale.errors import ConfigError
from bsscale.study.arms import Arm, primary_arm
from bsscale.study.options import StudyOptions

__all__ = ["Most", "fitted", "given_up", "reductions"]

# As few report seeds as an interval needs, and rates that a search needs beside its refinement.
FEW_SEEDS, FEW_TRIALS, FEWEST_SEEDS = 6, 5, 2


@dataclass(frozen=True)
class Most:
    """What a study takes at most.

    Attributes
    ----------
    runs, samples
        Of all its steps.
    hours
        By the known speed of a run; None: not known.
    """

    runs: int
    samples: int
    hours: float | None

    def fits(self, task: StudyOptions) -> bool:
        """Whether it is within the bounds of a study."""
        within_runs = task.max_runs is None or self.runs <= task.max_runs
        return within_runs and (
            task.max_hours is None or (self.hours is not None and self.hours <= task.max_hours)
        )

    def words(self) -> str:
        """For a person."""
        text = f"at most {self.samples:,} samples in at most {self.runs:,} runs"
        return text if self.hours is None else f"{text}, {self.hours:.3g} hours"


def fitted(
    task: StudyOptions, arms: Sequence[Arm], most: Callable[[StudyOptions], Most]
) -> StudyOptions:
    """The options of a study that is within its bounds, by the first reduction that is enough.

    Parameters
    ----------
    task
        As they were given, with ``max_runs`` and ``max_hours``.
    arms
        Its arms.
    most
        What a study takes at most.

    Raises
    ------
    ConfigError
        If even the smallest study takes more, or the hours are not known.
    """
    if task.max_runs is None and task.max_hours is None:
        return task
    cost = most(task)
    if task.max_hours is not None and cost.hours is None:
        raise ConfigError(
            f"task.max_hours={task.max_hours:g}, and the speed of a run is not known",
            "give trainer.samples_per_s=NUMBER with trainer=script, or task.max_runs=NUMBER",
        )
    if cost.fits(task):
        return task
    smallest = task
    for smallest in reductions(task, arms):
        cost = most(smallest)
        if cost.fits(task):
            return smallest
    bounds = {"task.max_runs": task.max_runs, "task.max_hours": task.max_hours}
    given = ", ".join(f"{name}={bound}" for name, bound in bounds.items() if bound is not None)
    raise ConfigError(
        f"{given}, and the smallest study with these options takes {cost.words()}",
        "allow more; or give base_lr=RATE and target=VALUE, which need no search, a smaller "
        "budget_samples, or fewer arms (~task.arms.NAME)",
    )


def reductions(task: StudyOptions, arms: Sequence[Arm]) -> Iterator[StudyOptions]:
    """Smaller and smaller studies.

    Report seeds go first, down to 6; then rates of a search, down to 5; then the seeds of a search,
    of a range test and of the target; then arms, the last one first, controls before others, never
    the baseline or the primary arm; then report seeds again, down to 2.
    """
    looks = task.look_list()
    for count in range(len(looks) - 1, 1, -1):
        task = replace(task, looks=looks[:count])
        yield task
    task = replace(task, seeds=looks[0], looks=None)
    if len(looks) > 1:
        yield task
    for seeds in range(looks[0] - 1, FEW_SEEDS - 1, -1):
        task = replace(task, seeds=seeds)
        yield task
    for trials in range(task.trials - 1, FEW_TRIALS - 1, -1):
        task = replace(task, trials=trials)
        yield task
    for option, fewest in (
        ("finalist_seeds", 1),
        ("tuning_seeds", 1),
        ("range_test_seeds", 1),
        *([] if task.adopt else [("target_seeds", 2)]),
    ):
        for count in range(getattr(task, option) - 1, fewest - 1, -1):
            changed: dict[str, Any] = {option: count}
            task = replace(task, **changed)
            yield task
    primary = primary_arm(task, arms)
    free = [arm for arm in reversed(arms) if arm.role != "baseline" and arm.name != primary]
    ordered = sorted(free, key=lambda arm: arm.role != "control")
    for arm in ordered if primary is not None else ordered[:-1]:
        task = replace(task, arms={name: v for name, v in task.arms.items() if name != arm.name})
        yield task
    assert isinstance(task.seeds, int)
    for seeds in range(task.seeds - 1, FEWEST_SEEDS - 1, -1):
        task = replace(task, seeds=seeds)
        yield task


def given_up(asked: StudyOptions, task: StudyOptions) -> str:
    """What a study has given up for its bounds, for a person; empty for nothing."""
    parts = []
    if asked.look_list()[-1] != task.look_list()[-1]:
        parts.append(f"{task.look_list()[-1]} report seeds instead of {asked.look_list()[-1]}")
    for option, words in (
        ("trials", "rates in a search"),
        ("finalist_seeds", "seeds of finalists"),
        ("tuning_seeds", "seeds of a rate"),
        ("range_test_seeds", "seeds of a range test"),
        ("target_seeds", "seeds for the target"),
    ):
        if getattr(asked, option) != getattr(task, option):
            parts.append(f"{getattr(task, option)} {words} instead of {getattr(asked, option)}")
    if left_out := [name for name in asked.arms if name not in task.arms]:
        parts.append(f"without the arms {', '.join(left_out)}")
    return "; ".join(parts)
