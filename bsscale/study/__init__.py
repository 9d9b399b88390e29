"""task=study: from "I have N GPUs now" to an answer with error bars, by one registered protocol."""

from __future__ import annotations

from bsscale.study.protocol import study

__all__ = ["study"]
