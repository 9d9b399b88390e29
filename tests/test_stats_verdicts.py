"""The words for an interval."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsscale.stats import RatioEstimate, paired_ratio, verdict

INF, NAN = math.inf, math.nan


def estimate(
    ratio: float,
    low: float,
    high: float,
    reached: int = 10,
    n: int = 10,
    baseline_reached: int | None = None,
) -> RatioEstimate:
    confidence = 0.95 if n >= 6 else None
    baseline = n if baseline_reached is None else baseline_reached
    return RatioEstimate(n, ratio, low, high, confidence, min(reached, n), n, baseline)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (estimate(1.0, 0.95, 1.06), "as fast as 1 GPU: needs 1.00x its samples (0.95 to 1.06)"),
        (estimate(1.0, 1.0, 1.0), "as fast as 1 GPU: needs 1.00x its samples"),
        # Slower, but by less than anyone asked about.
        (estimate(1.05, 1.02, 1.1), "as fast as 1 GPU: needs 1.05x its samples (1.02 to 1.10)"),
        (estimate(0.8, 0.7, 0.9), "faster than 1 GPU: needs 0.80x its samples (0.70 to 0.90)"),
        (estimate(1.3, 1.2, 1.4), "slower than 1 GPU: needs 1.30x its samples (1.20 to 1.40)"),
        (estimate(12, 9.871, 14.03), "slower than 1 GPU: needs 12.00x its samples (9.87 to 14.1)"),
        (estimate(3, 2.4, INF, 8), "slower than 1 GPU: needs 3.00x its samples (at least 2.40)"),
        (
            estimate(1.1, 0.8, 1.4),
            "too close to call against 1 GPU: needs 1.10x its samples (0.80 to 1.40)",
        ),
        # An interval that ends at 1 holds it.
        (
            estimate(1.1, 1.0, 1.4),
            "too close to call against 1 GPU: needs 1.10x its samples (1.00 to 1.40)",
        ),
        (
            estimate(0.8, 0.7, 1.0),
            "too close to call against 1 GPU: needs 0.80x its samples (0.70 to 1.00)",
        ),
        (
            estimate(1.1, 0.8, INF, 7),
            "too close to call against 1 GPU: needs 1.10x its samples (at least 0.80)",
        ),
        # Rounded outwards, and never onto 1.
        (
            estimate(1.2, 1.139, 1.231),
            "slower than 1 GPU: needs 1.20x its samples (1.13 to 1.24)",
        ),
        (
            estimate(1.2, 1.0042, 1.3),
            "slower than 1 GPU: needs 1.20x its samples (1.004 to 1.30)",
        ),
        # The arm's median is not known.
        (
            estimate(INF, 2.4, INF, 2),
            "did not reach the target in 8 of 10: needs at least 2.40x 1 GPU's samples",
        ),
        (estimate(INF, 0.9, INF, 5), "did not reach the target in 5 of 10"),
        (estimate(INF, INF, INF, 0), "did not reach the target in 10 of 10"),
        # The baseline's is not.
        (
            estimate(0.0, 0.0, 0.8, 10, baseline_reached=4),
            "faster than 1 GPU: needs at most 0.80x its samples; "
            "1 GPU did not reach the target in 6 of 10",
        ),
        (
            estimate(0.0, 0.0, 0.0, 10, baseline_reached=0),
            "faster than 1 GPU; 1 GPU did not reach the target in 10 of 10",
        ),
        (
            estimate(0.0, 0.0, 1.2, 8, baseline_reached=5),
            "too close to call against 1 GPU: needs at most 1.20x its samples; "
            "1 GPU did not reach the target in 5 of 10",
        ),
        (
            estimate(NAN, 0.0, INF, 4, baseline_reached=5),
            "did not reach the target in 6 of 10; 1 GPU did not reach the target in 5 of 10",
        ),
        (
            estimate(1.0, 0.0, INF, 6, baseline_reached=6),
            "too close to call against 1 GPU (any ratio is possible)",
        ),
        # Too few seeds.
        (
            estimate(1.3, 0.8, 1.4, n=4),
            "needs 1.30x 1 GPU's samples (0.80 to 1.40) on 4 seeds; "
            "too few seeds for a 95% interval",
        ),
        (
            estimate(1.025, 1.025, 1.025, n=1),  # (one number, and no range around it)
            "needs 1.02x 1 GPU's samples on 1 seed; too few seeds for a 95% interval",
        ),
        (
            estimate(1.3, 1.1, INF, n=5, reached=4),
            "needs 1.30x 1 GPU's samples (at least 1.10) on 5 seeds; "
            "too few seeds for a 95% interval",
        ),
        (
            estimate(INF, 1.1, INF, n=4, reached=1),
            "did not reach the target in 3 of 4: needs at least 1.10x 1 GPU's samples "
            "on 4 seeds; too few seeds for a 95% interval",
        ),
        (
            estimate(0.9, 0.0, INF, n=5, reached=4, baseline_reached=4),
            "too close to call against 1 GPU (any ratio is possible) on 5 seeds; "
            "too few seeds for a 95% interval",
        ),
    ],
)
def test_words(seen: RatioEstimate, words: str) -> None:
    assert verdict(seen, 0, seen.arm_runs) == words


@pytest.mark.parametrize(
    ("diverged", "reached", "words"),
    [
        (10, 0, "diverges in 10 of 10 (rate 69% to 100%)"),
        (9, 1, "diverges in 9 of 10 (rate 55% to 100%); the other 1 reached the target"),
        (9, 0, "diverges in 9 of 10 (rate 55% to 100%); the other 1 did not reach the target"),
        # "Diverges" needs a rate that is above 30%, which 6 of 10 do not show.
        (7, 1, "diverges in 7 of 10 (rate 34% to 94%); of the other 3, 1 reached the target"),
        (
            6,
            3,
            "did not reach the target in 7 of 10: needs at least 2.40x 1 GPU's samples; "
            "diverged in 6 of 10 (rate 26% to 88%)",
        ),
        (
            2,
            8,
            "slower than 1 GPU: needs 3.00x its samples (at least 2.40); "
            "diverged in 2 of 10 (rate 2% to 56%)",
        ),
    ],
)
def test_diverged(diverged: int, reached: int, words: str) -> None:
    ratio = 3.0 if reached > 5 else INF
    assert verdict(estimate(ratio, 2.4, INF, reached), diverged, 10) == words


def test_failed_runs_are_said() -> None:
    says = verdict(estimate(1.3, 1.2, 1.4), 0, 10, failed=2)
    assert says.endswith("needs 1.30x its samples (1.20 to 1.40); 2 of 12 runs failed")
    assert verdict(estimate(INF, INF, INF, 0), 10, 10, failed=1).endswith("; 1 of 11 runs failed")


def test_an_interval_on_its_own_among_several_says_so() -> None:
    says = verdict(estimate(1.3, 1.2, 1.4), 0, 10, each_of=7)
    assert says.endswith("; an interval on its own, one of 7 comparisons")
    # Not where there is no interval at all.
    assert "comparisons" not in verdict(estimate(1.3, 1.2, 1.4, n=4), 0, 4, each_of=7)


def test_margin() -> None:
    seen = estimate(1.1, 0.95, 1.25)
    assert verdict(seen, 0, 10).startswith("too close to call")
    assert verdict(seen, 0, 10, margin=0.3).startswith("as fast as 1 GPU")
    # The margin is one of ratios: 1 / 1.1, not 0.9.
    assert verdict(estimate(0.95, 0.905, 1.0), 0, 10).startswith("too close to call")


def test_confidence_that_needs_more_seeds() -> None:
    runs = {seed: 10.0 + seed for seed in range(6)}
    seen = paired_ratio(runs, runs, confidence=0.99)
    assert verdict(seen, 0, 6).endswith("on 6 seeds; too few seeds for such an interval")


@given(
    st.lists(st.tuples(*[st.floats(0, 1e6) | st.just(INF)] * 2), min_size=1, max_size=12),
    st.data(),
)
def test_there_are_words_for_everything(
    pairs: list[tuple[float, float]], data: st.DataObject
) -> None:
    arm, baseline = ({i: pair[k] for i, pair in enumerate(pairs)} for k in (0, 1))
    seen = paired_ratio(arm, baseline, resamples=50)
    diverged = data.draw(st.integers(0, len(pairs) - seen.arm_reached))
    words = verdict(seen, diverged, len(pairs))
    assert "inf" not in words
    assert "nan" not in words
    assert seen.confidence is not None or "too few seeds" in words or "diverges" in words


@pytest.mark.parametrize("diverged", [-1, 3, 11])
def test_rejected_counts(diverged: int) -> None:
    with pytest.raises(ValueError, match="runs diverged"):
        verdict(estimate(1.0, 0.9, 1.1, 8), diverged, 10)


def test_rejected_margin() -> None:
    with pytest.raises(ValueError, match="margin"):
        verdict(estimate(1.0, 0.9, 1.1), 0, 10, margin=-0.1)
