"""What a range test must have seen before it suggests a cycle: golden cases, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bsscale.objectives import Criterion
from bsscale.stats.evidence import Nothing, what_is_missing
from bsscale.stats.range_test import Chance, Curve, Edge, Estimates, estimates

CHANCE = Chance(0.6, "the label's entropy", 0.51, Criterion("auc", "max"))


def said(
    losses: list[float], edge: float | None, values: float = 0.5, chance: Chance = CHANCE
) -> Nothing | None:
    """What is missing in a curve with these losses at the rates 1, 2, 4, ..., and a given edge."""
    rates = 2.0 ** np.arange(len(losses))
    curve = Curve(rates, np.array(losses), np.full(len(losses), values))
    found = Edge(rates[-1] if edge is None else edge, edge is not None, "a sign")
    return what_is_missing({7: curve}, {7: Estimates(1, 1, 1, found)}, chance)


FALL = [0.59, 0.58, 0.57, 0.56, 0.55]


def test_a_curve_that_trains_and_then_diverges_carries_a_suggestion() -> None:
    # The edge is 16: half of it is 8, and four evaluations up to that are better than chance.
    assert said([*FALL, 0.9, 0.9, 0.9], edge=16) is None


def test_a_curve_that_never_diverges_carries_one_if_it_is_long_enough() -> None:
    assert said([0.5] * 10, edge=None) is None
    found = said([0.5] * 9, edge=None)
    assert found is not None
    assert found.reason == "seed 7 has 9 evaluations along the ramp, and an edge needs 10"
    assert "lr_range_test_fraction" in found.remedy
    single = said([0.5], edge=None)
    assert single is not None and "has 1 evaluation along" in single.reason


def test_one_that_learns_nothing_carries_none() -> None:
    found = said([0.6] * 10, edge=None)
    assert found is not None
    assert found.reason == "no evaluation was better than chance at any rate from 1 on"
    # By the metric alone it has learned; where chance is not known, any loss has.
    assert said([0.9] * 10, edge=None, values=0.52) is None
    assert said([0.9] * 10, edge=None, chance=Chance(np.inf, "", None, CHANCE.criterion)) is None


@pytest.mark.parametrize(
    ("losses", "edge", "reason"),
    [
        # Half of the edge, 0.5, is below the lowest rate.
        ([0.59, 0.9, 0.9, 0.9], 1.0, "diverged within 1 evaluation of the lowest rate, 1: half of"),
        # Half of the edge, 1, is the lowest rate: it was tried, and no other up to that.
        ([0.59, 0.58, 0.9, 0.9, 0.9], 2.0, "only 1 evaluation at rates up to half of that was"),
        # Half of the edge is 4: two of the three evaluations up to that are better than chance.
        ([0.7, 0.59, 0.58, 0.57, 0.9], 8.0, "only 2 evaluations at rates up to half of that were"),
        ([0.7, 0.7, 0.58, 0.57, 0.9], 8.0, "only 1 evaluation at rates up to half of that was"),
    ],
)
def test_a_ramp_that_begins_beyond_the_edge_carries_none(
    losses: list[float], edge: float, reason: str
) -> None:
    found = said(losses, edge)
    assert found is not None and reason in found.reason and "lower rates" in found.remedy
    # Three good ones are enough.
    assert said([0.59, 0.58, 0.57, 0.9, 0.9], edge=8.0) is None


def test_early_instability_carries_none() -> None:
    # The edges of these curves are found, not given: see tests/test_lr_range.py.
    rates = 2.0 ** np.arange(14)
    fall = [0.58, 0.55, 0.53, 0.9, 0.8, 0.7, 0.52, 0.51, 0.50, 0.49]
    losses = np.array([0.8, *fall, 0.9, 0.9, 0.9])
    curve = Curve(rates, losses, np.full(14, 0.7))
    reading = estimates(curve, CHANCE)
    assert (reading.edge.lr, reading.edge.instability) == (1024.0, 8.0)
    found = what_is_missing({7: curve}, {7: reading}, CHANCE)
    assert found is not None
    assert "seed 7 was unstable from 8 on" in found.reason and "early instability" in found.reason
    assert "rate: tuned" in found.remedy


def test_one_seed_without_evidence_is_enough() -> None:
    rates = 2.0 ** np.arange(12)
    good = Curve(rates, np.full(12, 0.5), np.full(12, 0.7))
    bad = Curve(rates[:4], np.array([0.59, np.nan, np.nan, np.nan]), np.full(4, 0.7))
    readings = {
        1: Estimates(1, 1, 1, Edge(rates[-1], False, "")),
        2: Estimates(1, 1, 1, Edge(1.0, True, "a non-finite loss")),
    }
    found = what_is_missing({1: good, 2: bad}, readings, CHANCE)
    assert found is not None and found.reason.startswith("seed 2 diverged within 1 evaluation")
