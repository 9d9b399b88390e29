"""Metrics of a binary label: the exact area under the ROC curve, log loss, accuracy.

Everything here is exact or float64, and takes anything that `numpy.asarray` takes.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bsscale.errors import MetricError

__all__ = [
    "accuracy",
    "binary_cross_entropy",
    "chance_auc_bound",
    "label_entropy",
    "majority_share",
    "normalized_entropy",
    "roc_auc",
]

Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]


def roc_auc(label: ArrayLike, score: ArrayLike) -> float:
    r"""Area under the ROC curve, exact, ties included.

    The share of (positive, negative) pairs in which the positive has the higher score; a pair with
    equal scores counts one half:

    .. math:: \frac{1}{PN} \sum_{i: y_i=1} \sum_{j: y_j=0} [z_i > z_j] + \tfrac12 [z_i = z_j]

    which is the Mann-Whitney statistic over its maximum. The pairs are counted in integers, so only
    the one division at the end rounds.

    Parameters
    ----------
    label
        Shape (n,), each 0 or 1 (bool, integer or float).
    score
        Shape (n,), real and not NaN; higher means more likely 1. Only the order matters, so logits
        and probabilities are both valid; logits lose less of the order to rounding. Infinities are
        ordered as usual, and -0.0 equals 0.0.

    Returns
    -------
    float
        In [0, 1]; 0.5 is chance.

    Raises
    ------
    MetricError
        If the inputs are empty, differ in length or have only one class, a label is not 0 or 1, or
        a score is NaN.

    Notes
    -----
    O(n log n), no overflow up to 2**31 samples. Scores that fit 32 bits (float16, float32, integers
    up to 32 bits) are sorted together with their label as single 64-bit integers, which NumPy sorts
    far faster than an argsort can be made; others are sorted by class and searched.

    References
    ----------
    J. A. Hanley, B. J. McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", Radiology 143, 1982.
    """
    positive, positives, negatives = _classes(label)
    values = _scores(score, positive)
    keys = _order_32_bits(values)
    won_twice = _count_searched(values, positive) if keys is None else _count_packed(keys, positive)
    return won_twice / (2 * positives * negatives)


def chance_auc_bound(label: ArrayLike) -> float:
    r"""The AUC below which scores cannot be told from chance: 3 standard errors above one half.

    .. math:: \tfrac12 + 3 \sqrt{\frac{P + N + 1}{12 P N}}

    with the variance of the Mann-Whitney statistic when scores are independent of labels. Ties only
    make that variance smaller.

    Parameters
    ----------
    label
        Shape (n,), each 0 or 1.

    Returns
    -------
    float
        Above 0.5; above 1 if there are too few labels for any conclusion.

    Raises
    ------
    MetricError
        If the labels are empty or of one class only, or one is not 0 or 1.

    References
    ----------
    H. B. Mann, D. R. Whitney, "On a test of whether one of two random variables is stochastically
    larger than the other", 1947.
    """
    _, positives, negatives = _classes(label)
    variance = (positives + negatives + 1) / (12 * positives * negatives)
    return 0.5 + 3 * math.sqrt(variance)


def binary_cross_entropy(
    label: ArrayLike, logit: ArrayLike, weight: ArrayLike | None = None
) -> float:
    r"""Mean negative log-likelihood of the labels, in nats.

    .. math:: \sum_i w_i (\log(1 + e^{z_i}) - y_i z_i) / \sum_i w_i

    Parameters
    ----------
    label
        Shape (n,), each 0 or 1.
    logit
        Shape (n,), log-odds of a 1. Computed in float64 for any type.
    weight
        Shape (n,), ≥ 0 and not all 0; None: all alike.

    Returns
    -------
    float
        >= 0. Not finite where a logit is NaN, or infinite against its label: a diverged model is a
        result and raises nothing.

    Raises
    ------
    MetricError
        If the inputs are empty or differ in length, or a label is not 0 or 1.
    """
    positive = _positive(label)
    values = _real("logits", logit, positive).astype(np.float64)
    # log(1 + e^z) - z = log(1 + e^-z): one stable form for both classes, without inf - inf.
    against = np.where(positive, -values, values)
    return _mean(np.maximum(against, 0.0) + np.log1p(np.exp(-np.abs(against))), weight)


def label_entropy(label: ArrayLike, weight: ArrayLike | None = None) -> float:
    r"""Entropy of the labels, in nats: the loss of the best model that looks at no feature.

    .. math:: -p \log p - (1 - p) \log (1 - p)

    Parameters
    ----------
    label
        Shape (n,), each 0 or 1.
    weight
        Shape (n,), ≥ 0 and not all 0; None: all alike.

    Returns
    -------
    float
        In [0, log 2]; 0 where there is one class only.

    Raises
    ------
    MetricError
        If the labels are empty, or one is not 0 or 1.
    """
    positive = _positive(label)
    share = _mean(positive, weight)
    return -sum(p * math.log(p) for p in (share, 1.0 - share) if p > 0) or 0.0


def normalized_entropy(
    label: ArrayLike, logit: ArrayLike, weight: ArrayLike | None = None
) -> float:
    """Log loss over the entropy of the labels: 1 is a model that predicts the base rate.

    Takes and raises what `binary_cross_entropy` does; not finite where there is one class only.

    References
    ----------
    X. He et al., "Practical lessons from predicting clicks on ads at Facebook", ADKDD 2014.
    """
    entropy = label_entropy(label, weight)
    return binary_cross_entropy(label, logit, weight) / entropy if entropy else math.nan


def accuracy(label: ArrayLike, logit: ArrayLike) -> float:
    """Share of the samples whose logit has the sign of the label; a logit of 0 predicts a 0.

    Takes and raises what `binary_cross_entropy` does.
    """
    positive = _positive(label)
    return float(np.mean((_real("logits", logit, positive) > 0) == positive))


def majority_share(label: ArrayLike) -> float:
    """Share of the more frequent label: the accuracy of the best constant. Shape (n,), 0 or 1."""
    share = float(np.mean(_positive(label)))
    return max(share, 1.0 - share)


def _mean(values: NDArray[Any], weight: ArrayLike | None) -> float:
    """The mean of some values; with weights, in float64."""
    if weight is None:
        return float(np.mean(values))
    return float(np.average(values, weights=np.asarray(weight, np.float64)))


def _count_packed(keys: NDArray[np.integer[Any]], positive: Bools) -> int:
    """Twice the pairs won, a tie counting one, by one sort of (score, label) in 64 bits."""
    packed: Ints = keys.astype(np.int64)
    packed <<= 1
    packed |= positive
    packed.sort()
    # A positive's place in the order, less the positives before it, is the number of negatives with
    # a lower or an equal score: negatives come first among equals.
    places = np.flatnonzero((packed & 1).astype(np.bool_))  # (much faster on bools)
    positives = len(places)
    lower_or_equal = int(places.sum(dtype=np.int64)) - positives * (positives - 1) // 2
    # Where a group of equal scores has both classes, the last negative and the first positive are
    # neighbours that differ in the label's bit only.
    first = places[places > 0]
    first = first[packed[first - 1] == packed[first] - 1]
    if not len(first):
        return 2 * lower_or_equal
    equal_negatives = first - np.searchsorted(packed, packed[first - 1], side="left")
    equal_positives = np.searchsorted(packed, packed[first], side="right") - first
    return 2 * lower_or_equal - int(np.sum(equal_negatives * equal_positives, dtype=np.int64))


def _count_searched(values: NDArray[Any], positive: Bools) -> int:
    """Twice the pairs won, a tie counting one, for scores too wide to pack."""
    winners, losers = np.sort(values[positive]), np.sort(values[~positive])
    lower = np.searchsorted(losers, winners, side="left").sum(dtype=np.int64)
    lower_or_equal = np.searchsorted(losers, winners, side="right").sum(dtype=np.int64)
    return int(lower) + int(lower_or_equal)


def _order_32_bits(values: NDArray[Any]) -> NDArray[np.integer[Any]] | None:
    """Integers of at most 32 bits in the order of the scores; None where they need more bits."""
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 4:
        return values
    if values.dtype.kind != "f" or values.dtype.itemsize > 4:
        return None
    # Adding 0 makes -0.0 the same bits as 0.0. IEEE floats of one sign are ordered as their bits
    # are; flipping all but the sign of the negative ones reverses their order.
    bits = (values.astype(np.float32) + np.float32(0)).view(np.int32)
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))


def _classes(label: ArrayLike) -> tuple[Bools, int, int]:
    """Labels as bools, and how many there are of each class."""
    positive = _positive(label)
    positives = int(np.count_nonzero(positive))
    negatives = len(positive) - positives
    if not positives or not negatives:
        raise MetricError(
            f"all {len(positive)} labels are {int(positives > 0)}: the AUC compares two classes",
            "evaluate on more samples, or on a split with both classes",
        )
    return positive, positives, negatives


def _positive(label: ArrayLike) -> Bools:
    """Labels as bools, checked."""
    labels = np.asarray(label)
    if labels.ndim != 1:
        raise MetricError(
            f"labels have shape {labels.shape}", "give one label a sample, shape (n,)"
        )
    if not labels.size:
        raise MetricError("there are no labels", "evaluate on at least one sample of each class")
    if labels.dtype.kind == "b":
        return labels
    if labels.dtype.kind not in "iuf":
        raise MetricError(f"labels have type {labels.dtype}", "give labels as the numbers 0 and 1")
    positive: Bools = labels == 1
    wrong = ~(positive | (labels == 0))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise MetricError(f"label {at} is {labels[at]}", "give labels as the numbers 0 and 1")
    return positive


def _scores(score: ArrayLike, positive: Bools) -> NDArray[Any]:
    """Scores, checked against the labels and for NaN."""
    values = _real("scores", score, positive)
    if values.dtype.kind == "f":
        missing = np.isnan(values)
        if missing.any():
            raise MetricError(
                f"{np.count_nonzero(missing)} of {values.size} scores are NaN, the first at "
                f"position {np.argmax(missing)}",
                "a model whose outputs are NaN has diverged; lower the learning rate",
            )
    return values


def _real(name: str, array: ArrayLike, positive: Bools) -> NDArray[Any]:
    """One real number a label, as an array."""
    values = np.asarray(array)
    if values.shape != positive.shape:
        raise MetricError(
            f"{name} have shape {values.shape}, labels {positive.shape}",
            "give one of each a sample, shape (n,)",
        )
    if values.dtype.kind == "b":
        return values.view(np.uint8)
    if values.dtype.kind not in "iuf":
        raise MetricError(f"{name} have type {values.dtype}", f"give {name} as real numbers")
    return values
