"""The order in which a finite training split is seen: permutation after permutation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["SampleOrder"]


class SampleOrder:
    """One endless, seeded stream of row numbers.

    Stream position p lies in pass p // rows and shows row ``permutation(seed, pass)[p % rows]``.
    The order depends on the seed alone, never on how the stream is cut into batches, and no row
    is dropped at the end of a pass.

    Parameters
    ----------
    rows
        Rows of the training split, ≥ 1.
    seed
        The run's seed, ≥ 0.
    """

    def __init__(self, rows: int, seed: int) -> None:
        self.rows = rows
        self.seed = seed
        self._permutations: dict[int, npt.NDArray[np.intp]] = {}

    def indices(self, start: int, stop: int) -> npt.NDArray[np.intp]:
        """Row numbers at positions start … stop − 1, shape (stop − start,)."""
        parts = [np.empty(0, np.intp)]
        for number in range(start // self.rows, -(-stop // self.rows)):
            first = number * self.rows
            permutation = self._permutation(number)
            parts.append(permutation[max(start - first, 0) : stop - first])
        return parts[1] if len(parts) == 2 else np.concatenate(parts)

    def _permutation(self, number: int) -> npt.NDArray[np.intp]:
        permutation = self._permutations.get(number)
        if permutation is None:
            permutation = np.random.default_rng([self.seed, number]).permutation(self.rows)
            # Keep neighbouring passes only: a batch lies in one pass or crosses into the next. The
            # dictionary is replaced and never changed, because another thread may be reading it.
            near = {key: it for key, it in self._permutations.items() if abs(key - number) <= 1}
            self._permutations = {**near, number: permutation}
        return permutation
