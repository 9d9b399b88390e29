"""Optimizers, one class each: its options, torch's form, its stacked rule, its search range."""

from bsscale.optimizers.adagrad import AdagradConfig
from bsscale.optimizers.adam import AdamConfig, AdamWConfig
from bsscale.optimizers.lamb import LambConfig
from bsscale.optimizers.optimizer import OptimizerConfig
from bsscale.optimizers.sgd import SGDConfig

__all__ = [
    "OPTIMIZERS",
    "AdagradConfig",
    "AdamConfig",
    "AdamWConfig",
    "LambConfig",
    "OptimizerConfig",
    "SGDConfig",
]

# By the name of their file in conf/optimizer.
OPTIMIZERS: dict[str, type[OptimizerConfig]] = {
    "sgd": SGDConfig,
    "adam": AdamConfig,
    "adamw": AdamWConfig,
    "adagrad": AdagradConfig,
    "lamb": LambConfig,
}
