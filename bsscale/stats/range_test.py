"""Readings of a learning-rate range test: where training diverges, and which rates to use.

A range test trains while the learning rate grows, and its curve is read here. Nothing is trained
in this module: it is arithmetic on the evaluations.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bsscale.objectives import Criterion
from bsscale.schedules.options.onecycle import FALL_PASSES, MIN_OF_PEAK, RISE_PASSES
from bsscale.stats.readings import minimum_tenth, steepest, valley

__all__ = [
    "PEAK_OF_EDGE",
    "Chance",
    "Curve",
    "Edge",
    "Estimates",
    "Suggestion",
    "estimates",
    "find_edge",
    "spreads",
    "suggest",
]

# Evaluations that a rise must last, and how many times the noise it must be.
RISE_LASTS = 3
RISE_OF_NOISE = 4.0
# How much higher than at the first evaluation a loss must have been, as a share, to be an
# instability that the model got over, and not a model that hovers at chance before it learns.
UNSTABLE_BY = 0.1
# The share of the lowest edge that is suggested as the peak.
# docs/choosing_the_cycle.md lists what else was tried, and what each gave on fresh seeds.
PEAK_OF_EDGE = 1 / 2

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """The evaluations of one seed's range test, the untrained model left out.

    Attributes
    ----------
    lr
        Learning rate of the last update before each evaluation, rising.
    loss
        Validation loss; NaN or infinite where training had diverged.
    values
        The metric on the validation split; NaN where it was not defined.
    """

    lr: Values
    loss: Values
    values: Values


@dataclass(frozen=True)
class Chance:
    """The values of a model without any feature.

    Attributes
    ----------
    loss, loss_words
        The validation loss of the best constant prediction, and what that is, for messages.
    value
        The value of the metric beyond which a model is better than chance; None: not known.
    criterion
        The metric.
    """

    loss: float
    loss_words: str
    value: float | None
    criterion: Criterion


@dataclass(frozen=True)
class Edge:
    """The rate at which a curve diverges.

    Attributes
    ----------
    lr
        The highest rate before the curve diverges; the last rate of the test if it never diverges.
    diverged
        Whether the curve diverges within the test.
    reason
        The sign of the divergence.
    instability
        The rate of an earlier sign that the model got over, after its loss had been a tenth higher
        than at the first evaluation; None: there was none.
    """

    lr: float
    diverged: bool
    reason: str
    instability: float | None = None


def find_edge(curve: Curve, chance: Chance) -> Edge:
    """Find the learning rate at which training stops working.

    The first of these signs counts: a loss that is not finite; a loss or a metric that is back at
    chance (for a binary label, the loss above the label's entropy) after it had been better, unless
    the model gets over it and trains better than before at higher rates; a loss that has risen
    above its minimum by more than four times its own noise for three evaluations and does not come
    back. A fixed multiple of the lowest loss, which many implementations use, misses a rise of 1.7
    times, and takes noise for a rise where the loss is small.

    Parameters
    ----------
    curve
        One seed's evaluations.
    chance
        What a model that knows no feature reaches.
    """
    signs: list[tuple[int, str]] = []
    instabilities: list[int] = []
    finite = np.isfinite(curve.loss)
    if not finite.all():
        signs.append((int(np.argmin(finite)), "a non-finite loss"))
    good = [(curve.loss < chance.loss, f"the loss back above {chance.loss_words}")]
    if chance.value is not None:
        sign, title = chance.criterion.sign, chance.criterion.title
        better = sign * curve.values > sign * chance.value
        good.append((better, f"the {title} back at chance"))
    for each, reason in good:
        for index in _bad_evaluations(each):
            end = _recovery(curve.loss, each, index)
            if end is None:
                signs.append((index, reason))
                break
            if _unstable(curve.loss, index, end):
                instabilities.append(index)
    signs += _first_lasting_rise(curve.loss[: signs[0][0] if not finite.all() else None])
    rates = [float(curve.lr[index - 1]) for index in instabilities]
    instability = min(rates, default=None)
    if not signs:
        return Edge(float(curve.lr[-1]), False, "it did not diverge", instability)
    index, reason = min(signs)
    return Edge(float(curve.lr[max(index - 1, 0)]), True, reason, instability)


def _bad_evaluations(good: npt.NDArray[np.bool_]) -> list[int]:
    """The evaluations that are bad after a good one, if the following ones stay bad."""
    if not good.any():
        return []
    first = int(np.argmax(good))
    return [
        index for index in range(first + 1, len(good)) if not good[index : index + RISE_LASTS].any()
    ]


def _recovery(loss: Values, good: npt.NDArray[np.bool_], index: int) -> int | None:
    """Where a curve is good again and lower than ever before `index`, at least three times."""
    before = loss[:index][np.isfinite(loss[:index])]
    if not before.size:
        return None
    lower = np.flatnonzero(good[index:] & (loss[index:] < before.min()))
    return index + int(lower[0]) if len(lower) >= RISE_LASTS else None


def _unstable(loss: Values, index: int, end: int) -> bool:
    """Whether a curve was worse than at its beginning, between its lowest loss and a recovery."""
    lowest = int(np.nanargmin(loss[:index]))
    return bool(np.nanmax(loss[lowest:end]) > loss[0] + UNSTABLE_BY * abs(loss[0]))


def _first_lasting_rise(loss: Values) -> list[tuple[int, str]]:
    """The first evaluation after the minimum from which the loss stays above it beyond noise."""
    if len(loss) < 2 * RISE_LASTS:
        return []
    smooth = _smooth(loss)
    lowest = int(np.argmin(smooth))
    noise = _noise(loss[: lowest + 1])
    above = loss > smooth[lowest] + RISE_OF_NOISE * noise
    above[: lowest + 1] = False
    if len(above) - 1 - lowest < RISE_LASTS or not above[-RISE_LASTS:].all():
        return []
    index = len(above) - int(np.argmin(above[::-1]))
    return [(index, "the loss rising beyond its noise")]


def _noise(loss: Values) -> float:
    """The standard deviation of evaluation-to-evaluation noise, robustly, from second differences.

    A second difference of independent noise has 6 times its variance, and a smooth trend has
    nearly none; 1.4826 times the median absolute deviation estimates a standard deviation.
    """
    if len(loss) < 5:
        return 0.0
    second = np.diff(loss, n=2)
    return float(1.4826 * np.median(np.abs(second - np.median(second))) / math.sqrt(6))


def _smooth(values: Values, width: int = 5) -> Values:
    """Running median of `width`, the ends repeated."""
    padded = np.pad(values, width // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    return np.asarray(np.median(windows, axis=1), dtype=np.float64)


@dataclass(frozen=True)
class Estimates:
    """The learning rates that well-known readings of one curve suggest.

    Attributes
    ----------
    steepest
        From where the loss falls fastest over log rate (fastai's ``steep``).
    valley
        The middle of the longest valley of the loss (fastai's ``valley``, its default).
    minimum_tenth
        A tenth of the rate with the lowest loss (fastai's ``minimum``).
    edge
        Where training diverges; see `find_edge`.
    """

    steepest: float
    valley: float
    minimum_tenth: float
    edge: Edge


def estimates(curve: Curve, chance: Chance) -> Estimates:
    """Read one seed's curve in every way; the parameters are those of `find_edge`.

    fastai's readings (see `bsscale.stats.readings`) are taken of the validation losses up to the
    edge, in running medians of five. With fewer than three losses, all readings are computed from
    the edge.
    """
    edge = find_edge(curve, chance)
    # Use the last evaluation of each stair, because the readings need the loss as a function of the
    # rate.
    ends = np.append(np.diff(curve.lr) > 0, True)
    usable = ends & (curve.lr <= edge.lr) & np.isfinite(curve.loss)
    lr = curve.lr[usable]
    if len(lr) < 3:
        return Estimates(edge.lr, edge.lr, edge.lr / 10, edge)
    loss = _smooth(curve.loss[usable])
    return Estimates(
        steepest=steepest(lr, loss),
        valley=valley(lr, loss),
        minimum_tenth=minimum_tenth(lr, loss),
        edge=edge,
    )


@dataclass(frozen=True)
class Suggestion:
    """A 1-Cycle, from the curves of several seeds.

    Attributes
    ----------
    cycle_min_lr, cycle_max_lr
        Rates at the ends and at the peak.
    cycle_first_samples, cycle_second_samples
        Lengths of the rising and the falling half, in samples.
    reason
        How they follow from the curves.
    spread
        For each reading, lowest, median and highest over the seeds.
    """

    cycle_min_lr: float
    cycle_max_lr: float
    cycle_first_samples: int
    cycle_second_samples: int
    reason: str
    spread: Mapping[str, tuple[float, float, float]]

    def preset(self) -> dict[str, float | int]:
        """The content of a file for ``schedule.preset``."""
        return {
            "cycle_min_lr": self.cycle_min_lr,
            "cycle_max_lr": self.cycle_max_lr,
            "cycle_first_samples": self.cycle_first_samples,
            "cycle_second_samples": self.cycle_second_samples,
        }

    def overrides(self) -> str:
        """The same as command-line overrides."""
        return " ".join(f"schedule.{key}={value}" for key, value in self.preset().items())


def suggest(
    readings: Sequence[Estimates], samples_per_pass: int, momentum_gain: float = 1.0
) -> Suggestion:
    """Suggest a 1-Cycle from the range tests of several seeds.

    The peak moves the weights half as fast as the lowest rate at which any seed diverged. A
    cycle with a peak above that edge may diverge and not recover. A range test spends only a few
    updates at each rate, and a cycle many, so the edge of a cycle may be lower. SGD with momentum m
    moves the weights by lr / (1 - m) in the long run. The cycle lowers m at its peak, so its peak
    rate may be higher.

    Parameters
    ----------
    readings
        One a seed, at least one.
    samples_per_pass
        Training samples in one pass.
    momentum_gain
        How much higher the rate may be at the cycle's lowest momentum than at the momentum of the
        test: for SGD (1 - cycle_min_mom) / (1 - momentum); 1 where momentum does not add up.
    """
    lowest = min(reading.edge.lr for reading in readings)
    peak = _round(lowest * PEAK_OF_EDGE * momentum_gain)
    diverged = sum(reading.edge.diverged for reading in readings)
    edge = f"the lowest rate at which the loss rose, {lowest:.3g} ({diverged} of "
    edge += f"{len(readings)} seeds)"
    if diverged == 0:
        edge = f"the highest rate tried, {lowest:.3g} (the loss rose on no seed: try higher ones)"
    reason = f"peak {peak:g}: {edge}, halved for safety"
    if momentum_gain != 1:
        gain = "doubled" if round(momentum_gain, 6) == 2 else f"times {momentum_gain:.3g}"
        reason += f", {gain} because momentum is lower there"
    return Suggestion(
        cycle_min_lr=_round(peak * MIN_OF_PEAK),
        cycle_max_lr=peak,
        cycle_first_samples=round(RISE_PASSES * samples_per_pass),
        cycle_second_samples=round(FALL_PASSES * samples_per_pass),
        reason=reason,
        spread=spreads(readings),
    )


def spreads(readings: Sequence[Estimates]) -> dict[str, tuple[float, float, float]]:
    """For each reading, lowest, median and highest over the seeds."""
    return {
        "steepest": _spread(readings, lambda reading: reading.steepest),
        "valley": _spread(readings, lambda reading: reading.valley),
        "minimum_tenth": _spread(readings, lambda reading: reading.minimum_tenth),
        "edge": _spread(readings, lambda reading: reading.edge.lr),
    }


def _spread(
    readings: Sequence[Estimates], value: Callable[[Estimates], float]
) -> tuple[float, float, float]:
    values = sorted(map(value, readings))
    return values[0], statistics.median(values), values[-1]


def _round(rate: float) -> float:
    """Round to two significant digits, the precision of a range test."""
    return float(f"{rate:.2g}")
