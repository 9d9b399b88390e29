"""Output that never raises.

Characters that the terminal cannot encode are escaped, and a closed pipe is ignored.
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
    "discard_output",
    "flushed",
    "make_output_safe",
    "print_error",
]

_NAME = "bsscale.printable"


def make_output_safe() -> None:
    """Make standard output and error accept every character, for the rest of this process.

    Characters that the encoding lacks are escaped; bytes of file names that could not be decoded
    are written unchanged.
    """
    codecs.register_error(_NAME, _printable)
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # (not where a test or a notebook replaces it)
            stream.reconfigure(errors=_NAME)


def _open_standard_streams() -> None:
    """Open closed streams (``>&-``) on /dev/null, so that no other file gets their numbers."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def print_error(text: str) -> None:
    """Print the error that ends a command to standard error; ignore a closed pipe."""
    try:
        print(f"error: {text}", file=sys.stderr, flush=True)
    except OSError:
        discard_output(sys.stderr)


def flushed(stream: TextIO) -> bool:
    """Whether all output has been written; if not, later output to the stream is discarded."""
    try:
        stream.flush()
    except OSError:
        discard_output(stream)
        return False
    return True


def discard_output(stream: TextIO) -> None:
    """Redirect a stream to /dev/null: its reader has gone, or its disk is full."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _printable(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    codes = [ord(character) for character in error.object[error.start : error.end]]
    # Python keeps a byte that it could not decode as a code from 0xDC80 on (PEP 383).
    pieces = [
        bytes([code - 0xDC00])
        if 0xDC80 <= code <= 0xDCFF
        else chr(code).encode("ascii", "backslashreplace")
        for code in codes
    ]
    return b"".join(pieces), error.end


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """A console handler that ignores a closed pipe, so that ``| head`` does not end training.

    A full disk behind a redirected stream is ignored too.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        if isinstance(sys.exc_info()[1], OSError):
            discard_output(self.stream)
        else:
            super().handleError(record)


class LogFileHandler(logging.FileHandler):
    """A log file that may become unwritable: the console has the messages, and one warning."""

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
        if self.stream is not None:  # (its buffer is lost; the next message opens the file again)
            with suppress(OSError):
                self.stream.close()
            self.stream = None
        if not self._warned:
            self._warned = True
            reason = error.strerror or error
            with suppress(OSError):
                print(f"warning: the log {self.baseFilename} cannot be written: {reason}")

    _warned = False
