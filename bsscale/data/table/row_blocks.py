"""Cuts the bytes of a text file into blocks of whole rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["row_blocks"]

# A row that is so many blocks long has a quote out of place.
_BLOCKS_OF_A_ROW = 4


def row_blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks that end at the end of a row; the last one is what is left.

    A line end within quotes ends no row: before the end of a row, the number of quotes is even.

    Parameters
    ----------
    chunks
        The content of a file. If there is one only, it is the block, whatever is in it.
    """
    kept, size, quotes = b"", 0, 0
    waiting: bytes | None = None
    for chunk in chunks:
        if waiting is not None:
            size = max(size, len(waiting))
            # (no row ends in what was kept)
            if end := _last_row_end(waiting, quotes):
                yield b"".join((kept, memoryview(waiting)[:end]))
                kept = waiting[end:]
            else:
                kept += waiting
                if len(kept) > _BLOCKS_OF_A_ROW * size:
                    end = kept.rfind(b"\n") + 1 or len(kept)  # (it will be refused)
                    yield kept[:end]
                    kept = kept[end:]
            quotes = _quotes(kept)
        waiting = chunk
    kept += waiting or b""
    if kept:
        yield kept


def _last_row_end(content: bytes, before: int) -> int:
    """The offset after the last line end that ends a row; 0 if there is none.

    `before` is the number of quotes of the row before the content.
    """
    quotes, end = before + _quotes(content), len(content)
    while end > 0:
        start = content.rfind(b"\n", 0, end) + 1
        quotes -= content.count(b'"', start, end) if quotes else 0
        if start and quotes % 2 == 0:
            return start
        end = start - 1
    return 0


def _quotes(content: bytes) -> int:
    # (whether there is any is found much faster)
    return content.count(b'"') if b'"' in content else 0
