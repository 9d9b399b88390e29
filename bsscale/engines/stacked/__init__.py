"""Many runs in one training step: one process, one device, a slot a run."""

from __future__ import annotations

from bsscale.engines.stacked.engine import StackedEngine

__all__ = ["StackedEngine"]
