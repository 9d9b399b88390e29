"""Numbers for people."""

from __future__ import annotations

__all__ = ["metric_number"]


def metric_number(value: float | None) -> str:
    """The value of a metric with four decimals, or a dash if there is none.

    A value that four decimals do not suit, for instance a squared error of 0.00012 or 123456, is
    given with four significant digits.
    """
    if value is None:
        return "-"
    suits = value == 0 or 0.01 <= abs(value) < 10_000
    return f"{value:.4f}" if suits else f"{value:.4g}"
