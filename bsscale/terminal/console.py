"""What is printed reaches the terminal whatever its encoding: nothing that is said may raise.

Nor does it raise where nobody listens any more.
"""

from __future__ import annotations

import codecs
import io
import logging
import os
import sys
from typing import TextIO

__all__ = ["ConsoleHandler", "print_anything"]

_NAME = "bsscale.printable"


def print_anything() -> None:
    """Let standard output and error take every character, for the rest of this process.

    What an encoding lacks is escaped; bytes of file names that could not be decoded are written
    as the bytes that they were.
    """
    codecs.register_error(_NAME, _printable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # (not where a test or a notebook replaces it)
            stream.reconfigure(errors=_NAME)


def _printable(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    codes = [ord(character) for character in error.object[error.start : error.end]]
    # 0xDC80 and up is how Python keeps a byte that it could not decode (PEP 383).
    pieces = [
        bytes([code - 0xDC00])
        if 0xDC80 <= code <= 0xDCFF
        else chr(code).encode("ascii", "backslashreplace")
        for code in codes
    ]
    return b"".join(pieces), error.end


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Messages for a person who may have seen enough: ``| head`` ends them, not the training."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)
        else:
            super().handleError(record)
