"""Optimizers and schedules as users write them, right and wrong."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, optim


class SignMomentum(optim.Optimizer):
    """Lion without its second beta: a step of equal length for every element."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                mean = state.setdefault("mean", torch.zeros_like(p))
                state["updates"] = state.get("updates", 0) + 1  # a Python number
                group["length"] = group.get("length", 0.0) + group["lr"]  # another, of the group
                mean.lerp_(p.grad, 1 - group["momentum"])
                decay = 1 / math.sqrt(state["updates"] * group["length"] + 1)
                p.add_(mean.sign(), alpha=-group["lr"] * decay)


def nesterov(parameters: Iterable[Tensor], lr: float, momentum: float = 0.9) -> optim.Optimizer:
    """A function that makes an optimizer."""
    return optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=True)


class Forgetful(optim.SGD):
    """Counts its updates where no checkpoint looks."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.updates = getattr(self, "updates", 0) + 1
        for group in self.param_groups:
            group["lr"] = group["lr"] / self.updates
        super().step()


class Deaf(optim.SGD):
    """Keeps the learning rate that it was made with."""

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        super().__init__(params, lr=lr)
        self.own = lr

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["lr"] = self.own
        super().step()


class Remembering(SignMomentum):
    """Keeps a list, which no checkpoint can hold."""

    def step(self, closure: Any = None) -> None:
        super().step()
        for group in self.param_groups:
            for p in group["params"]:
                history = self.state[p].setdefault("history", [])
                history.append(1.0)
                p.data.mul_(1 - 0.01 * len(history))


def not_an_optimizer(parameters: Iterable[Tensor], lr: float) -> list[Tensor]:
    return list(parameters)


class Power:
    """Polynomial decay of a linearly scaled rate, and of the momentum if it is asked for."""

    def __init__(self, base_lr: float, gpus: int, steps: int, power: float = 2.0) -> None:
        self.peak, self.length, self.power = base_lr * gpus, steps, power

    def lr(self, step: int) -> float:
        return self.peak * max(0.0, 1 - step / self.length) ** self.power

    def phases(self) -> list[tuple[str, int]]:
        return [("decay", 0), ("zero", self.length)]

    def notes(self) -> list[str]:
        return ["it ends at zero"]


class Wave:
    """A vectorised one, with a momentum."""

    length = 10

    def lr(self, step: Any) -> Any:
        return 0.1 + 0.05 * np.sin(np.asarray(step) / 10)

    def momentum(self, step: int) -> float:
        return 0.9 - 0.1 * (step % 2)


class Says:
    """Whatever it is told to: what is wrong with a learning rate."""

    def __init__(self, what: str) -> None:
        asked = itertools.count(1)
        self.rate: Callable[[int], Any] = {
            "not finite": lambda step: math.nan if step == 50 else 0.1,
            "negative": lambda step: 0.1 - step / 100,
            "none": lambda step: None,
            "array": lambda step: np.zeros(3),
            "text": lambda step: "0.1",
            "error": lambda step: [0.1, 0.2][step],
            "stateful": lambda step: 0.1 / next(asked),
        }[what]

    def lr(self, step: int) -> Any:
        return self.rate(step)


class Strict(Wave):
    def check(self, steps: int) -> None:
        if steps > 100:
            raise ValueError(f"{steps} updates are too many")


class Moody(Wave):
    def momentum(self, step: int) -> Any:
        return None if step == 3 else 0.9


class Endless(Wave):
    length = -1
