"""The learning rates that well-known readings of a range test's curve suggest.

They are those of fastai, on any losses: `valley`, `steep` and `minimum` of its
``callback/schedule.py`` (version 2.8.12). fastai gives them its smoothed training losses, less the
first tenth of the updates and the last five; `bsscale.stats.range_test` gives them what its curve
holds below the edge.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["minimum_tenth", "steepest", "valley"]

Values = npt.NDArray[np.float64]


def valley(lr: Values, loss: Values) -> float:
    """The rate in the middle of the longest valley (fastai's ``valley``, its default).

    The longest subsequence of losses in which each is below the one before gives the length of the
    valley, and its last evaluation the end. (Of several that are longest, the one that ends first.)
    Where noise interrupts the fall, the subsequence skips evaluations, so the valley is shorter
    than the stretch that the subsequence spans. The rate is a third and a sixth of the length, each
    rounded down, after the evaluation before the valley. fastai's notes call that "roughly 2/3
    through the longest valley"; it is roughly its middle.

    Parameters
    ----------
    lr, loss
        One an evaluation, finite, at least one; rates rise.

    Notes
    -----
    Where the only fall is from the first evaluation to the second, fastai's index is -1, which
    Python reads as the last and highest rate; here the first rate is taken.

    References
    ----------
    fastai 2.8.12, ``callback/schedule.py``, lines 216 to 234.
    """
    lengths = np.ones(len(loss), dtype=int)
    for index in range(1, len(loss)):
        higher = loss[:index] > loss[index]
        lengths[index] += lengths[:index][higher].max(initial=0)
    end = int(np.argmax(lengths))
    length = int(lengths[end])
    return float(lr[max(end - length + length // 3 + length // 6, 0)])


def steepest(lr: Values, loss: Values) -> float:
    """The rate from which the loss falls fastest, over log rate, to the next (fastai's ``steep``).

    Lightning's suggestion is another: the slope over the rate itself, in central differences.

    Parameters
    ----------
    lr, loss
        One an evaluation, finite, at least two; rates rise.

    References
    ----------
    fastai 2.8.12, ``callback/schedule.py``, lines 262 to 267.
    """
    return float(lr[int(np.argmin(np.diff(loss) / np.diff(np.log(lr))))])


def minimum_tenth(lr: Values, loss: Values) -> float:
    """A tenth of the rate with the lowest loss, the first of equals (fastai's ``minimum``).

    Parameters
    ----------
    lr, loss
        One an evaluation, finite, at least one; rates rise.

    References
    ----------
    fastai 2.8.12, ``callback/schedule.py``, lines 255 to 259. S. Gugger, "How Do You Find A Good
    Learning Rate", 2018.
    """
    return float(lr[int(np.argmin(loss))]) / 10
