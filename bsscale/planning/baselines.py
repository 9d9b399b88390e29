"""Tuned 1-GPU baselines: the base_lr and the default target that ship, and how they are found.

A baseline belongs to the settings that it was tuned at. Where a setting that matters differs,
there is no baseline: a rate that was tuned for another model or batch is never used silently.

A baseline is found as a study finds its base_lr, by two multiruns at gpus=1 and by this module: a
sweep over base_lr, to which the first command says what is missing, and then fresh seeds at the
best rate, which set the target. By samples to it, base_lr may move once. (The entries that ship are
from before that: their rates have the best values.) ::

    python -m bsscale.planning.baselines TUNING_DIR              # which rate is best
    python -m bsscale.planning.baselines TUNING_DIR REPORT_DIR   # the entry for baselines.json

Both train for one pass over the training split: click models are commonly trained for one pass, and
overfit after a few. The default budget is eight passes, so a run at N GPUs that needs up to eight
times the samples of 1 GPU can still reach the target. The commands of every entry that ships are in
baselines.json.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bsscale.config import Config
from bsscale.config.run import BINARY
from bsscale.errors import BsscaleError, RecordsError
from bsscale.files.replace import write_json
from bsscale.objectives import Binary
from bsscale.objectives.target import crossing
from bsscale.records.evaluation import read_evals
from bsscale.records.identity import differences
from bsscale.records.run_record import RunRecord, read_run
from bsscale.stats.search import Result, Search, Trial

__all__ = ["Baseline", "Lookup", "default_target", "find", "tune"]

# What the shipped entries were tuned by.
METRIC = Binary().metric("auc")
TARGET_MARGIN = METRIC.default_margin([], np.zeros(0))
CHANCE = 0.5
# Seeds that the best rates of a sweep need at least.
FINALIST_SEEDS = 3
SHIPPED = Path(__file__).with_name("baselines.json")


def default_target(best_values: Sequence[float]) -> float:
    """The target that tuned 1-GPU runs set: their median best AUC minus 0.005.

    Parameters
    ----------
    best_values
        Best validation AUC of each run, at least one.
    """
    return METRIC.target(best_values, TARGET_MARGIN)


@dataclass(frozen=True)
class Baseline:
    """A tuned 1-GPU setting.

    Attributes
    ----------
    settings
        The configuration it holds for: dataset, model, optimizer and micro_batch, and precision and
        clipping where they are not the default ones.
    base_lr
        The rate with the highest median best AUC of the tuning seeds.
    best_value
        Best validation AUC of each report seed at base_lr; the tuning never saw these seeds.
    tuning
        What each rate of the sweep gave.
    commands
        What was run.
    """

    settings: Mapping[str, Any]
    base_lr: float
    best_value: tuple[float, ...]
    tuning: tuple[Mapping[str, Any], ...]
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Lookup:
    """The shipped baseline of a configuration.

    Attributes
    ----------
    described
        The configuration in a few words.
    baseline
        Its tuned baseline, or None.
    target
        Its default target, or None. It depends on the data and the model, not on the optimizer.
    why_not
        If a baseline exists for these names but other settings: the settings that differ.
    """

    described: str
    baseline: Baseline | None
    target: float | None
    why_not: str = ""


def find(config: Config, shipped: Sequence[Baseline] | None = None) -> Lookup:
    """Look up what ships for a configuration.

    Parameters
    ----------
    config
        The run as the user wrote it.
    shipped
        Where to look; None for baselines.json.
    """
    if not config.trainer.ours:
        return Lookup("a script", None, None)
    shipped = _load() if shipped is None else shipped
    wanted = settings_of(config)
    names = {part: wanted[part]["name"] for part in ("dataset", "model", "optimizer")}
    described = " ".join(f"{part}={name}" for part, name in names.items())
    baseline, why_not = None, ""
    targets: dict[str, float] = {}
    for entry in shipped:
        settings = {**_USUAL, **entry.settings}
        if all(settings[part] == wanted[part] for part in ("dataset", "model", "objective")):
            targets[settings["optimizer"]["name"]] = default_target(entry.best_value)
        if any(settings[part]["name"] != name for part, name in names.items()):
            continue
        if settings == wanted:
            baseline = entry
        else:
            differing = ", ".join(
                f"{key}={now}, " + ("tuned without it" if then is None else f"tuned at {then}")
                for key, then, now in differences(settings, wanted)
            )
            why_not = why_not or f" with these settings ({differing})"
    # The default optimizer's runs set the target of a data set and model.
    target = targets.get("sgd", next(iter(targets.values()), None))
    return Lookup(described, baseline, target, "" if baseline else why_not)


def settings_of(config: Config) -> dict[str, Any]:
    """The part of a configuration that a tuned rate depends on, as plain containers."""
    return {
        "dataset": dict(config.dataset),
        "model": dict(config.model),
        "optimizer": _rule_of(asdict(config.optimizer)),
        "micro_batch": config.micro_batch * config.grad_accum,
        "objective": _loss_of(config.objective),
        **_precision_and_clipping(asdict(config)),
    }


def _loss_of(objective: Mapping[str, Any]) -> dict[str, Any]:
    """An objective without further metrics, which change no training."""
    return {**objective, "metrics": {}}


def tune(trials: Sequence[Trial]) -> tuple[float, list[dict[str, Any]]]:
    """Choose base_lr from runs at one GPU, as a study does (`bsscale.stats.search`).

    Parameters
    ----------
    trials
        What each rate gave.

    Returns
    -------
    base_lr and, for each rate in rising order, ``base_lr``, ``median_best_value``, ``seeds`` and,
    once there is a target, ``median_samples_to_target``, None for a miss.
    """
    ordered = sorted(trials, key=lambda trial: trial.lr)
    table: list[dict[str, Any]] = []
    for trial in ordered:
        row: dict[str, Any] = {"base_lr": trial.lr, "median_best_value": trial.best_value}
        samples = trial.samples_to_target
        if samples is not None:
            row["median_samples_to_target"] = samples if math.isfinite(samples) else None
        table.append({**row, "seeds": len(trial.results)})
    return max(ordered, key=lambda trial: trial.rank).lr, table


def _rule_of(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    """The optimizer's options that change the best rate; of sparse, only true does."""
    return {key: value for key, value in optimizer.items() if key != "sparse" or value is True}


