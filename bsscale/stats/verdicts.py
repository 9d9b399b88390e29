"""Verdicts: statements about an arm that its interval supports."""

from __future__ import annotations

import math
from collections.abc import Callable

from bsscale.stats.rates import Rate, rate
from bsscale.stats.ratios import FEWEST_SEEDS, RatioEstimate

__all__ = ["rounded_range", "verdict"]


def verdict(
    estimate: RatioEstimate,
    diverged: int,
    runs: int,
    *,
    failed: int = 0,
    each_of: int = 1,
    margin: float = 0.1,
) -> str:
    """Say how an arm compares to 1 GPU, and no more than its interval allows.

    Parameters
    ----------
    estimate
        Of the arm against the 1-GPU baseline.
    diverged, runs
        How many of the arm's runs diverged, and how many there are.
    failed
        How many more runs failed, and are not among `runs`.
    each_of
        The number of comparisons, where this is one of several and its interval holds only on its
        own; 1 otherwise.
    margin
        As fast is an interval within 1 / (1 + margin) and 1 + margin.

    Returns
    -------
    str
        One clause, without a full stop: "needs 1.30x its samples (1.20 to 1.40)". The ends of the
        interval are rounded outwards, so that the words never claim more than it. An arm diverges
        only where the interval of its rate says so; otherwise so many runs diverged.

    Raises
    ------
    ValueError
        If more runs reached the target or diverged than there are, or the margin is not >= 0.
    """
    if not 0 <= diverged <= runs - estimate.arm_reached:
        raise ValueError(
            f"{diverged} runs diverged and {estimate.arm_reached} reached the target, of {runs}"
        )
    if not margin >= 0:
        raise ValueError(f"margin is {margin}; it is >= 0")
    divergence = rate(diverged, runs) if diverged else None
    if divergence is not None and divergence.diverges:
        words = [f"diverges in {_share(divergence)}{_remaining_runs(estimate, runs - diverged)}"]
    else:
        words = [_compared(estimate, runs, margin)]
        if divergence is not None:
            words.append(f"diverged in {_share(divergence)}")
        if 2 * estimate.baseline_reached <= estimate.n:
            missed = estimate.n - estimate.baseline_reached
            words.append(f"1 GPU did not reach the target in {missed} of {estimate.n}")
        if estimate.confidence is None:
            few = estimate.n < FEWEST_SEEDS
            words.append(f"too few seeds for {'a 95%' if few else 'such an'} interval")
        elif each_of > 1:
            words.append(f"an interval on its own, one of {each_of} comparisons")
    if failed:
        words.append(f"{failed} of {runs + failed} runs failed")
    return "; ".join(words)


def _share(seen: Rate) -> str:
    """Such as "9 of 10 (rate 55% to 100%)", rounded outwards."""
    low, high = math.floor(100 * seen.low), math.ceil(100 * seen.high)
    return f"{seen.count} of {seen.n} (rate {low}% to {high}%)"


def _remaining_runs(estimate: RatioEstimate, rest: int) -> str:
    if not rest:
        return ""
    reached = estimate.arm_reached
    if reached == rest:
        return f"; the other {rest} reached the target"
    if not reached:
        return f"; the other {rest} did not reach the target"
    return f"; of the other {rest}, {reached} reached the target"


def _compared(estimate: RatioEstimate, runs: int, margin: float) -> str:
    low, high = estimate.low, estimate.high
    seeds = "1 seed" if estimate.n == 1 else f"{estimate.n} seeds"
    on_seeds = f" on {seeds}" if estimate.confidence is None else ""
    if 2 * estimate.arm_reached <= runs or low == math.inf:
        failed = f"did not reach the target in {runs - estimate.arm_reached} of {runs}"
        known = 1 < low < math.inf
        return failed + (f": needs {_amount(estimate, '1 GPU')}{on_seeds}" if known else "")
    if high == 0:
        return f"faster than 1 GPU{on_seeds}"
    if low == 0 and high == math.inf:
        return f"too close to call against 1 GPU (any ratio is possible){on_seeds}"
    if estimate.confidence is None:
        return f"needs {_amount(estimate, '1 GPU')}{on_seeds}"
    if estimate.within(margin):
        return f"as fast as 1 GPU: needs {_amount(estimate)}"
    if high < 1:
        return f"faster than 1 GPU: needs {_amount(estimate)}"
    if low > 1:
        return f"slower than 1 GPU: needs {_amount(estimate)}"
    return f"too close to call against 1 GPU: needs {_amount(estimate)}"


def _amount(estimate: RatioEstimate, of: str = "") -> str:
    """Such as "1.30x its samples (1.20 to 1.40)", or "at least 2.40x its samples"."""
    whose = f"{of}'s" if of else "its"
    known = rounded_range(estimate.low, estimate.high)
    if not 0 < estimate.ratio < math.inf:
        return f"{known}x {whose} samples"
    alone = estimate.low == estimate.high == estimate.ratio
    return f"{estimate.ratio:.2f}x {whose} samples" + ("" if alone else f" ({known})")


def rounded_range(low: float, high: float) -> str:
    """An interval of a ratio, such as "0.70 to 0.90", rounded outwards.

    Every sentence and every table uses it, so that two of them never show other numbers.

    Parameters
    ----------
    low, high
        From 0 to infinity; these two are open ends.
    """
    if low == 0 and high == math.inf:
        return "any"
    if low == math.inf:
        return "no end"
    if high == math.inf:
        return f"at least {_rounded(low, math.floor)}"
    if low == 0:
        return f"at most {_rounded(high, math.ceil)}"
    below, above = _rounded(low, math.floor), _rounded(high, math.ceil)
    return below if below == above else f"{below} to {above}"


def _rounded(value: float, towards: Callable[[float], int]) -> str:
    """Two decimals, fewer from 10 on, more digits where rounding would give exactly 1 or 0."""
    text = ""
    for digits in range(2 if value < 10 else 1 if value < 100 else 0, 7):
        # (rounded first: 1.1 * 100 is above 110)
        text = f"{towards(round(value * 10**digits, 6)) / 10**digits:.{digits}f}"
        if float(text) not in {0.0, 1.0} or float(text) == value:
            break
    return text
