"""The optimizers and their options: torch's own, by name."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from bsscale.errors import ConfigError

__all__ = [
    "AdagradConfig",
    "AdamConfig",
    "AdamWConfig",
    "OptimizerConfig",
    "SGDConfig",
]


# From this size on, finding the touched rows costs less than updating all of them.
SPARSE_ROWS = 20_000


@dataclass
class OptimizerConfig:
    """Options that every optimizer has."""

    name: str = MISSING
    weight_decay: float = 0.0
    sparse: bool | str = "auto"

    @property
    def momentum_now(self) -> float | None:
        """What a schedule calls momentum: SGD's momentum, Adam's beta1, or None."""
        return None

    def updates_touched_rows_only(self, rows: int) -> bool:
        """Whether a table of so many rows is updated only where it was touched."""
        if isinstance(self.sparse, bool):
            return self.sparse
        exact = self.momentum_now is None and self.weight_decay == 0
        return exact and rows >= SPARSE_ROWS

    def check(self) -> None:
        """Raise ConfigError for values that torch would refuse or that cannot train."""
        if not isinstance(self.sparse, bool) and self.sparse != "auto":
            raise ConfigError(
                f"optimizer.sparse={self.sparse} is not one of its values",
                "give auto, true or false",
            )
        if not self.weight_decay >= 0:
            raise ConfigError(
                f"optimizer.weight_decay={self.weight_decay} is negative",
                "give a weight decay of 0 or more",
            )
        momentum = self.momentum_now
        if momentum is not None and not 0 <= momentum < 1:
            key = "momentum" if isinstance(self, SGDConfig) else "beta1"
            raise ConfigError(
                f"optimizer.{key}={momentum} is outside [0, 1)",
                "momentum is the share of the last update that is kept; 0.9 is common",
            )


@dataclass
class SGDConfig(OptimizerConfig):
    """torch.optim.SGD. With momentum 0 there is none for a schedule to cycle."""

    name: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False

    @property
    def momentum_now(self) -> float | None:
        return self.momentum if self.momentum != 0 else None

    def check(self) -> None:
        super().check()
        if self.nesterov and self.momentum == 0:
            raise ConfigError(
                "optimizer.nesterov=true with optimizer.momentum=0",
                "Nesterov's update needs momentum: give optimizer.momentum=0.9",
            )


@dataclass
class AdamConfig(OptimizerConfig):
    """torch.optim.Adam."""

    name: str = "adam"
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    @property
    def momentum_now(self) -> float | None:
        return self.beta1

    def check(self) -> None:
        super().check()
        if not 0 <= self.beta2 < 1:
            raise ConfigError(f"optimizer.beta2={self.beta2} is outside [0, 1)", "0.999 is common")
        if not self.eps > 0:
            raise ConfigError(f"optimizer.eps={self.eps} is not positive", "1e-8 is common")


@dataclass
class AdamWConfig(AdamConfig):
    """torch.optim.AdamW: weight decay apart from the gradient."""

    name: str = "adamw"
    weight_decay: float = 0.01


@dataclass
class AdagradConfig(OptimizerConfig):
    """torch.optim.Adagrad: no momentum."""

    name: str = "adagrad"
    eps: float = 1e-10

    def check(self) -> None:
        super().check()
        if not self.eps > 0:
            raise ConfigError(f"optimizer.eps={self.eps} is not positive", "1e-10 is common")