# The settings of an entry that does not contain others.
_CLIPPING = ("clip_grad_norm", "cowclip", "cowclip_bound")
_USUAL = {"precision": "fp32", "objective": BINARY, **dict.fromkeys(_CLIPPING)}


def _precision_and_clipping(config: Mapping[str, Any]) -> dict[str, Any]:
    """Whether a run uses bfloat16, and how it clips gradients; fp64 has the same rates as fp32."""
    precision = config["precision"]
    usual = "fp32" if precision == "fp64" else precision
    return {"precision": usual, **{key: config.get(key) for key in _CLIPPING}}


@cache
def _load() -> tuple[Baseline, ...]:
    entries = json.loads(SHIPPED.read_text(encoding="utf-8"))
    return tuple(
        Baseline(
            settings=entry["settings"],
            base_lr=entry["base_lr"],
            best_value=tuple(entry["best_value"]),
            tuning=tuple(entry["tuning"]),
            commands=tuple(entry["commands"]),
        )
        for entry in entries
    )


def main(arguments: Sequence[str]) -> int:
    """Print the best rate of a tuning multirun, or write an entry of baselines.json."""
    if len(arguments) not in (1, 2):
        print(
            "usage: python -m bsscale.planning.baselines TUNING_DIR [REPORT_DIR]", file=sys.stderr
        )
        return 1
    try:
        runs = _runs(Path(arguments[0]))
        trials = _trials(runs)
        base_lr, table = tune(trials)
        for row in table:
            print(row)
        print(f"base_lr={base_lr}")
        if len(trials) > 1 and (due := Search.of(trials, FINALIST_SEEDS).ask()):
            rates = ",".join(f"{rate:g}" for rate in due)
            print(f"not refined: run it at base_lr={rates} too, on {max(due.values())} seeds each")
        if len(arguments) == 2:
            report = [record for _, record in _runs(Path(arguments[1]))]
            commands = [_command(Path(path)) for path in arguments]
            _write_entry(report, base_lr, runs, commands)
    except BsscaleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _trials(runs: Sequence[tuple[Path, RunRecord]], target: float | None = None) -> list[Trial]:
    """What each rate of a sweep gave, by its runs' own evaluations."""
    results: dict[float, list[Result]] = defaultdict(list)
    for directory, record in runs:
        criterion = record.criterion
        # A run that diverged before its first evaluation counts as chance, or as infinitely bad.
        worst = CHANCE if criterion == METRIC.criterion else -criterion.sign * math.inf
        samples = None
        if target is not None:
            points = read_evals(directory)
            values = [point.metrics.get(criterion.name) for point in points]
            hit = crossing([p.samples for p in points], values, target, criterion.direction)
            samples = math.inf if hit is None else hit.samples
        if record.base_lr is not None:  # (a script's run may have none)
            value = worst if record.best_value is None else record.best_value
            results[record.base_lr].append(Result(value, samples, record.status == "diverged"))
    sign = runs[0][1].criterion.sign
    return [Trial(rate, tuple(each), sign) for rate, each in results.items()]


