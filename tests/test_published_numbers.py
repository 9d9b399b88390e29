"""The numbers that README and docs print follow from the samples of every seed, in docs/studies."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from bsscale.stats import RatioEstimate, compare_family
from tests.benchmarks import methods_tables, scored_predictions
from tests.benchmarks.methods_tables import Runs

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "docs/studies"


def samples(study: str) -> Runs:
    """From arm and seed to samples to the target; infinite where it was missed."""
    return methods_tables.samples(STUDIES / study)


def printed(page: str) -> dict[str, list[str]]:
    """The rows of a page's first table of arms, by arm: the cells after it."""
    rows = re.findall(r"^\| \**(\w+)\**[^|\n]*\|(.*)\|$", (ROOT / page).read_text(), re.M)
    cells = {arm: row.split("|") for arm, row in reversed(rows)}  # (the first table wins)
    return {arm: [cell.strip() for cell in row] for arm, row in cells.items()}


def check_ratio(text: str, estimate: RatioEstimate) -> None:
    """A ratio with its interval, rounded."""
    if math.isinf(estimate.ratio):
        assert text.startswith(f"missed (at least {estimate.low:.2f})")
        return
    ratio, *ends = map(float, re.findall(r"\d+\.\d+", text))
    assert ratio == pytest.approx(estimate.ratio, abs=0.0051)
    known = [end for end in (estimate.low, estimate.high) if math.isfinite(end)]
    assert ends == pytest.approx(known, abs=0.0101)
    assert ("at least" in text) == math.isinf(estimate.high)


@pytest.mark.parametrize(
    ("page", "column", "study"),
    [
        ("README.md", 3, "quick"),
        ("docs/tutorial.md", 0, "tutorial"),
        ("docs/tutorial.md", 1, "tutorial-sharp"),
    ],
)
def test_the_intervals_follow_from_the_seeds(page: str, column: int, study: str) -> None:
    runs, table = samples(study), printed(page)
    baseline = runs.pop("one_gpu")
    family = compare_family(runs, baseline, primary="onecycle")
    assert not family.each_alone and set(family.judged) <= set(table)
    for arm, estimate in family.judged.items():
        check_ratio(table[arm][column], estimate)


def test_the_medians_and_ranges_follow_from_the_seeds() -> None:
    table = printed("README.md")
    for arm, runs in samples("quick").items():
        values = sorted(runs.values())
        reached, median, spread = table[arm][:3]
        assert reached.startswith(f"{sum(map(math.isfinite, values))}/{len(values)}")
        if math.isfinite(median_of(values)):
            assert median == f"{median_of(values):,.0f}"
        assert spread.startswith(f"{values[0]:,.0f} – ")
    medians = [f"{median_of(samples(s)['one_gpu'].values()):,.0f}" for s in TUTORIALS]
    assert printed("docs/tutorial.md")["one_gpu"] == medians


TUTORIALS = ("tutorial", "tutorial-sharp")


def median_of(values: Iterable[float]) -> float:
    """Infinite values included."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


@pytest.mark.parametrize("data", ["flights", "synthetic"])
def test_the_table_of_stair_counts_follows_from_the_seeds(data: str) -> None:
    runs = samples(f"stair-counts/{data}")
    name = "cycle_first_stair_count={} cycle_second_stair_count={}"
    baseline = runs.pop(name.format(0, 0))
    family = compare_family(runs, baseline)
    assert not family.each_alone
    page = (ROOT / "docs/stair_counts.md").read_text()
    rows = re.findall(r"^\| \*\*(\d+)\*\* \|(.*)\|$", page.partition(f"| {data}: ")[2], re.M)[:5]
    assert [first for first, _ in rows] == ["0", "1", "2", "5", "20"]
    for first, row in rows:
        for second, cell in zip((0, 1, 2, 5, 20), row.split("|"), strict=True):
            if first == "0" and second == 0:
                assert cell.strip() == f"{median_of(baseline.values()):,.0f} samples"
            else:
                check_ratio(cell, family.judged[name.format(first, second)])


def test_the_curve_on_flights_follows_from_the_seeds() -> None:
    runs = samples("scaling/flights-sgd")
    readme, page = ((ROOT / name).read_text() for name in ("README.md", "docs/scaling.md"))
    gpus = (1, 2, 4, 8, 16, 32, 64)
    arms = ("tuned_constant", "tuned_onecycle")
    for arm in arms:
        medians = [median_of(runs[f"{arm}@{n}"].values()) for n in gpus]
        cells = ["missed" if math.isinf(m) else f"{m / 1000:,.0f}" for m in medians]
        assert f"| {arm} | {' | '.join(cells)} |" in readme
    for n in gpus:
        row = re.search(rf"^\| {n} \| {128 * n:,} \| (.*) \|$", page, re.M)
        assert row is not None
        for arm, cell in zip(arms, row[1].split(" | "), strict=True):
            values = runs[f"{arm}@{n}"].values()
            middle = median_of(values)
            spread = f"({min(values):,.0f} – {max(values):,.0f})"
            assert cell == ("missed in 6 of 6" if math.isinf(middle) else f"{middle:,.0f} {spread}")
    found = json.loads((STUDIES / "scaling/flights-sgd/scaling.json").read_text())["arms"]
    constant, onecycle = (found[arm] for arm in arms)
    low, high = constant["critical_batch_interval"]
    for text in (readme, page):
        assert f"{constant['critical_batch']:,.0f} samples ({low:,.0f} to {high:,.0f})" in text
    assert constant["identified"] and not onecycle["identified"]


def test_the_curves_and_predictions_of_eight_settings_follow_from_the_studies() -> None:
    page = (ROOT / "docs/scaling.md").read_text()
    out, names = STUDIES / "scaling", list(scored_predictions.SETTINGS)
    *rows, counted = scored_predictions.prediction_rows(out, names)
    assert len(rows) == 14 and counted in page
    assert "\n".join(scored_predictions.curve_rows(out, names)) in page
    assert "\n".join(rows) in page


METHODS = sorted(path.name for path in STUDIES.glob("methods-*"))


@pytest.mark.parametrize("study", METHODS)
def test_the_tables_of_methods_follow_from_the_studies(study: str) -> None:
    page = (ROOT / "docs/methods.md").read_text()
    assert f"docs/studies/{study}" in page or f"(studies/{study})" in page
    assert "\n".join(methods_tables.rows(STUDIES / study)) in page
    assert methods_tables.average_words(STUDIES / study).partition(": ")[2] in page


def test_the_table_of_momenta_follows_from_the_studies() -> None:
    studies = sorted(STUDIES.glob("momentum-*"))
    page = (ROOT / "docs/tutorial.md").read_text()
    assert "\n".join(methods_tables.beside(studies)) in page
