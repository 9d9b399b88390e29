"""Tables for a terminal: no wider than it is."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

__all__ = ["render_table"]


def render_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None
) -> str:
    """A table as text, no wider than `width`, else than the terminal; when piped, as it needs.

    If the terminal is too narrow for all columns, each row becomes a block with one line for each
    column.
    """
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    for index, name in enumerate(header):
        # In a narrow terminal, the name of the row is folded, and numbers are not.
        words = " ".join([name, *(row[index] for row in rows)]).split() if index else []
        table.add_column(
            name,
            justify="right" if index else "left",
            overflow="fold",
            min_width=max(map(len, words), default=None),
        )
    for row in rows:
        table.add_row(*row)
    if width is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 200
    console = Console(file=io.StringIO(), width=width)
    # (otherwise rich limits the measured width to that of the console)
    unbounded = console.options.update(width=10_000)
    if console.measure(table, options=unbounded).minimum > width:
        longest = max(map(len, header))
        blocks = [
            "\n".join(f"{name:>{longest}}  {cell}" for name, cell in zip(header, row, strict=True))
            for row in rows
        ]
        return "\n\n".join([*([title] if title else []), *blocks])
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().rstrip().splitlines())
