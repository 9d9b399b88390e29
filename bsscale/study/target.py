"""The target of a study, from the best values of runs at 1 GPU."""

from __future__ import annotations

from collections.abc import Sequence

from bsscale.config import Config
from bsscale.data.dataset import Samples
from bsscale.errors import ConfigError
from bsscale.objectives import Metric
from bsscale.study.adopted import Adopted
from bsscale.study.options import StudyOptions
from bsscale.terminal.numbers import metric_number

__all__ = ["check_target", "find_target"]


def find_target(
    metric: Metric,
    held_out: Samples,
    best: Sequence[float],
    given: float | None,
    margin: float | None,
) -> tuple[float, float | None]:
    """The target, and its margin; None where the target is given.

    Parameters
    ----------
    metric
        What judges the runs.
    held_out
        The validation rows.
    best
        The best values of the runs.
    given, margin
        ``target`` and ``task.margin``, if the user gives them.

    Raises
    ------
    ConfigError
        If there are no values, or the target is no better than chance.
    """
    if not best:
        raise ConfigError(
            f"no run at 1 GPU has a value of {metric.title}, so that there is no target",
            "look at their logs, or give target=VALUE and base_lr=RATE",
        )
    target = given
    if target is None:
        margin = (
            metric.default_margin(best, held_out.label, held_out.weight)
            if margin is None
            else margin
        )
        target = metric.target(best, margin)
    chance = metric.chance(held_out.label, held_out.weight)
    if chance is not None and metric.reaches(chance, target):
        raise ConfigError(
            f"the runs at 1 GPU give a target of {metric_number(target)}, which is no better "
            "than chance",
            "give base_lr=RATE at which the model learns, or target=VALUE",
        )
    return target, None if given is not None else margin


def check_target(
    config: Config,
    task: StudyOptions,
    metric: Metric,
    held_out: Samples,
    adopted: Adopted | None,
) -> None:
    """Raise ConfigError where no target can follow from the runs at 1 GPU.

    Parameters
    ----------
    config, task, metric
        Of the study.
    held_out
        The validation rows.
    adopted
        The runs that exist already: their target is known, and they must reach it.
    """
    if config.target is None and task.margin is None and not metric.has_scale:
        raise ConfigError(
            f"the metric {metric.name} has neither a margin nor a value at chance, so that no "
            "target follows from runs at 1 GPU",
            f"give target=VALUE, task.margin=NUMBER or objective.metrics.{metric.name}."
            "at_chance=VALUE",
        )
    if adopted is not None:
        seeds = task.seed_list()
        best = adopted.best_values(seeds)
        target, _ = find_target(metric, held_out, best, config.target, task.margin)
        adopted.check_target(seeds, target, config.budget_samples)
