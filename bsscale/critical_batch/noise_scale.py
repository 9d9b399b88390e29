"""The gradient noise scale: tr Σ / |G|², in samples.

G is the gradient of the loss, and Σ the covariance of the gradient of one sample. The mean gradient
G_b of b samples has the expected squared norm |G|² + tr Σ / b. So the squared norms at two batch
sizes, b and B, give unbiased estimates of both (McCandlish et al., arXiv:1812.06162, appendix A.1):

    |G|² = (B |G_B|² − b |G_b|²) / (B − b)        tr Σ = (|G_b|² − |G_B|²) / (1/b − 1/B)

The ratio of one pair of estimates is useless: |G|² is a small difference of large numbers. So
each of them is averaged over windows (the updates at which gradients were measured), and the ratio
is that of the averages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "FEWEST_WINDOWS",
    "Moments",
    "NoiseScale",
    "moments",
    "noise_scale",
]

# With fewer windows, the spread of the windows is itself badly known, and the interval says so.
FEWEST_WINDOWS = 10
# Squared norms are skewed, and so are their standard errors: at 95%, the intervals of simulated
# gradients in one dimension would cover 92.7%.
_LEVEL = 0.96
# Differences of neighbouring windows need three windows to have a spread.
_FEWEST_FOR_INTERVAL = 3


@dataclass(frozen=True)
class Moments:
    """The unbiased estimates of one window. Noise can make either of them negative.

    Attributes
    ----------
    squared_gradient
        Of |G|².
    trace
        Of tr Σ, for one sample.
    """

    squared_gradient: float
    trace: float


@dataclass(frozen=True)
class NoiseScale:
    """The noise scale over some windows.

    Attributes
    ----------
    samples
        The ratio of the averages; None where the average of |G|² or of tr Σ is not positive.
    interval
        Of 95%. Its high end is infinite where the windows do not exclude that |G|² is 0. None with
        fewer than three windows.
    windows
        Their number.
    """

    samples: float | None
    interval: tuple[float, float] | None
    windows: int

    @property
    def note(self) -> str | None:
        """What a reader of the interval should know, in a sentence; None if nothing."""
        if self.windows < FEWEST_WINDOWS:
            few = f"only {self.windows} window{'s' if self.windows != 1 else ''}"
            return f"{few}: from {FEWEST_WINDOWS} on, the interval can be relied on"
        if self.samples is None:
            return "the windows do not tell the gradient from its noise"
        if self.interval is not None and math.isinf(self.interval[1]):
            return "the windows do not exclude a noise scale of any size"
        return None


def moments(
    small_squared_norm: float, large_squared_norm: float, small_batch: float, large_batch: float
) -> Moments:
    """The estimates of one window.

    Parameters
    ----------
    small_squared_norm
        |G_b|²: the mean over gradients of batches of `small_batch` samples.
    large_squared_norm
        |G_B|²: of the gradient of a batch of `large_batch` samples, such as the average of the
        gradients of several small batches.
    small_batch, large_batch
        b and B, in samples.

    Raises
    ------
    ValueError
        If the large batch is not larger than the small one, or the small one is not positive.

    Examples
    --------
    >>> moments(10.0, 3.0, 1, 8)
    Moments(squared_gradient=2.0, trace=8.0)
    """
    if not 0 < small_batch < large_batch < math.inf:
        raise ValueError(
            f"small_batch={small_batch} and large_batch={large_batch} are not two batch sizes of "
            "which the second is larger"
        )
    return Moments(
        (large_batch * large_squared_norm - small_batch * small_squared_norm)
        / (large_batch - small_batch),
        (small_squared_norm - large_squared_norm) / (1 / small_batch - 1 / large_batch),
    )


def noise_scale(windows: Sequence[Moments]) -> NoiseScale:
    """The noise scale over some windows, with an interval over the windows.

    Parameters
    ----------
    windows
        In the order of training; all estimates finite.

    Notes
    -----
    The interval is Fieller's for a ratio of two averages: all ratios r for which the average of
    tr Σ − r |G|² is not further from 0 than Student's t times its standard error. Gradients shrink
    while a model trains, and this trend is no error of the averages over the windows, which are
    spread evenly. So the standard errors come from the differences of neighbouring windows (von
    Neumann et al., 1941). For normal estimates these have about 2/3 (n − 1) degrees of freedom;
    squared norms are skewed, and 1/2 (n − 1) are counted.
    ``tests/benchmarks/simulate_noise_scale.py`` measures how often the interval holds the truth.
    """
    if not windows:
        return NoiseScale(None, None, 0)
    values = np.array([(each.trace, each.squared_gradient) for each in windows])
    trace, squared = values.mean(axis=0)
    samples = float(trace / squared) if trace > 0 and squared > 0 else None
    return NoiseScale(samples, _interval(values), len(windows))


def _interval(values: npt.NDArray[np.float64]) -> tuple[float, float] | None:
    """Fieller's interval of the first mean over the second, less what is not positive."""
    n = len(values)
    if n < _FEWEST_FOR_INTERVAL:
        return None
    trace, squared = np.maximum(values.mean(axis=0), 0.0)  # (neither can be negative)
    differences = np.diff(values, axis=0)
    covariance = differences.T @ differences / (2 * (n - 1) * n)  # of the means
    t = _student((n - 1) / 2)
    # The ratios r with a r² − 2 b r + c <= 0.
    a = squared**2 - t**2 * covariance[1, 1]
    b = squared * trace - t**2 * covariance[0, 1]
    c = trace**2 - t**2 * covariance[0, 0]
    root = math.sqrt(max(b * b - a * c, 0.0))
    if a > 0:
        return max(float((b - root) / a), 0.0), float((b + root) / a)
    # |G|² may be 0, so that no ratio is too large. The lowest one is 0 if tr Σ may be 0, too.
    return (float(c / (b + root)) if c > 0 else 0.0), math.inf


def _student(freedom: float) -> float:
    """Student's t for a two-sided interval of `_LEVEL`, of one degree of freedom or more.

    With t = √ν tan φ, the share within ±t is the integral of cos^(ν−1) from 0 to φ, relative to
    that from 0 to π/2. (SciPy has the function. To import it costs a run more CPU time than all its
    measurements.)
    """
    freedom = min(freedom, 1000.0)  # (from there on it hardly changes)
    ratio = math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    whole = math.sqrt(math.pi) / 2 * ratio
    angles, step = np.linspace(0.0, math.pi / 2, 2001, retstep=True)
    values = np.cos(angles[:-1]) ** (freedom - 1)
    within = np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) * (step / 2))])
    angle = float(np.interp(_LEVEL * whole, within, angles[:-1]))
    return math.sqrt(freedom) * math.tan(angle)
