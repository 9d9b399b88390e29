"""What a command has recorded, whichever record format it is in, and where two records differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

__all__ = ["Difference", "Recorded", "differences", "read_recorded", "renamed"]

# Format 1's names where format 2 has others.
RENAMED = {
    "loss": "log_loss",
    "best_auc": "best_value",
    "final_auc": "final_value",
    "test_auc": "test_value",
    "best_possible_auc": "best_possible",
}
# What evaluations, run.json, study.json and range_test.json have to have, or it would go unseen.
COLUMNS = ("step", "samples", "auc", "log_loss", "train_loss", "lr", "momentum")
RESULTS = (
    "status",
    "steps",
    "samples_seen",
    "seed",
    "base_lr",
    "global_batch",
    "target",
    "samples_to_target",
    "samples_to_target_interval",
    "best_value",
    "final_value",
    "test_value",
    "best_possible",
    "budget_samples",
    "eval_interval_samples",
)
SETTLED = {
    "study.json": ("base_lr", "target", "budget_samples"),
    "range_test.json": ("suggestion", "spread", "seeds"),
}

Values = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """The first difference: the file and the place in it, and what both sides have there."""

    file: str
    place: str
    base: Any
    other: Any

    def __str__(self) -> str:
        numbers = [
            each
            for each in (self.base, self.other)
            if isinstance(each, int | float) and not isinstance(each, bool)
        ]
        by = ""
        if len(numbers) == 2:
            by = f", by {abs(numbers[0] - numbers[1]):.3g}"
        return f"{self.file}, {self.place}: {self.base} and {self.other}{by}"


@dataclass(frozen=True)
class Recorded:
    """All that one command has recorded.

    Attributes
    ----------
    evaluations
        For each run's directory, its evaluations by format 2's names.
    results
        For each run's directory, how it ended.
    weights
        For each run's directory, model.safetensors; a run that failed has none.
    settled
        For each study.json and range_test.json, its numbers.
    """

    evaluations: Mapping[str, list[Values]]
    results: Mapping[str, Values]
    weights: Mapping[str, Path]
    settled: Mapping[str, Values]


def read_recorded(directory: Path) -> Recorded:
    """Read what lies below the directory in which a command was typed.

    Raises
    ------
    ValueError
        If there is no run, or one has failed or lacks a value.
    """
    evaluations, results, weights = {}, {}, {}
    for path in sorted(directory.rglob("run.json")):
        name = _stable(path.parent.relative_to(directory))
        results[name] = _result(name, json.loads(path.read_text(encoding="utf-8")))
        lines = (path.parent / "evals.jsonl").read_text(encoding="utf-8").splitlines()
        evaluations[name] = [_evaluation(name, json.loads(line)) for line in lines]
        if (path.parent / "model.safetensors").exists():
            weights[name] = path.parent / "model.safetensors"
    if not results:
        raise ValueError("no run was recorded")
    settled = {}
    for file, keys in SETTLED.items():
        for path in sorted(directory.rglob(file)):
            data = json.loads(path.read_text(encoding="utf-8"))
            name = _stable(path.relative_to(directory))
            settled[name] = _flat(_only(keys, data, name))
    return Recorded(evaluations, results, weights, settled)


def _stable(path: Path) -> str:
    """A path without the date and the time in it: outputs/DATE/TIME, multirun/DATE/TIME/JOB."""
    parts = path.parts
    if parts[:1] in (("outputs",), ("multirun",)):
        parts = (parts[0], *parts[3:])
    return "/".join(parts)


def renamed(data: Mapping[str, Any]) -> Values:
    """An evaluation or a run.json by format 2's names."""
    return {RENAMED.get(key, key): value for key, value in data.items()}


def _evaluation(run: str, data: Mapping[str, Any]) -> Values:
    found = {key: value for key, value in renamed(data).items() if not key.endswith("_s")}
    _only(COLUMNS, found, f"an evaluation of {run}")
    return found


def _result(run: str, data: Mapping[str, Any]) -> Values:
    found = renamed(data)
    if found.get("status") == "failed":
        raise ValueError(f"{run} failed: {found.get('reason')}")
    result = _only(RESULTS, found, f"run.json of {run}")
    if found["format_version"] == 1 and found["status"] == "reached":
        # Format 1 tests the last weights, format 2 those of the first confirmed hit.
        result["test_value_at_the_end"] = result.pop("test_value")
    return result


def _only(names: tuple[str, ...], values: Mapping[str, Any], what: str) -> Values:
    if missing := [name for name in names if name not in values]:
        raise ValueError(f"{what} has no {', '.join(missing)}")
    return {name: values[name] for name in names}


def _flat(data: Mapping[str, Any], prefix: str = "") -> Values:
    """The numbers and switches; words may be said otherwise."""
    found: Values = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        elif not isinstance(value, str):
            found[f"{prefix}{key}"] = value
    return found


def differences(base: Recorded, other: Recorded) -> Iterator[Difference]:
    """Where two sides differ: the first difference of each file."""
    for kind in ("settled", "results", "evaluations", "weights"):
        ours, theirs = getattr(base, kind), getattr(other, kind)
        for name in sorted({*ours, *theirs}):
            if name not in ours or name not in theirs:
                yield Difference(name, kind, *_presence(name, ours, theirs))
    for name, values in base.settled.items():
        yield from _first(name, "", values, other.settled.get(name, values))
    for name, rows in base.evaluations.items():
        yield from _first_of_rows(f"{name}/evals.jsonl", rows, other.evaluations.get(name, rows))
    for name, values in base.results.items():
        yield from _first(f"{name}/run.json", "", values, other.results.get(name, values))
    for name, path in base.weights.items():
        yield from _first_tensor(f"{name}/model.safetensors", path, other.weights.get(name, path))


def _presence(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, str]:
    there, missing = "there", "missing"
    return there if name in ours else missing, there if name in theirs else missing


def _first(file: str, prefix: str, base: Values, other: Values) -> Iterator[Difference]:
    # A name on one side alone is a new one: those that have to be there were checked when read.
    for key in base:
        if key in other and base[key] != other[key]:
            yield Difference(file, f"{prefix}{key}", base[key], other[key])
            return


def _first_of_rows(file: str, base: list[Values], other: list[Values]) -> Iterator[Difference]:
    for number, (ours, theirs) in enumerate(zip(base, other, strict=False), start=1):
        for found in _first(file, f"line {number}, ", ours, theirs):
            yield found
            return
    if len(base) != len(other):
        yield Difference(file, "evaluations", len(base), len(other))


def _first_tensor(file: str, base: Path, other: Path) -> Iterator[Difference]:
    if base.read_bytes() == other.read_bytes():
        return
    ours, theirs = _tensors(base), _tensors(other)
    if ours.keys() != theirs.keys():
        yield Difference(file, "tensors", sorted(ours), sorted(theirs))
        return
    for name, a in ours.items():
        b = theirs[name]
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            yield Difference(file, name, f"{a.dtype}{a.shape}", f"{b.dtype}{b.shape}")
            return
        if a.tobytes() != b.tobytes():
            # The largest of the tensor's differences says more than the first.
            where = np.unravel_index(np.argmax(np.abs(a - b)), a.shape)
            place = f"{name}[{', '.join(map(str, where))}] (the largest)"
            yield Difference(file, place, float(a[where]), float(b[where]))
            return


def _tensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in sorted(file.keys())}
