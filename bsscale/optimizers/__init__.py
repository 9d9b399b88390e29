"""Optimizers, one class each: its options, torch's form, its stacked rule, its search range."""

from bsscale.optimizers.adagrad import AdagradConfig
from bsscale.optimizers.adam import AdamConfig, AdamWConfig
from bsscale.optimizers.custom import CustomConfig
from bsscale.optimizers.lamb import LambConfig
from bsscale.optimizers.lars import LarsConfig
from bsscale.optimizers.optimizer import OptimizerConfig
from bsscale.optimizers.script import ScriptOptimizer
from bsscale.optimizers.sgd import SGDConfig

__all__ = [
    "OPTIMIZERS",
    "AdagradConfig",
    "AdamConfig",
    "AdamWConfig",
    "CustomConfig",
    "LambConfig",
    "LarsConfig",
    "OptimizerConfig",
    "SGDConfig",
    "ScriptOptimizer",
]

# Those with a rule of their own here, by the name of their file in conf/optimizer.
OPTIMIZERS: dict[str, type[OptimizerConfig]] = {
    "sgd": SGDConfig,
    "adam": AdamConfig,
    "adamw": AdamWConfig,
    "adagrad": AdagradConfig,
    "lamb": LambConfig,
    "lars": LarsConfig,
}
