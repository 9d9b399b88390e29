"""The numbers that README prints follow from the samples of every seed, in docs/studies."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import pytest

from bsscale.stats import compare_family

ROOT = Path(__file__).parents[1]


def samples() -> dict[str, dict[int, float]]:
    """From arm and seed to samples to the target; infinite where it was missed."""
    found: dict[str, dict[int, float]] = {}
    with (ROOT / "docs/studies/quick/samples.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            value = float(row["samples"] or math.inf)
            found.setdefault(row["arm"], {})[int(row["seed"])] = value
    return found


def printed() -> dict[str, list[str]]:
    """The rows of README's first table, by arm: the cells after it."""
    rows = re.findall(r"^\| \**(\w+)\**[^|\n]*\|(.*)\|$", (ROOT / "README.md").read_text(), re.M)
    cells = {arm: row.split("|") for arm, row in reversed(rows)}  # (the first table wins)
    return {arm: [cell.strip() for cell in row] for arm, row in cells.items()}


def test_the_intervals_follow_from_the_seeds() -> None:
    runs, table = samples(), printed()
    baseline = runs.pop("one_gpu")
    family = compare_family(runs, baseline, primary="onecycle")
    assert not family.each_alone
    for arm, estimate in family.judged.items():
        text = table[arm][-1]
        if math.isinf(estimate.ratio):
            assert text == f"missed (at least {estimate.low:.2f})"
            continue
        ratio, low, high = map(float, re.findall(r"\d+\.\d+", text))
        assert ratio == pytest.approx(estimate.ratio, abs=0.0051)
        assert (low, high) == pytest.approx((estimate.low, estimate.high), abs=0.0101)


def test_the_medians_and_ranges_follow_from_the_seeds() -> None:
    table = printed()
    for arm, runs in samples().items():
        values = sorted(runs.values())
        reached, median, spread = table[arm][:3]
        assert reached.startswith(f"{sum(map(math.isfinite, values))}/{len(values)}")
        middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
        if math.isfinite(middle):
            assert median == f"{middle:,.0f}"
        assert spread.startswith(f"{values[0]:,.0f} – ")
