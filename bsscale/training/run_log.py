"""A run's own log file, where one process trains many runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

__all__ = ["own_log"]


class _RunLog(logging.FileHandler):
    """A log file that may be unwritable: the console still shows the messages."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)


def own_log(
    settings: Mapping[str, Any] | None,
) -> Callable[[], AbstractContextManager[None]]:
    """A context in which messages also go to the log file of a run, if it has one of its own.

    Parameters
    ----------
    settings
        The run's logging configuration, whose handler ``file`` is used; None: no such file.
    """
    file = (settings or {}).get("handlers", {}).get("file")
    if settings is None or file is None:
        return nullcontext
    handler = _RunLog(file["filename"], delay=True, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter(settings["formatters"][file["formatter"]]["format"]))

    @contextmanager
    def attached() -> Iterator[None]:
        root = logging.getLogger()
        # A job with a process of its own logs to this file already.
        if any(getattr(h, "baseFilename", None) == handler.baseFilename for h in root.handlers):
            yield
            return
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
            handler.close()  # (opens again when it is written to)

    return attached
