"""How to train as an arm did: a command, DeepSpeed's configuration, a torch scheduler."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bsscale.bridge.options import TRAINER_OPTIONS
from bsscale.config import Config
from bsscale.config.shipped import shipped_options
from bsscale.errors import ConfigError
from bsscale.optimizers import OPTIMIZERS
from bsscale.records.run_record import RunRecord
from bsscale.report.comparison import ArmSummary
from bsscale.report.rebuilt import longest_run, schedule_of
from bsscale.schedules import Schedule, to_deepspeed
from bsscale.schedules.options import SCHEDULES
from bsscale.schedules.options.scaling import SCALINGS

__all__ = ["Use", "command_of", "option_value", "setting_words", "use_of"]

# What a command names: all that changes what is trained, besides the schedule and its rule.
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "bsscale": ("dataset", "model", "objective", "optimizer"),
    "script": ("trainer",),
}
_TYPED: Mapping[str, Mapping[str, type[Any]]] = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "scaling": SCALINGS,
    "trainer": TRAINER_OPTIONS,
}
_OPTIONS = (
    "micro_batch",
    "grad_accum",
    "eval_interval_samples",
    "precision",
    "clip_grad_norm",
    "cowclip",
    "cowclip_bound",
    "ema_half_life_samples",
)
_PLAIN = re.compile(r"[A-Za-z_./][\w./:+-]*")
_WORDS_OF_YAML = {"true", "false", "null", "none", "yes", "no", "on", "off", "inf", "nan"}


@dataclass(frozen=True)
class Use:
    """How to train as an arm did.

    Attributes
    ----------
    arm
        Its label.
    command
        For bsscale; None for the run of a script that bsscale has not started.
    deepspeed
        A configuration with the same learning rates; None where DeepSpeed has no such schedule, or
        the record does not determine it.
    torch
        Python lines that attach the schedule to an optimizer; None likewise.
    lightning, hugging_face
        The same for a LightningModule, and for the Trainer of Transformers.
    """

    arm: str
    command: str | None
    deepspeed: str | None
    torch: str | None
    lightning: str | None = None
    hugging_face: str | None = None


def use_of(arm: ArmSummary) -> Use | None:
    """How to train as an arm did; None for an imported curve, of which no command is known."""
    run = longest_run(arm)
    if arm.imported:
        return None
    trainer = run.record.config.get("trainer")
    own = isinstance(trainer, Mapping) and bool(trainer.get("command"))
    command = command_of(run.record) if own or run.record.trainer == "bsscale" else None
    schedule = schedule_of(run)
    if schedule is None:
        return None if command is None else Use(arm.short, command, None, None)
    return Use(
        arm.short,
        command,
        _deepspeed(schedule, run.record),
        _torch(schedule, run.record),
        _lightning(schedule, run.record),
        _hugging_face(schedule, run.record),
    )


def command_of(record: RunRecord, *more: str) -> str:
    """The command that trains as a run did, on one line.

    Parameters
    ----------
    record
        Of the run.
    more
        Further words at its end.
    """
    words = [
        f"gpus={record.gpus}",
        *_group(record.config, "schedule"),
        *_group(record.config, "scaling"),
        *setting_words(record),
    ]
    if record.trainer == "script":  # (its passes may not be known)
        words.append(f"budget_samples={record.budget_samples}")
    if record.target is not None:
        words.append(f"target={record.target!r}")
    return shlex.join(["python", "-m", "bsscale", *words, *more])


def setting_words(record: RunRecord) -> list[str]:
    """The words of a command that say what is trained: data, model, optimizer, base_lr, batch."""
    config = record.config
    words = [] if record.base_lr is None else [f"base_lr={record.base_lr!r}"]
    for group in _GROUPS[record.trainer]:
        words += _group(config, group)
    default = {each.name: each.default for each in dataclasses.fields(Config)}
    words += [
        f"{name}={option_value(config[name])}"
        for name in _OPTIONS
        if name in config and config[name] != default[name]
    ]
    if record.metric != "auc" and isinstance(config.get("metric"), str):
        words.append(f"metric={record.metric}")
    return words


def _group(config: Mapping[str, Any], group: str) -> list[str]:
    """The choice of a group and its options, without what is a default."""
    given = config.get(group)
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        return []
    name = str(given["name"])
    file = shipped_options(group, name)
    choice = name if file is not None else "custom"
    known = dict(file or shipped_options(group, "custom") or {})
    kind = _TYPED.get(group, {}).get(choice)
    if kind is not None:
        known = {**dataclasses.asdict(kind()), **known}
    known.pop("defaults", None)
    words = [] if choice == _default_choice(group) else [f"{group}={choice}"]
    for key, value in _leaves(given, known):
        if key == "name" and file is None and value == given.get("_target_"):
            continue
        if key == "name" and file is not None:
            continue
        first = key.split(".")[0]
        added = "" if first in known or (group == "optimizer" and file is None) else "+"
        words.append(f"{added}{group}.{key}={option_value(value)}")
    return words


def _default_choice(group: str) -> str | None:
    """The choice of a group that conf/config.yaml makes."""
    defaults = (shipped_options("", "config") or {}).get("defaults", [])
    return next(
        (each[group] for each in defaults if isinstance(each, dict) and group in each), None
    )


def _leaves(given: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The options that differ from the known ones: dotted keys and values."""
    for key, value in given.items():
        if key in known and known[key] == value:
            continue
        if isinstance(value, Mapping) and isinstance(known.get(key), Mapping):
            for rest, each in _leaves(value, known[key]):
                yield f"{key}.{rest}", each
        elif value is not None or known.get(key) is not None:
            yield str(key), value


