"""``python -m bsscale``, and the console script ``bsscale``."""

from __future__ import annotations

import logging
import signal
import sys


def main() -> None:
    """Carry out the command line; Ctrl-C ends with 130 and one word, from the first import on."""
    try:
        from bsscale.cli.entry import main as carry_out

        carry_out()
    except KeyboardInterrupt:
        logging.disable()  # (torch would log its statistics at the end)
        # Where it came within exec() of a text, as dataclasses do, CPython remembers it until the
        # next one, and would end by the signal instead of with 130.
        exec("")
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        # What is left is Python's own end, where a Ctrl-C would be a traceback.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
