"""Signals that end a run are delayed until the state of every run is complete and saved."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Protocol, Self

__all__ = ["Deferred", "OneProcess", "Peers"]

# Ctrl-C; what SLURM, torchrun and kill send; what a terminal sends that is closed; and the signal
# that clusters send before a time limit (submitit: SIGUSR2).
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Deferred:
    """Within it, signals are noted, and delivered when `deliver` is called.

    Only signals with a Python handler are deferred; the handler is called later. Ctrl-C has
    Python's own handler. A second Ctrl-C is not delayed. Outside the main thread, where Python
    handles no signals, nothing is deferred.

    Attributes
    ----------
    pending
        Number of a signal that has been received and not delivered, or 0.
    """

    def __init__(self) -> None:
        self.pending = 0
        self._handlers: dict[int, signal.Handlers | object] = {}

    def __enter__(self) -> Self:
        try:
            for number in ENDING:
                handler = signal.getsignal(number)
                if callable(handler):
                    signal.signal(number, self._note)
                    self._handlers[number] = handler
        except ValueError:  # not in the main thread
            pass
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def deliver(self, number: int) -> None:
        """Call the handler of a signal; return if the handler returns, so that the run continues.

        Parameters
        ----------
        number
            Which signal: this process's or, in a run over many, another's. Without a handler for
            it this process ends as SIGTERM would end it.
        """
        self.pending = 0
        handler = self._handlers.get(number)
        if callable(handler):
            handler(number, None)
        else:
            raise SystemExit(128 + signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.pending == number:
            self.deliver(number)
        self.pending = number


class Peers(Protocol):
    """The processes of a run, which end or continue together."""

    def agree(self, signal: int) -> int:
        """The signal that all of them act on; all of them call it together."""
        ...

    def resume(self) -> None:
        """Continue training after a signal; end this process if another one has ended."""
        ...


class OneProcess:
    """A run in this process alone."""

    def agree(self, signal: int) -> int:
        return signal

    def resume(self) -> None:
        """Do nothing: there is no other process."""
