"""Records of format version 1, where the only metric was the AUC, in the names of version 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["evaluation_of_version_1", "run_of_version_1", "study_of_version_1"]

_RENAMED = {
    "best_auc": "best_value",
    "final_auc": "final_value",
    "test_auc": "test_value",
    "best_possible_auc": "best_possible",
}


def evaluation_of_version_1(data: Any) -> Any:
    """A line of evals.jsonl; a line of version 2 is returned unchanged."""
    if not isinstance(data, dict) or "loss" not in data or "log_loss" in data:
        return data
    return {("log_loss" if key == "loss" else key): value for key, value in data.items()}


def run_of_version_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """run.json; fields that version 1 does not have are null."""
    config = data.get("config")
    schedule = config.get("schedule") if isinstance(config, Mapping) else None
    rule = schedule.get("scaling") if isinstance(schedule, Mapping) else None
    return {
        **{_RENAMED.get(key, key): value for key, value in data.items()},
        "metric": "auc",
        "direction": "max",
        "objective": "binary",
        "scaling": rule if isinstance(rule, str) else None,
        "trainer": "bsscale",
        "data_key": None,
        "columns": None,
    }


def study_of_version_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """study.json."""
    tunings = data.get("tunings")
    if not isinstance(tunings, list):
        return dict(data)
    return {**data, "tunings": [_renamed_trials(tuning) for tuning in tunings]}


def _renamed_trials(tuning: Any) -> Any:
    if not isinstance(tuning, dict) or not isinstance(tuning.get("trials"), list):
        return tuning
    trials = [
        {_RENAMED.get(key, key): value for key, value in trial.items()}
        if isinstance(trial, dict)
        else trial
        for trial in tuning["trials"]
    ]
    return {**tuning, "trials": trials}
