"""Options of trainer=script."""

from __future__ import annotations

import math
import shlex
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from bsscale.bridge.rates import RATES
from bsscale.config import Config, TrainerOptions
from bsscale.errors import ConfigError
from bsscale.objectives.reported import known_metric
from bsscale.optimizers import ScriptOptimizer

if TYPE_CHECKING:
    from bsscale.planning.plan import Plan

__all__ = ["PLACEHOLDERS", "TRAINER_OPTIONS", "ScriptOptions", "placeholders"]

# What may stand in braces in a command, and what it becomes.
PLACEHOLDERS = (
    "lr",
    "base_lr",
    "momentum",
    "seed",
    "gpus",
    "micro_batch",
    "grad_accum",
    "global_batch",
    "budget_samples",
    "steps",
    "eval_interval_samples",
    "target",
    "directory",
    "rates",
)
_IS_THE_SCRIPTS = "leave it out: that is the script's own"


@dataclass
class ScriptOptions(TrainerOptions):
    """A command that trains one run; conf/trainer/script.yaml explains the options."""

    name: str = "script"
    command: str = ""
    samples_per_pass: int | None = None
    samples_per_s: float | None = None
    silence_s: float | None = 3600.0
    direction: str | None = None
    loss: str | None = None
    momentum: float | None = None
    search_range: list[float] | None = None
    data_key: str | None = None

    ours: ClassVar[bool] = False
    replaces: ClassVar[Mapping[str, str]] = {
        "dataset": "leave it out: the script reads its own data (trainer.samples_per_pass tells "
        "how many samples are a pass)",
        "model": _IS_THE_SCRIPTS,
        "objective": "give metric=NAME, which the script reports",
        "optimizer": f"{_IS_THE_SCRIPTS} (trainer.momentum tells its momentum)",
        "executor": "name the processes in trainer.command, such as torchrun --nproc-per-node "
        "{gpus}",
        "precision": _IS_THE_SCRIPTS,
        "clip_grad_norm": _IS_THE_SCRIPTS,
        "cowclip": _IS_THE_SCRIPTS,
        "cowclip_bound": _IS_THE_SCRIPTS,
        "ema_half_life_samples": "leave it out: the script evaluates its own weights",
        "checkpoint_interval_samples": "leave it out: the script keeps its own checkpoint in its "
        "run's directory",
        "weights": _IS_THE_SCRIPTS,
        "noise_scale": _IS_THE_SCRIPTS,
    }

    @property
    def speed(self) -> float | None:
        return self.samples_per_s

    @property
    def described(self) -> str:
        return f"script: {self.command}"

    def check(self) -> None:
        if not self.command.strip():
            raise ConfigError(
                "trainer=script without a command",
                """give it, for instance 'trainer.command="python train.py"'""",
            )
        self._check_command()
        if self.samples_per_pass is not None and self.samples_per_pass < 1:
            raise ConfigError(
                f"trainer.samples_per_pass={self.samples_per_pass} is below 1", "give 1 or more"
            )
        for key in ("samples_per_s", "silence_s"):
            value = getattr(self, key)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(
                    f"trainer.{key}={value} is not a positive number", "give one, or null"
                )
        if self.direction not in (None, "max", "min"):
            raise ConfigError(
                f"trainer.direction={self.direction}",
                "give max where higher values of the metric are better, min where lower ones are",
            )

    def completed(self, config: Config) -> Config:
        metric = "auc" if config.metric is None else config.metric
        for key, name in (("metric", metric), ("trainer.loss", self.loss or "log_loss")):
            if not name.isidentifier():
                raise ConfigError(
                    f"{key}={name} cannot be the name of a metric",
                    "give a name of letters, digits and _",
                )
        known = known_metric(metric)
        direction = self.direction if known is None else known.direction
        return replace(
            config,
            metric=metric,
            dataset={"name": None},
            model={"name": None},
            objective={
                "name": "reported",
                "_target_": "bsscale.objectives.Reported",
                "metric_name": metric,
                "direction": self.direction or direction,
                "loss": self.loss,
            },
            optimizer=ScriptOptimizer(
                momentum=self.momentum,
                search_range=self.search_range,
            ),
        )

    @property
    def wants_rates(self) -> bool:
        """Whether the command names the file of rates, which may be long."""
        return "rates" in self.placeholders

    @property
    def placeholders(self) -> set[str]:
        """The placeholders of the command."""
        words = shlex.split(self.command)
        return {name for word in words for _, name, _, _ in string.Formatter().parse(word) if name}

    def words(self, plan: Plan, directory: str) -> list[str]:
        """The command of a run, its placeholders filled in."""
        values = placeholders(plan, directory)
        return [word.format(**values) for word in shlex.split(self.command)]

    def _check_command(self) -> None:
        try:
            words = shlex.split(self.command)
            fields = [field for word in words for _, field, _, _ in string.Formatter().parse(word)]
        except ValueError as error:
            raise ConfigError(
                f"trainer.command={self.command} cannot be read: {error}",
                "close quotes and braces; a brace of the script's own is written twice: {{ }}",
            ) from None
        for field in fields:
            if field is not None and field not in PLACEHOLDERS:
                raise ConfigError(
                    f"trainer.command has {{{field}}}, which is no placeholder",
                    f"there are {', '.join(f'{{{name}}}' for name in PLACEHOLDERS)}; a brace of "
                    "the script's own is written twice: {{ }}",
                )


# By the name of their file in conf/trainer; `bsscale.workers.trainers` has what trains.
TRAINER_OPTIONS: dict[str, type[TrainerOptions]] = {
    "bsscale": TrainerOptions,
    "script": ScriptOptions,
}


def placeholders(plan: Plan, directory: str) -> dict[str, Any]:
    """What stands for each placeholder; empty where there is no such number."""
    config = plan.config
    values: dict[str, Any] = {
        **{name: getattr(config, name) for name in ("base_lr", "seed", "target")},
        **{name: getattr(config, name) for name in ("gpus", "micro_batch", "grad_accum")},
        **{name: getattr(plan, name) for name in ("global_batch", "budget_samples", "steps")},
        "eval_interval_samples": plan.eval_interval_samples,
        "lr": plan.schedule.lr(0),
        "momentum": plan.momentum(0),
        "directory": directory,
        "rates": f"{directory}/{RATES}",
    }
    return {name: "" if value is None else str(value) for name, value in values.items()}
