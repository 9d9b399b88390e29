"""The gradient noise scale of one run, window by window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bsscale.critical_batch.noise_scale import Moments, moments, noise_scale
from bsscale.planning.noise_scale import MICRO_BATCHES
from bsscale.records.checkpoints import Window

if TYPE_CHECKING:
    from bsscale.planning.plan import Plan

__all__ = ["RECENT_WINDOWS", "NoiseMeter", "noise_fields"]

# Windows that the value of an evaluation is of: fewer would show their noise, and more would hide
# how the scale changes in the run.
RECENT_WINDOWS = 10


class NoiseMeter:
    """What a run has measured, and the noise scale that follows.

    Parameters
    ----------
    plan
        Of the run.
    windows
        What it measured before the checkpoint from which it continues.
    evaluated
        The updates after which it was evaluated last.

    Attributes
    ----------
    windows
        All measurements so far.
    """

    def __init__(self, plan: Plan, windows: Sequence[Window] = (), evaluated: int = 0) -> None:
        self._plan = plan
        self.windows = list(windows) if plan.config.noise_scale else []
        self._new = any(window.step >= evaluated for window in self.windows)

    def is_due(self, step: int) -> bool:
        """Whether the run measures before update `step`."""
        return self._plan.next_noise_scale(step) == step

    def add(self, step: int, squared_norms: Mapping[str, tuple[float, float]]) -> None:
        """Add a measurement. One of a run that diverges is not finite, and says nothing."""
        if all(math.isfinite(norm) for both in squared_norms.values() for norm in both):
            self.windows.append(Window(step, squared_norms))
            self._new = True

    def take_recent(self) -> float | None:
        """The noise scale of the last windows, if there is a new one since the last call."""
        if not self._new:
            return None
        self._new = False
        return noise_scale(self._moments(self.windows[-RECENT_WINDOWS:])).samples

    def fields(self) -> dict[str, Any]:
        """The fields of the run's record; empty if nothing was measured."""
        if not self.windows:
            return {}
        groups = self.windows[0].squared_norms
        return noise_fields(
            self._moments(self.windows),
            {name: self._moments(self.windows, [name]) for name in groups},
        )

    def _moments(
        self, windows: Sequence[Window], groups: Sequence[str] | None = None
    ) -> list[Moments]:
        """The estimates of some windows, of all parameters or of some groups of them."""
        micro_batch = self._plan.config.micro_batch
        estimates = []
        for window in windows:
            norms = [
                both
                for name, both in window.squared_norms.items()
                if groups is None or name in groups
            ]
            small, large = (sum(each) for each in zip(*norms, strict=True))
            estimates.append(moments(small, large, micro_batch, MICRO_BATCHES * micro_batch))
        return estimates


def noise_fields(
    windows: Sequence[Moments], groups: Mapping[str, Sequence[Moments]] | None = None
) -> dict[str, Any]:
    """The fields of a run's record about the noise scale.

    Parameters
    ----------
    windows
        The estimates of all windows.
    groups
        The same for groups of parameters; None: they are not told apart.
    """
    found = noise_scale(windows)
    by_group = None if groups is None else {name: noise_scale(own) for name, own in groups.items()}
    return {
        "noise_scale": found.samples,
        "noise_scale_interval": _closed(found.interval),
        "noise_scale_groups": by_group and {name: each.samples for name, each in by_group.items()},
        "noise_scale_group_intervals": by_group
        and {name: _closed(each.interval) for name, each in by_group.items()},
        "noise_scale_windows": found.windows,
        "noise_scale_note": found.note,
    }


def _closed(interval: tuple[float, float] | None) -> tuple[float, float | None] | None:
    """An interval as it is recorded: None for an end that is infinite."""
    if interval is None:
        return None
    low, high = interval
    return low, high if math.isfinite(high) else None
