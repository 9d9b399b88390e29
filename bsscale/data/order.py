"""The order in which a finite training split is seen: pass after pass, each row once in a pass."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["ORDERS", "BlockOrder", "Order", "SampleOrder"]


class Order(Protocol):
    """An endless order of row numbers that depends on its seed alone."""

    def indices(self, start: int, stop: int) -> npt.NDArray[np.intp]:
        """Row numbers at positions start … stop − 1, shape (stop − start,)."""
        ...


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


class BlockOrder:
    """One endless, seeded stream of row numbers in which rows that are near each other stay near.

    Rows are cut into blocks of `BLOCK_ROWS`, the last one shorter. In each pass the blocks are
    permuted, and `WINDOW_BLOCKS` blocks after each other are a window, whose rows are permuted. So
    a batch comes from few places of a file that does not fit in memory, and a row may be beside
    those of its window only. Which passes follow each other as in `SampleOrder`.

    Parameters
    ----------
    rows, seed
        As those of `SampleOrder`.
    """

    BLOCK_ROWS = 1024
    WINDOW_BLOCKS = 256

    def __init__(self, rows: int, seed: int) -> None:
        self.rows = rows
        self.seed = seed
        self._windows: dict[tuple[int, int], npt.NDArray[np.intp]] = {}
        self._blocks: dict[int, npt.NDArray[np.intp]] = {}

    def indices(self, start: int, stop: int) -> npt.NDArray[np.intp]:
        """Row numbers at positions start … stop − 1, shape (stop − start,)."""
        parts = [np.empty(0, np.intp)]
        for number in range(start // self.rows, -(-stop // self.rows)):
            first = number * self.rows
            parts += self._of_pass(number, max(start - first, 0), min(stop - first, self.rows))
        return parts[1] if len(parts) == 2 else np.concatenate(parts)

    def _of_pass(self, number: int, start: int, stop: int) -> list[npt.NDArray[np.intp]]:
        """The rows at the positions start … stop − 1 of a pass, in parts."""
        blocks = self._permuted_blocks(number)
        count = -(-len(blocks) // self.WINDOW_BLOCKS)
        sizes = np.full(count, self.WINDOW_BLOCKS * self.BLOCK_ROWS)
        sizes[-1] = (len(blocks) - (count - 1) * self.WINDOW_BLOCKS) * self.BLOCK_ROWS
        # (the last block of the rows may be in any window)
        last = int(np.flatnonzero(blocks == len(blocks) - 1)[0]) // self.WINDOW_BLOCKS
        sizes[last] -= len(blocks) * self.BLOCK_ROWS - self.rows
        ends = np.cumsum(sizes)
        parts = []
        window = int(np.searchsorted(ends, start, "right"))
        while window < count and (first := int(ends[window] - sizes[window])) < stop:
            parts.append(self._window(number, window)[max(start - first, 0) : stop - first])
            window += 1
        return parts

    def _permuted_blocks(self, number: int) -> npt.NDArray[np.intp]:
        blocks = self._blocks.get(number)
        if blocks is None:
            count = -(-self.rows // self.BLOCK_ROWS)
            blocks = np.random.default_rng([self.seed, number, 0]).permutation(count)
            # (replaced and never changed: another thread may be reading it)
            near = {key: it for key, it in self._blocks.items() if abs(key - number) <= 1}
            self._blocks = {**near, number: blocks}
        return blocks

    def _window(self, number: int, window: int) -> npt.NDArray[np.intp]:
        rows = self._windows.get((number, window))
        if rows is None:
            first = window * self.WINDOW_BLOCKS
            blocks = self._permuted_blocks(number)[first : first + self.WINDOW_BLOCKS]
            rows = (blocks[:, None] * self.BLOCK_ROWS + np.arange(self.BLOCK_ROWS)).reshape(-1)
            rows = rows[rows < self.rows]
            rows = np.random.default_rng([self.seed, number, 1 + window]).permutation(rows)
            kept = list(self._windows.items())[-1:]
            self._windows = {**dict(kept), (number, window): rows}
        return rows


ORDERS: dict[str, type[SampleOrder] | type[BlockOrder]] = {
    "permutation": SampleOrder,
    "blocks": BlockOrder,
}
