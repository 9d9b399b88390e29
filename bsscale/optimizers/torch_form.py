"""The torch optimizer of an optimizer's options."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, optim
from torch.optim import Optimizer

from bsscale.errors import ConfigError
from bsscale.optimizers import AdagradConfig, AdamConfig, AdamWConfig, OptimizerConfig, SGDConfig

__all__ = ["build_optimizer"]


def build_optimizer(config: OptimizerConfig, parameters: Iterable[Tensor]) -> Optimizer:
    """The torch optimizer of `config`. Its learning rate is set before every update."""
    parameters = list(parameters)
    match config:
        case SGDConfig():
            return optim.SGD(
                parameters,
                lr=0.0,
                momentum=config.momentum,
                nesterov=config.nesterov,
                weight_decay=config.weight_decay,
            )
        case AdamWConfig() | AdamConfig():
            cls = optim.AdamW if isinstance(config, AdamWConfig) else optim.Adam
            return cls(
                parameters,
                lr=0.0,
                betas=(config.beta1, config.beta2),
                eps=config.eps,
                weight_decay=config.weight_decay,
            )
        case AdagradConfig():
            return optim.Adagrad(
                parameters, lr=0.0, eps=config.eps, weight_decay=config.weight_decay
            )
    raise ConfigError(
        f"optimizer {config.name!r} is not one that bsscale builds",
        "choose optimizer=sgd, adam, adamw or adagrad",
    )
