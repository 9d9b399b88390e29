"""From the options of an objective to an `Objective`."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bsscale.errors import BsscaleError, ConfigError
from bsscale.objectives import Binary, Metric, Objective, Regression
from bsscale.objectives.metric import Floats
from bsscale.schedules import checks

__all__ = ["build_objective", "check_metrics"]

# Fields of an evaluation that are not metrics.
_RESERVED = ("step", "samples", "train_loss", "lr", "momentum", "wall_s", "noise_scale")
# What makes a class that derives from a shipped objective another one.
_DEFINED_BY_USERS = {"losses", "own_metrics", "score", "check_labels", "divergence"}
_METRIC_OPTIONS = ("_target_", "direction", "at_chance", "margin")


def build_objective(config: Mapping[str, Any]) -> Objective:
    """The objective and its further metrics.

    Parameters
    ----------
    config
        ``_target_``, the import path of a class; ``metrics``, for each further metric by its name
        ``_target_`` and ``direction``, and optionally ``at_chance``, ``margin`` and options of the
        function; ``name`` is for records; all else is passed to the class.

    Raises
    ------
    ConfigError
        If a part cannot be imported, or is not an objective or a metric.
    """
    name, target = str(config.get("name", "")), str(config.get("_target_"))
    make = checks.imported("objective._target_", target, "bsscale.objectives.Regression")
    options = {k: v for k, v in config.items() if k not in ("name", "_target_", "metrics")}
    try:
        objective = make(**options)
    except BsscaleError:
        raise
    except Exception as error:
        raise ConfigError(
            f"objective._target_={target} cannot be made: {error}",
            "its options are: "
            + ", ".join(n for n in checks.parameters_of(make) if n not in ("name", "added")),
        ) from error
    if not isinstance(objective, Objective):
        raise ConfigError(
            f"objective._target_={target} gives a {type(objective).__name__}, not an Objective",
            "derive it from bsscale.objectives.Objective, Binary or Regression",
        )
    if not target.startswith("bsscale.objectives."):
        _check_own(objective, target)
    objective = replace(objective, name=name)
    metrics = config.get("metrics") or {}
    if not isinstance(metrics, Mapping):
        raise ConfigError(
            f"objective.metrics={metrics!r} is not a mapping",
            "give objective.metrics.NAME={_target_: …, direction: max}",
        )
    if taken := sorted(set(metrics) & set(objective.metrics)):
        raise ConfigError(
            f"objective.metrics.{taken[0]} has the name of a metric that objective={name} has",
            "give it another name",
        )
    return objective.with_metrics([_metric(str(key), each) for key, each in metrics.items()])


def check_metrics(objective: Objective, label: Floats) -> None:
    """Try every metric of the user's own on labels, before a run uses it.

    Parameters
    ----------
    objective
        The objective with its metrics.
    label
        Some labels, shape (n,).

    Raises
    ------
    ConfigError
        If one of them fails or does not return a number.
    """
    output = np.linspace(-1.0, 1.0, len(label))
    for metric in (*objective.own_metrics, *objective.added):
        try:
            value = metric.function(label, output if metric.of_outputs else objective.score(output))
            float(value)
        except BsscaleError:
            raise
        except Exception as error:
            raise ConfigError(
                f"the metric {metric.name} fails on {len(label):,} labels: "
                f"{type(error).__name__}: {_line(error)}",
                "it is called with labels and scores of shape (n,) and returns a number",
            ) from error


def _check_own(objective: Objective, target: str) -> None:
    """Raise ConfigError unless an objective of the user's own has all that a run needs."""
    own = {name for base in type(objective).__mro__ if _is_own(base) for name in vars(base)}
    if not callable(getattr(objective, "losses", None)) and (
        not isinstance(objective, Binary | Regression) or not own & _DEFINED_BY_USERS
    ):
        raise ConfigError(
            f"objective._target_={target} has no method losses(output, label)",
            "define it on torch tensors: the loss of each sample, of their shape",
        )
    metrics = objective.metrics
    if objective.loss not in metrics:
        raise ConfigError(
            f"objective._target_={target} has loss={objective.loss!r}, which is not one of its "
            f"metrics ({', '.join(metrics)})",
            "name the metric that is the validation loss",
        )
    for name in metrics:
        _check_name(name)
    try:  # (a run over several processes sends it to them)
        pickle.dumps(objective)
    except Exception as error:
        raise ConfigError(
            f"objective._target_={target} cannot be sent to other processes: {_line(error)}",
            "define its functions at the top of a module, not as lambdas or inside others",
        ) from error


def _is_own(base: type) -> bool:
    return not base.__module__.startswith(("bsscale.", "builtins", "abc"))


def _metric(name: str, config: Any) -> Metric:
    where = f"objective.metrics.{name}"
    _check_name(name)
    if not isinstance(config, Mapping):
        raise ConfigError(
            f"{where}={config!r} is not a mapping", f"give {where}={{_target_: …, direction: max}}"
        )
    direction = config.get("direction")
    if direction not in ("max", "min"):
        raise ConfigError(
            f"{where}.direction={direction}",
            "give direction: max where higher values are better, min where lower ones are",
        )
    numbers = {key: config.get(key) for key in ("at_chance", "margin")}
    for key, value in numbers.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ConfigError(f"{where}.{key}={value!r} is not a number", "give a number")
        if value is not None and (not math.isfinite(value) or (key == "margin" and value < 0)):
            least = " of 0 or more" if key == "margin" else ""
            raise ConfigError(f"{where}.{key}={value}", f"give a finite number{least}")
    function = checks.imported(
        f"{where}._target_",
        str(config.get("_target_", "")),
        "sklearn.metrics.average_precision_score",
    )
    options = {key: value for key, value in config.items() if key not in _METRIC_OPTIONS}
    chance = numbers["at_chance"]
    return Metric(
        name,
        direction,
        partial(function, **options) if options else function,
        at_chance=None if chance is None else partial(_constant, float(chance)),
        margin=numbers["margin"],
    )


def _constant(value: float, label: Floats) -> float:
    return value


def _check_name(name: str) -> None:
    if not name.isidentifier() or name in _RESERVED:
        raise ConfigError(
            f"{name!r} cannot be the name of a metric",
            f"give a name of letters, digits and _ that is none of {', '.join(_RESERVED)}",
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
