"""A schedule on any torch optimizer.

In a training loop of your own::

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = attach(optimizer, OneCycle(0.1, 0.8, 1000))
    for batch in batches:
        loss(model, batch).backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from bsscale.errors import ConfigError
from bsscale.schedules import Schedule

__all__ = ["ScheduleLR", "apply_rates", "attach"]


def attach(
    optimizer: Optimizer,
    schedule: Schedule,
    *,
    peaks: Sequence[float] | None = None,
    ratios: Sequence[float] | None = None,
) -> ScheduleLR:
    """Attach a schedule to an optimizer: it sets the learning rate, and the momentum if it has one.

    Parameters
    ----------
    optimizer
        Any torch optimizer. Its own learning rate is not used.
    schedule
        The schedule; its step 0 is the next update.
    peaks
        One peak learning rate for each parameter group: the schedule, stretched to that peak.
    ratios
        The same relative to the schedule: group i uses ``ratios[i] * schedule.lr(t)``, as when an
        embedding is to learn faster than the dense layers. A scaling rule gives them
        (`ScalingRule.lr_ratios`), and so do the lists of a ds_config.json
        (`groups_from_deepspeed`).
        At most one of the two may be given; by default every group follows the schedule itself. A
        momentum that the schedule sets is the same for all; one that it leaves alone stays each
        group's own.

    Returns
    -------
    ScheduleLR
        To be stepped after every update.

    Raises
    ------
    ConfigError
        If the schedule sets a momentum and the optimizer has none, or if peaks or ratios do not
        fit its parameter groups.
    """
    groups = len(optimizer.param_groups)
    if peaks is not None:
        if ratios is not None:
            raise ConfigError("peaks and ratios both scale the groups", "give one of them")
        if schedule.peak is None:
            raise ConfigError(
                f"{type(schedule).__name__} has no peak to stretch to others", "give ratios"
            )
        ratios = [peak / schedule.peak for peak in peaks]
    if ratios is None:
        ratios = [1.0] * groups
    if len(ratios) != groups:
        raise ConfigError(
            f"{len(ratios)} groups are scaled, but the optimizer has {groups} parameter groups",
            "give one number for each, in their order",
        )
    for ratio in ratios:
        if not 0 <= ratio < float("inf"):
            raise ConfigError(f"a group is scaled by {ratio}", "give finite numbers of 0 or more")
    if schedule.momentum(0) is not None:
        _require_momentum(optimizer)
    return ScheduleLR(optimizer, schedule, ratios)


class ScheduleLR(LRScheduler):
    """A schedule as a torch LRScheduler; made by `attach`.

    Once made, the optimizer holds the values of update 0; after the n-th `step`, those of update n.
    The state is plain numbers, without the schedule: to resume, attach an equal schedule and load
    the states of optimizer and scheduler, in any order.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule, ratios: Sequence[float]) -> None:
        self.schedule = schedule
        self.ratios = tuple(float(ratio) for ratio in ratios)
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Learning rate of the next update, for each parameter group."""
        lr = self.schedule.lr(self.last_epoch)
        added = len(self.optimizer.param_groups) - len(self.ratios)
        if added and set(self.ratios) != {1.0}:
            raise ConfigError(
                f"the optimizer has {added} parameter groups more than when the schedule was "
                f"attached, whose groups are scaled by {self.ratios}",
                "attach the schedule again, with a number for each group, and load the state of "
                "this scheduler",
            )
        return [lr * ratio for ratio in (*self.ratios, *[1.0] * added)]

    def step(self, epoch: int | None = None) -> None:
        """Go on to the next update; to be called after the optimizer's own step."""
        super().step(epoch)
        _set_momentum(self.optimizer, self.schedule.momentum(self.last_epoch))

    def state_dict(self) -> dict[str, Any]:
        """The state of the schedule, as plain numbers."""
        return {
            "last_epoch": self.last_epoch,
            "_step_count": self._step_count,
            "_last_lr": [float(lr) for lr in self.get_last_lr()],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to where `state_dict` was; the optimizer holds the values of that update again.

        Raises
        ------
        ConfigError
            If the state is that of another schedule: its rates are not those of this one.
        """
        before = self.state_dict()
        super().load_state_dict(state_dict)
        rates = [float(lr) for lr in self.get_lr()]
        for index, (then, now) in enumerate(zip(self._last_lr, rates, strict=False)):
            if not math.isclose(float(then), now, rel_tol=1e-9):
                super().load_state_dict(before)
                raise ConfigError(
                    f"the state is that of another schedule: after {state_dict['last_epoch']} "
                    f"updates group {index} has the learning rate {float(then):g} there, and "
                    f"{now:g} here",
                    "attach the schedule that the state was saved with",
                )
        self._last_lr = list(rates)
        # torch expects these values in the optimizer's state. That state may not have been saved,
        # or attaching the schedule may have overwritten it.
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            _set_lr(group, lr)
        _set_momentum(self.optimizer, self.schedule.momentum(self.last_epoch))


def apply_rates(
    optimizer: Optimizer,
    lr: float | Sequence[float],
    momentum: float | None,
    ratios: Sequence[float] | None = None,
) -> None:
    """Set the learning rate, and SGD's momentum or Adam's beta1, of every parameter group.

    Parameters
    ----------
    optimizer
        Any torch optimizer.
    lr
        Learning rate of the next update, of all groups or of each.
    momentum
        Momentum of the next update; None leaves it as it is. Adam's beta2 is never touched.
    ratios
        Each group's learning rate relative to `lr`; None for 1, all of them.
    """
    groups = optimizer.param_groups
    rates = lr if isinstance(lr, Sequence) else [lr] * len(groups)
    for group, rate, ratio in zip(groups, rates, ratios or [1.0] * len(groups), strict=True):
        _set_lr(group, rate * ratio)
    _set_momentum(optimizer, momentum)


def _set_lr(group: dict[str, Any], lr: float | Tensor) -> None:
    if isinstance(group["lr"], Tensor):  # of a captured or compiled step
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr


def _set_momentum(optimizer: Optimizer, momentum: float | None) -> None:
    if momentum is None:
        return
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum


def _require_momentum(optimizer: Optimizer) -> None:
    for index, group in enumerate(optimizer.param_groups):
        # Check the default too: a cycle may have momentum 0 at the step where it is resumed.
        if "betas" in group or group.get("momentum") or optimizer.defaults.get("momentum"):
            continue
        has = "has momentum 0" if "momentum" in group else "has no momentum"
        raise ConfigError(
            f"the schedule sets the momentum, but {type(optimizer).__name__} {has} "
            f"(parameter group {index})",
            "take an optimizer with momentum, such as SGD(momentum=0.9) or Adam, or a schedule "
            "that does not set it, such as OneCycle(cycle_momentum=False)",
        )
