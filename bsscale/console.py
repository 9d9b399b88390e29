"""What is printed reaches the terminal whatever its encoding: nothing that is said may raise."""

from __future__ import annotations

import codecs
import io
import sys

__all__ = ["print_anything"]

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
