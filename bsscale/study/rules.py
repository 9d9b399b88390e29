"""The rules of a study that settle numbers: its searches and its budgets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bsscale.config import TrainerOptions
from bsscale.data import Dataset
from bsscale.errors import ConfigError
from bsscale.stats.median_rule import MEDIAN_RULE
from bsscale.stats.search import Rules
from bsscale.study.options import StudyOptions

__all__ = [
    "budget_samples",
    "in_intervals",
    "pass_of_study",
    "search_rules",
    "stops_hopeless",
    "trial_budget_samples",
    "tuning_rules",
]

# The budget of a run of a search at N GPUs, as a share of that of an arm's run.
TRIAL_SHARE = 0.5

TUNING_STEPS = (
    "at 1 GPU: rates are tried over one pass, and an evaluation interval that can confirm a hit at "
    "its end, without a target; the provisional best has the best median of best values; the "
    "target follows from fresh seeds at that rate and never moves; then all rates are ranked by "
    "their samples to it, and base_lr may move once",
    "everywhere: fewer median samples to the target rank first, a miss counts as infinite; then "
    "the better median of best values, where a run that diverged and missed is worse than any "
    "other; then the lower rate",
    "at N GPUs: the tuned arms try the same number of rates, at least as many as at 1 GPU",
    "a rate is not told apart from the best if one of its runs is as good as the worst run there",
    "at the lowest and the highest rate that 1 GPU does not tell apart from base_lr, the arms "
    "whose rates follow from base_lr are trained on the tuning seeds, and reported as a range",
    "a range test whose curves carry no suggestion leaves its arms with the untuned defaults of "
    "their schedule",
)


def stops_hopeless(task: StudyOptions, trainer: TrainerOptions) -> bool:
    """Whether hopeless runs of a search are stopped; raises ConfigError where they cannot be."""
    if task.stop_hopeless and trainer.ours:
        raise ConfigError(
            "task.stop_hopeless=true with bsscale's own trainer: its runs share their steps, so "
            "that a run that is stopped saves little",
            "leave it out; it is for trainer=script",
        )
    return not trainer.ours if task.stop_hopeless is None else task.stop_hopeless


def search_rules(task: StudyOptions, stops: bool) -> Rules:
    """The numbers of every search of a study; `stops`: hopeless runs are stopped."""
    return Rules(
        trials=task.trials,
        seeds=task.tuning_seeds,
        finalist_seeds=max(task.tuning_seeds, task.finalist_seeds),
        grid_rounds=2 if stops else 1,
    )


def tuning_rules(task: StudyOptions, stops: bool) -> dict[str, Any]:
    """Everything by which a study tunes, to be registered."""
    rules = asdict(search_rules(task, stops))
    if not stops:  # (a study of an earlier version has no such number)
        del rules["grid_rounds"]
    return {
        **rules,
        **({"hopeless": MEDIAN_RULE} if stops else {}),
        "trial_share_of_budget": TRIAL_SHARE,
        "steps": TUNING_STEPS,
    }


def trial_budget_samples(budget: int, one_pass: int, interval: int) -> int:
    """The budget of a run of a search at N GPUs.

    A rate that needs more than this is no candidate, and would cost as much as an arm's run.

    Parameters
    ----------
    budget
        That of an arm's run.
    one_pass
        Samples of one pass, in whole intervals: no schedule is longer by default.
    interval
        Samples between evaluations.
    """
    return min(budget, max(in_intervals(TRIAL_SHARE * budget, interval), one_pass + interval))


def budget_samples(
    samples_to_target: Sequence[float], factor: float, samples_per_pass: int, interval: int
) -> int:
    """The budget of a run in samples: enough for an arm that is several times slower.

    Parameters
    ----------
    samples_to_target
        Of each run at 1 GPU; infinite if it did not reach the target. If the median is infinite,
        one pass is used instead.
    factor
        The largest multiple of the median that an arm may take.
    samples_per_pass
        Training samples in one pass. This is the minimum budget, because no schedule is longer by
        default.
    interval
        Samples between evaluations; the budget is a whole number of intervals, plus one that can
        confirm a hit at the end.
    """
    median = statistics.median(samples_to_target)
    if not math.isfinite(median):
        median = samples_per_pass
    return in_intervals(max(factor * median, samples_per_pass), interval) + interval


def pass_of_study(dataset: Dataset) -> int:
    """Samples of a pass, in which a study counts; raises ConfigError where they are not known."""
    if dataset.samples_per_pass is None:
        raise ConfigError(
            "a study and a range test count in passes, and the samples of a pass are not known",
            "give trainer.samples_per_pass=NUMBER",
        )
    return dataset.samples_per_pass


def in_intervals(samples: float, interval: int) -> int:
    """`samples` rounded up to a whole number of evaluation intervals."""
    return math.ceil(samples / interval) * interval
