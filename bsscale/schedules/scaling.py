"""How a learning rate changes with the batch.

Each rule takes the learning rate that was tuned at one batch, and the ratio of the new batch to
that one, and returns the rate at the new batch. At a ratio of 1 every rule returns the rate
unchanged.
"""

from __future__ import annotations

import math

from bsscale.errors import ConfigError

__all__ = ["linear", "sqrt", "unscaled"]


def unscaled(base_lr: float, ratio: float) -> float:
    """Keep the learning rate at every batch: the control with which every rule is compared.

    Takes, returns and raises what `linear` does.
    """
    _check(base_lr, ratio)
    return base_lr


def linear(base_lr: float, ratio: float) -> float:
    r"""Multiply the learning rate by the ratio of the batches.

    .. math:: \eta' = r \, \eta

    k small steps at one rate, and one step at k times the rate on the mean gradient of their k
    batches, move the weights equally far while the gradient hardly changes in between. Early in
    training it does change, hence Goyal et al.'s gradual warmup, which is a schedule and not part
    of the rule.

    Parameters
    ----------
    base_lr
        Learning rate tuned at the small batch, above 0.
    ratio
        New batch divided by that batch, above 0.

    Returns
    -------
    float
        Learning rate at the new batch.

    Raises
    ------
    ConfigError
        If either is not a finite number above 0.

    References
    ----------
    P. Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017,
    arXiv:1706.02677.
    """
    _check(base_lr, ratio)
    return base_lr * ratio


def sqrt(base_lr: float, ratio: float) -> float:
    r"""Multiply the learning rate by the square root of the ratio of the batches.

    .. math:: \eta' = \sqrt{r} \, \eta

    The mean of r times as many gradients has 1/r of the variance, so a step of this size keeps the
    variance of the weight change what it was.

    Takes, returns and raises what `linear` does.

    References
    ----------
    A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014,
    arXiv:1404.5997.
    E. Hoffer, I. Hubara, D. Soudry, "Train longer, generalize better", 2017, arXiv:1705.08741.
    """
    _check(base_lr, ratio)
    return base_lr * math.sqrt(ratio)


def _check(base_lr: float, ratio: float) -> None:
    if not (math.isfinite(base_lr) and base_lr > 0):
        raise ConfigError(
            f"base_lr is {base_lr}, not a finite number above 0",
            "give the best constant learning rate of the small batch",
        )
    if not (math.isfinite(ratio) and ratio > 0):
        raise ConfigError(
            f"the ratio of the batches is {ratio}, not a finite number above 0",
            "divide the new batch by the batch that base_lr was tuned at",
        )
