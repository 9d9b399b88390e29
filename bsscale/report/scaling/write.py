"""From the points of arms to scaling.json, the page and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bsscale.critical_batch import Scaling
from bsscale.files.replace import replace_text, write_json
from bsscale.records.directories import unwritable_error
from bsscale.report.charts.scaling import over_batch_figures, styles_of_arms
from bsscale.report.charts.scaling_cost import cost_figures
from bsscale.report.drawing import NARROW, WIDE, save, svg
from bsscale.report.page import drawn_figures, render
from bsscale.report.scaling.contents import ScalingContents
from bsscale.report.scaling.noise import noise_scale_note, noise_scales_table
from bsscale.report.scaling.result import scaling_json
from bsscale.report.scaling.tables import (
    arm_costs,
    batches_table,
    costs_table,
    fits_table,
    predictions_table,
)
from bsscale.report.scaling.words import compared, headline, prediction_words, verdicts

__all__ = ["write_scaling"]


def write_scaling(contents: ScalingContents, out: Path) -> list[Path]:
    """Write scaling.json, report.html and figures/.

    Parameters
    ----------
    contents
        What to write.
    out
        Where; it is made if need be.

    Returns
    -------
    The files: scaling.json and report.html come first.

    Raises
    ------
    RecordsError
        If it cannot be written.
    """
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
        return _write(contents, out)
    except OSError as error:
        raise unwritable_error(out, error) from error


def _write(contents: ScalingContents, out: Path) -> list[Path]:
    files = [out / "scaling.json", out / "report.html"]
    figures = [
        *over_batch_figures(contents.arms, contents.batch_of_gpu),
        *cost_figures(arm_costs(contents), styles_of_arms(contents.arms)),
    ]
    tables = [
        batches_table(contents), fits_table(contents), predictions_table(contents),
        costs_table(contents), noise_scales_table(contents),
    ]  # fmt: skip
    drawings = {
        figure.name: (svg(figure.draw(WIDE)), svg(figure.draw(NARROW))) for figure in figures
    }
    write_json(files[0], scaling_json(contents.arms))
    page = render(
        "scaling.html.j2",
        contents=contents,
        headline=headline(contents),
        verdicts=verdicts(contents),
        sentences=[*compared(contents.arms), *prediction_words(contents)],
        keys=styles_of_arms(contents.arms),
        drawn=drawn_figures(figures, drawings),
        tables=[table for table in tables if table is not None],
        notes=[*_counts(contents.arms), *contents.notes, *noise_scale_note(contents)],
    )
    replace_text(files[1], page)
    for figure in figures:
        files += save(drawings[figure.name][0], out / "figures" / figure.name)
    return files


def _counts(arms: Mapping[str, Scaling]) -> Sequence[str]:
    """How many points there are, how many are censored, and with which budgets."""
    said = []
    for name, found in arms.items():
        missed = sum(point.samples is None for point in found.points)
        text = f"{name}: {len(found.points)} runs, {missed} of them censored."
        if found.filled:
            text += (
                f" {found.filled} of these have no budget: they count as more than the largest "
                "samples of their batch, or else of their arm."
            )
        unknown = sum(p.samples is None and p.budget is None for p in found.points)
        if unknown:
            text += f" Of {unknown}, nothing else is known, because no run of the arm has samples."
        said.append(text)
    return said
