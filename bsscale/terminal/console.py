"""What is printed reaches the terminal whatever its encoding: nothing that is said may raise.

Nor does it raise where nobody listens any more.
"""

from __future__ import annotations

import codecs
import io
import logging
import os
import sys
from contextlib import suppress
from typing import TextIO

__all__ = [
    "ConsoleHandler",
    "LogFileHandler",
    "flushed",
    "nobody_listens",
    "print_anything",
    "say_error",
]

_NAME = "bsscale.printable"


def print_anything() -> None:
    """Let standard output and error take every character, for the rest of this process.

    What an encoding lacks is escaped; bytes of file names that could not be decoded are written
    as the bytes that they were.
    """
    codecs.register_error(_NAME, _printable)
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # (not where a test or a notebook replaces it)
            stream.reconfigure(errors=_NAME)


def _open_standard_streams() -> None:
    """Give streams that were closed (``>&-``) to nobody: the next file would take their numbers."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def say_error(text: str) -> None:
    """Say on standard error what ends a command, if anybody listens."""
    try:
        print(f"error: {text}", file=sys.stderr, flush=True)
    except OSError:
        nobody_listens(sys.stderr)


def flushed(stream: TextIO) -> bool:
    """Whether all that was printed has arrived; if not, what follows is for nobody."""
    try:
        stream.flush()
    except OSError:
        nobody_listens(stream)
        return False
    return True


def nobody_listens(stream: TextIO) -> None:
    """Let a stream whose reader is gone, or whose disk is full, take what is still printed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


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
    """Messages for a person who may have seen enough: ``| head`` ends them, not the training.

    Nor does a file on a full disk.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        if isinstance(sys.exc_info()[1], OSError):
            nobody_listens(self.stream)
        else:
            super().handleError(record)


class LogFileHandler(logging.FileHandler):
    """A log file that may become unwritable: the console has what is said, and is told once."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        self._lost(sys.exc_info()[1], record)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError as error:  # (it is opened here)
            self._lost(error, record)

    def _lost(self, error: BaseException | None, record: logging.LogRecord) -> None:
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        if self.stream is not None:  # (what it still holds is lost; the next message opens it anew)
            with suppress(OSError):
                self.stream.close()
            self.stream = None
        if not self._said:
            self._said = True
            reason = error.strerror or error
            with suppress(OSError):
                print(f"warning: the log {self.baseFilename} cannot be written: {reason}")

    _said = False
