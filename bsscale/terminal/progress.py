"""The progress of the training: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import math
import shutil
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
# Of a plain line, which may be read in a narrow window.
WIDTH_OF_LINES = 80
# (a run without a target spends its budget too)
_BRIEF = {"exhausted": "budget spent"}
# Of all but the state; the bar of blocks would leave no room for it.
_WIDTH_OF_BAR = 38
_BAR = "{desc}{percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


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
    step
        The part of a larger task that they are, such as "study 4/6"; empty for none.
    """

    def __init__(self, runs: Sequence[tuple[str, int]], step: str = "") -> None:
        self._step = f"{step}  " if step else ""
        self._arms = [arm for arm, _ in runs]
        self._left = [samples for _, samples in runs]
        self._statuses: dict[int, str] = {}
        self._done = 0
        self._bar: tqdm[Never] | None = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                desc=self._step,
                bar_format=_BAR,
                total=sum(self._left),
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
            left = shutil.get_terminal_size().columns - len(self._step) - _WIDTH_OF_BAR
            self._bar.set_postfix_str(self._state(state, left))
        elif time.monotonic() - self._last_line_s >= SECONDS_BETWEEN_LINES:
            self._last_line_s = time.monotonic()
            elapsed = time.monotonic() - self._started
            start = f"{self._step}{self._done:,} samples  "
            end = _time_left(self._done / elapsed, sum(self._left))
            state = self._state(state, WIDTH_OF_LINES - len(start) - len(end))
            log.info("%s", f"{start}{state}{end}")

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

    def _state(self, state: str, width: int) -> str:
        """The state of the only run; else how many have ended: of each arm where there is room."""
        if len(self._arms) == 1:
            return _shortened(state, width)
        members: dict[str, list[int]] = {}
        for number, arm in enumerate(self._arms):
            members.setdefault(arm, []).append(number)
        by_arm = " | ".join(self._status_counts(f"{arm}: ", runs) for arm, runs in members.items())
        if len(by_arm) <= width:
            return by_arm
        counts = self._status_counts("", range(len(self._arms)))
        return counts if len(counts) <= width else f"{len(self._statuses)} of {len(self._arms)}"

    def _status_counts(self, name: str, runs: Sequence[int]) -> str:
        """Counts of statuses, such as "onecycle gpus=8: 3 reached, 1 diverged of 5"."""
        counts = Counter(self._statuses[run] for run in runs if run in self._statuses)
        ended = ", ".join(
            f"{count} {_BRIEF.get(status, status)}" for status, count in sorted(counts.items())
        )
        return f"{name}{ended or '0 ended'} of {len(runs)}"


def _shortened(state: str, width: int) -> str:
    """As many facts of a state, which two spaces separate, as there is room for: the first ones."""
    facts = state.split("  ")
    while len(facts) > 1 and len("  ".join(facts)) > width:
        facts.pop()
    return "  ".join(facts)


def _time_left(rate: float, left: int) -> str:
    """The time that is left at so many samples a second; nothing where it is not known."""
    if not 0 < rate < math.inf:  # (an untrained model is evaluated before any sample is seen)
        return ""
    return f"  at most {left / rate:,.0f} s left"
