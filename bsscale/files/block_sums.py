"""Checksums of the blocks of some bytes: each block is checked when it is first read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["BLOCK_BYTES", "DIGEST_BYTES", "BlockHashes", "BlockSums", "DamagedError"]

# So small that the first batches of a random order, which read single rows, check little else.
BLOCK_BYTES = 1 << 16
DIGEST_BYTES = 32


class DamagedError(Exception):
    """A file is not what was written under its name; the message says why."""


class BlockHashes:
    """The SHA-256 of each block of bytes that are written one part after the other."""

    def __init__(self) -> None:
        self._digests: list[bytes] = []
        self._open, self._room = hashlib.sha256(), BLOCK_BYTES

    def add(self, part: memoryview) -> None:
        """Add the next bytes."""
        at = 0
        while at < len(part):
            some = part[at : at + self._room]
            self._open.update(some)
            self._room -= len(some)
            at += len(some)
            if not self._room:
                self._close()

    def digests(self) -> bytes:
        """The digests of all blocks, the last of which may be shorter."""
        if self._room < BLOCK_BYTES:
            self._close()
        return b"".join(self._digests)

    def _close(self) -> None:
        self._digests.append(self._open.digest())
        self._open, self._room = hashlib.sha256(), BLOCK_BYTES


class BlockSums:
    """The blocks of some bytes with their checksums, and which of them have been checked.

    Parameters
    ----------
    size
        The number of bytes.
    digests
        Those of `BlockHashes`, uint8, shape (blocks, DIGEST_BYTES).

    Attributes
    ----------
    complete
        Whether all blocks have been checked.
    """

    def __init__(self, size: int, digests: npt.NDArray[np.uint8]) -> None:
        self.size, self._digests = size, digests
        self._checked = np.zeros(len(digests), dtype=np.bool_)
        self.complete = not len(digests)

    def check(
        self,
        content: memoryview,
        first: npt.NDArray[np.int64],
        last: npt.NDArray[np.int64],
    ) -> None:
        """Check the blocks of some bytes that have not been checked yet.

        Parameters
        ----------
        content
            All bytes.
        first, last
            The first and the last byte of each place, shape (places,). A place is within two
            neighbouring blocks.

        Raises
        ------
        DamagedError
            A block is not what was written.
        """
        blocks = np.concatenate([first // BLOCK_BYTES, last // BLOCK_BYTES])
        for block in np.unique(blocks[~self._checked[blocks]]).tolist():
            self._check_block(content, block)
        self.complete = bool(self._checked.all())

    def check_between(self, content: memoryview, first: int, end: int) -> Iterator[int]:
        """Check all blocks that have one of the bytes first … end − 1; gives the bytes of each.

        Raises
        ------
        DamagedError
            As `check`.
        """
        for block in range(first // BLOCK_BYTES, -(-end // BLOCK_BYTES)):
            if not self._checked[block]:
                self._check_block(content, block)
                yield BLOCK_BYTES
        self.complete = bool(self._checked.all())

    def _check_block(self, content: memoryview, block: int) -> None:
        start = block * BLOCK_BYTES
        digest = hashlib.sha256(content[start : start + BLOCK_BYTES]).digest()
        if digest != self._digests[block].tobytes():
            raise DamagedError(f"the checksum of bytes {start:,} … does not fit them")
        self._checked[block] = True
