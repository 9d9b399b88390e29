"""The figures of a report: each drawn at any width, with its data as a table and its text."""

from __future__ import annotations

from collections.abc import Sequence

from bsscale.report.answer import Answer
from bsscale.report.charts.cost import cost_figure
from bsscale.report.charts.curves import convergence_figures
from bsscale.report.charts.figure import Figure
from bsscale.report.charts.forest import forest_figure
from bsscale.report.charts.gpus import gpus_figure
from bsscale.report.charts.noise_scale import noise_scale_figure
from bsscale.report.charts.pairs import pairs_figure
from bsscale.report.charts.range_test import range_test_figure
from bsscale.report.charts.rates import momentum_figure
from bsscale.report.charts.samples import samples_to_target_figure
from bsscale.report.charts.stairs import stairs_figure
from bsscale.report.charts.targets import easier_targets_figure
from bsscale.report.charts.tuning import tuning_figures
from bsscale.report.comparison import Comparison
from bsscale.report.read import FoundRangeTest, FoundStudy

__all__ = ["Figure", "figures"]


def figures(
    comparison: Comparison,
    studies: Sequence[FoundStudy],
    range_tests: Sequence[FoundRangeTest],
    answers: Sequence[Answer] = (),
) -> list[Figure]:
    """Every figure that the records have the data for, in the order of the report."""
    made = [
        forest_figure(comparison),
        *(pairs_figure(comparison, answer) for answer in answers[:1]),
        samples_to_target_figure(comparison),
        easier_targets_figure(comparison),
        *convergence_figures(comparison),
        gpus_figure(comparison),
        noise_scale_figure(comparison),
        stairs_figure(comparison),
        momentum_figure(comparison),
        *tuning_figures(comparison, studies),
    ]
    made += [
        range_test_figure(test, f"-{position + 1}" if len(range_tests) > 1 else "")
        for position, test in enumerate(range_tests)
    ]
    made.append(cost_figure(comparison, studies))
    return [figure for figure in made if figure is not None]
