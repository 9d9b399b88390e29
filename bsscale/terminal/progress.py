"""The progress of the training: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Never, Protocol

from tqdm import tqdm

__all__ = ["Display", "Progress"]

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 5.0
# Above this length, the display shows totals instead of each arm.
MOST_CHARACTERS = 100


class Display(Protocol):
    """What is told how far runs are; see `Progress`."""

    def advance(self, run: int, samples: int) -> None:
        """A run has trained on so many more samples."""
        ...

    def evaluated(self, run: int, state: str) -> None:
        """A run was evaluated."""
        ...

    def ended(self, run: int, status: str) -> None:
        """A run has ended."""
        ...

    def close(self) -> None:
        """Nothing more is shown."""
        ...

    def printing(self) -> AbstractContextManager[None]:
        """Lines may be written."""
        ...


class Progress:
    """One display for all runs that are trained together.

    Parameters
    ----------
    runs
        The arm of each run, and the most samples that it trains on.
    """

    def __init__(self, runs: Sequence[tuple[str, int]]) -> None:
        self._arms = [arm for arm, _ in runs]
        self._left = [samples for _, samples in runs]
        self._statuses: dict[int, str] = {}
        self._done = 0
        self._bar: tqdm[Never] | None = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=sum(self._left),
                unit="samples",
                unit_scale=True,
                dynamic_ncols=True,
                leave=False,
            )
        self._started = self._last_line_s = time.monotonic()

    def advance(self, run: int, samples: int) -> None:
        """A run has trained on so many more samples."""
        self._done += samples
        # (a run whose process died takes some of its updates again)
        self._left[run] = max(0, self._left[run] - samples)
        if self._bar is not None:
            self._bar.update(samples)

    def evaluated(self, run: int, state: str) -> None:
        """A run was evaluated; `state` is its state in a few words."""
        if self._bar is not None:
            self._bar.set_postfix_str(self._state(state))
        elif time.monotonic() - self._last_line_s >= SECONDS_BETWEEN_LINES:
            self._last_line_s = time.monotonic()
            elapsed = time.monotonic() - self._started
            rate = self._done / elapsed
            line = f"{self._done:12,} samples  {self._state(state)}"
            if rate > 0:  # (an untrained model is evaluated before any sample is seen)
                eta_s = sum(self._left) / rate
                line += f"  {rate:.0f} samples/s  at most {eta_s:.0f} s left"
            log.info("%s", line)

    def ended(self, run: int, status: str) -> None:
        """A run has ended: remove the samples that it did not use from the total."""
        self._statuses[run] = status
        if self._bar is not None:
            # (Do not draw here: the message about the end of the run is being printed.)
            self._bar.total = self._done + sum(self._left) - self._left[run]
        self._left[run] = 0

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    @contextmanager
    def printing(self) -> Iterator[None]:
        """Hide the bar while lines are printed."""
        if self._bar is None:
            yield
        else:
            with tqdm.external_write_mode(file=sys.stdout):
                yield

    def _state(self, state: str) -> str:
        if len(self._arms) == 1:
            return state
        members: dict[str, list[int]] = {}
        for number, arm in enumerate(self._arms):
            members.setdefault(arm, []).append(number)
        by_arm = " | ".join(self._status_counts(f"{arm}: ", runs) for arm, runs in members.items())
        if len(by_arm) <= MOST_CHARACTERS:
            return by_arm
        return self._status_counts("", range(len(self._arms)))

    def _status_counts(self, name: str, runs: Sequence[int]) -> str:
        """Counts of statuses, such as "onecycle gpus=8: 3 reached, 1 diverged of 5"."""
        counts = Counter(self._statuses[run] for run in runs if run in self._statuses)
        ended = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        return f"{name}{ended or '0 ended'} of {len(runs)}"
