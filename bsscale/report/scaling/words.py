"""The verdict on samples over batch, in sentences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from bsscale.critical_batch import Fit, Scaling
from bsscale.report.scaling.contents import ScalingContents

__all__ = [
    "MORE",
    "amount",
    "compared",
    "duration",
    "headline",
    "interval",
    "prediction_words",
    "verdict",
    "verdicts",
]

# The shares of more samples that a page gives the batch of.
MORE = (0.1, 0.2, 0.5)


def amount(value: float) -> str:
    """A number of samples in any unit, or a batch."""
    if math.isinf(value):
        return "unlimited"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def interval(ends: tuple[float, float]) -> str:
    """An interval of amounts."""
    return f"{amount(ends[0])} to {amount(ends[1])}"


def duration(seconds: float) -> str:
    """A time in its natural unit."""
    if math.isinf(seconds):
        return "unlimited"
    for unit, length in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def headline(contents: ScalingContents) -> str:
    """The title of the page: its answer."""
    known = {name: found for name, found in contents.arms.items() if found.identified}
    if not known:
        return "The critical batch is not identified"
    name, found = next(iter(known.items()))
    assert found.fit is not None
    of = "" if len(contents.arms) == 1 else f" of {name}"
    batch = found.fit.curve.critical_batch
    in_gpus = gpus_words(batch, contents.batch_of_gpu)
    return f"The critical batch{of} is {amount(batch)}{in_gpus}"


def gpus_words(batch: float, batch_of_gpu: int | None) -> str:
    """A batch as so many GPUs, in brackets; nothing where that is not known."""
    if batch_of_gpu is None:
        return ""
    gpus = batch / batch_of_gpu
    return f" ({gpus:.0f} GPUs)" if gpus >= 10 else f" ({gpus:.1f} GPUs)"


def verdict(found: Scaling, batch_of_gpu: int | None) -> str:
    """What the points of one arm say."""
    if found.reason is not None or found.fit is None or found.exponent is None:
        return f"The critical batch is not identified. {found.reason}"
    made, power = found.fit, found.exponent
    at = [
        f"{amount(made.curve.batch_at(more))}{gpus_words(made.curve.batch_at(more), batch_of_gpu)}"
        for more in MORE
    ]
    said = (
        f"The critical batch is {amount(made.curve.critical_batch)}"
        f"{gpus_words(made.curve.critical_batch, batch_of_gpu)}, with a 95% interval of "
        f"{interval(made.interval)}: there the target costs twice the samples of a small batch, "
        f"{amount(made.curve.min_samples)}. It costs 10%, 20% and 50% more at batches of {at[0]}, "
        f"{at[1]} and {at[2]}."
    )
    return f"{said} {misfit_words(made, power.value)}".rstrip()


def misfit_words(made: Fit, exponent: float) -> str:
    """A sentence where batches lie beside the curve by more than their seeds explain."""
    if made.noise.between <= made.noise.sigma / 4:
        return ""
    return (
        f"Batches lie {made.noise.between:.1%} beside the curve for reasons other than their seeds "
        f"(the free exponent is {exponent:.2f}, and 1 in the curve); the interval allows for it."
    )


def verdicts(contents: ScalingContents) -> dict[str, str]:
    """The sentences of each arm."""
    return {name: verdict(found, contents.batch_of_gpu) for name, found in contents.arms.items()}


def compared(arms: Mapping[str, Scaling]) -> list[str]:
    """Whether an arm raises the critical batch, or only lowers the samples of a small batch.

    Each arm is compared with the first one; the arms' errors are taken as independent.
    """
    known = {name: found.fit for name, found in arms.items() if found.identified and found.fit}
    if len(known) < 2:
        return []
    first, *others = known
    return [_pair(other, known[other], first, known[first]) for other in others]


def prediction_words(contents: ScalingContents) -> list[str]:
    """How good the predictions of larger batches were, a sentence for all arms together."""
    scored = [each for found in contents.predictions.values() for each in found]
    if not scored:
        return []
    covered = sum(each.covered for each in scored)
    error = statistics.median(each.error for each in scored)
    return [
        "From batches up to a quarter of the largest, the samples at larger ones were predicted "
        f"before their runs began: {covered} of {len(scored)} intervals held what was measured, "
        f"and the median error was {f'{error:.0%}' if math.isfinite(error) else 'without bound'}."
    ]


def _pair(name: str, made: Fit, reference: str, other: Fit) -> str:
    batch = _ratio(
        made.curve.critical_batch, made.interval, other.curve.critical_batch, other.interval
    )
    least = _ratio(
        made.curve.min_samples,
        made.min_samples_interval,
        other.curve.min_samples,
        other.min_samples_interval,
    )
    return (
        f"Compared with {reference}, {name} {_change(batch)} the critical batch ({_times(batch)}), "
        f"and {_change(least)} the samples of a small batch ({_times(least)})."
    )


def _ratio(
    value: float, ends: tuple[float, float], other: float, other_ends: tuple[float, float]
) -> tuple[float, float, float]:
    """A ratio and its interval: distances on the log scale add as independent errors do."""
    ratio = math.log(value / other)
    low = math.hypot(math.log(value / ends[0]), math.log(other_ends[1] / other))
    high = math.hypot(math.log(ends[1] / value), math.log(other / other_ends[0]))
    return math.exp(ratio), math.exp(ratio - low), math.exp(ratio + high)


def _change(ratio: tuple[float, float, float]) -> str:
    return "raises" if ratio[1] > 1 else "lowers" if ratio[2] < 1 else "does not clearly change"


def _times(ratio: tuple[float, float, float]) -> str:
    return f"{ratio[0]:.2f} times, {ratio[1]:.2f} to {ratio[2]:.2f}"