def option_value(value: Any) -> str:
    """A value as the command line reads it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{option_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(map(option_value, value)) + "]"
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS_OF_YAML:
        return text
    # (Double quotes: the shell's are single ones.)
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def _deepspeed(schedule: Schedule, record: RunRecord) -> str | None:
    try:
        section = to_deepspeed(schedule)
    except ConfigError:
        return None
    batch = {
        "train_micro_batch_size_per_gpu": record.micro_batch,
        "gradient_accumulation_steps": record.grad_accum,
    }
    return json.dumps({**batch, "scheduler": section}, indent=2)


def _torch(schedule: Schedule, record: RunRecord) -> str:
    """Lines of Python for a loop of one's own."""
    momentum = "" if schedule.momentum(0) is None else " (it sets the momentum too)"
    return (
        f"{_made(schedule, record)}"
        f"scheduler = attach(optimizer, schedule)  # scheduler.step() after each update{momentum}\n"
    )


def _lightning(schedule: Schedule, record: RunRecord) -> str:
    """Lines of Python whose last ones belong into a LightningModule."""
    return (
        f"{_made(schedule, record)}\n"
        "def configure_optimizers(self):  # of your LightningModule\n"
        "    optimizer = make_optimizer(self.parameters())  # yours\n"
        '    scheduler = {"scheduler": attach(optimizer, schedule), "interval": "step"}\n'
        '    return {"optimizer": optimizer, "lr_scheduler": scheduler}\n'
    )


def _hugging_face(schedule: Schedule, record: RunRecord) -> str:
    """Lines of Python that make the Trainer of Transformers."""
    return (
        f"{_made(schedule, record)}"
        "optimizer = make_optimizer(model.parameters())  # yours\n"
        "optimizers = (optimizer, attach(optimizer, schedule))\n"
        "trainer = Trainer(model=model, args=args, train_dataset=data, optimizers=optimizers)\n"
    )


def _made(schedule: Schedule, record: RunRecord) -> str:
    """Lines of Python that make the schedule: its repr makes an equal one."""
    text = repr(schedule)
    names = sorted(set(re.findall(r"\b([A-Z]\w+)\(", text)))
    return (
        f"from bsscale.schedules import {', '.join(names)}\n"
        "from bsscale.schedules.torch_form import attach\n\n"
        f"schedule = {text}  # one update is {record.global_batch:,} samples\n"
    )