def _runs(directory: Path) -> list[tuple[Path, RunRecord]]:
    paths = sorted(path.parent for path in directory.glob("*/run.json"))
    if not paths:
        raise RecordsError(f"{directory} holds no finished run", "give a multirun's directory")
    return [(path, read_run(path)) for path in paths]


def _command(directory: Path) -> str:
    """The command of a multirun, as Hydra saved it."""
    from omegaconf import OmegaConf

    saved = OmegaConf.load(directory / "multirun.yaml")
    return " ".join(["python -m bsscale -m", *saved.hydra.overrides.task])


def _write_entry(
    report: Sequence[RunRecord],
    provisional: float,
    runs: Sequence[tuple[Path, RunRecord]],
    commands: Sequence[str],
) -> None:
    """Write an entry; the target that the report sets may move base_lr once."""
    if wrong := {record.metric for record in report} - {METRIC.name}:
        raise RecordsError(
            f"the report runs are judged by {', '.join(wrong)}, and shipped targets are AUCs",
            "run them with metric=auc",
        )
    if {record.base_lr for record in report} != {provisional}:
        raise RecordsError(
            f"the report runs are not all at base_lr={provisional}", "run them at the tuned rate"
        )
    target = default_target([r.best_value for r in report if r.best_value])
    base_lr, table = tune(_trials(runs, target))
    config = report[0].config
    settings = {part: config[part] for part in ("dataset", "model")}
    settings["optimizer"] = _rule_of(config["optimizer"])
    settings["micro_batch"] = report[0].micro_batch * report[0].grad_accum
    entry = {
        "settings": settings,
        "base_lr": base_lr,
        "best_value": [record.best_value for record in report],
        "tuning": table,
        "commands": list(commands),
    }
    arithmetic = _precision_and_clipping(config)
    arithmetic["objective"] = _loss_of(config.get("objective", BINARY))
    settings |= {key: value for key, value in arithmetic.items() if value != _USUAL[key]}
    entries = json.loads(SHIPPED.read_text(encoding="utf-8"))
    kept = [old for old in entries if old["settings"] != settings]
    write_json(SHIPPED, sorted([*kept, entry], key=lambda e: _names(e["settings"])))
    print(f"target {target:.4f}; by samples to it, base_lr={base_lr}; wrote {SHIPPED}")


def _names(settings: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(settings[part]["name"]) for part in ("dataset", "model", "optimizer"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
