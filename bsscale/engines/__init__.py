"""Engines: one training step, carried by one process or by many.

An engine owns the model and its optimizer, reads its share of every global batch from the
training stream, and scores samples. It knows nothing of schedules, targets or records.
"""

from __future__ import annotations

from bsscale.engines.ddp import DDPEngine, launch
from bsscale.engines.virtual import VirtualEngine

__all__ = ["DDPEngine", "VirtualEngine", "launch"]
