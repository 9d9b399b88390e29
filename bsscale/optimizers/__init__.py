"""Optimizers: their options, and torch's form of each."""

from bsscale.optimizers.options import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    OptimizerConfig,
    SGDConfig,
)

__all__ = ["AdagradConfig", "AdamConfig", "AdamWConfig", "OptimizerConfig", "SGDConfig"]
