"""``python -m bsscale``, and the console script ``bsscale``."""

from __future__ import annotations

import logging
import signal
import sys
from contextlib import suppress


def main() -> None:
    """Carry out the command line; Ctrl-C ends it with 130 and one word, even during imports."""
    try:
        from bsscale.cli.entry import main as carry_out

        carry_out()
    except KeyboardInterrupt:
        logging.disable()  # (torch would log its statistics at the end)
        # Where the signal came within exec() of a text, which dataclasses use, CPython keeps it
        # pending until the next exec(), and would end by the signal instead of with 130.
        exec("")
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        with suppress(OSError):  # (a closed pipe is not an error)
            _flush()
        # Python itself ends after this. Without a handler a Ctrl-C there prints no traceback.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _flush() -> None:
    from bsscale.terminal.console import flushed

    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            flushed(stream)


if __name__ == "__main__":
    main()
