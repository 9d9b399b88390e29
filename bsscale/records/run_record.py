"""run.json: one run that has ended. The field names are the format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from bsscale.errors import RecordsError
from bsscale.files.replace import write_json
from bsscale.objectives import Criterion
from bsscale.records.schema import FORMAT_VERSION, read_record
from bsscale.records.version_1 import run_of_version_1

__all__ = ["Column", "RunRecord", "read_run", "write_run"]

_REMEDY = "leave this run out"

Count = Annotated[int, msgspec.Meta(ge=0)]
Samples = Annotated[float, msgspec.Meta(ge=0)]


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column of the data: what it is used as, and what is known of it."""

    name: str
    role: str
    type: str | None = None
    cardinality: int | None = None
    missing_share: float | None = None
    note: str | None = None


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run that has ended.

    Censored numbers are None, never a stand-in. `samples_to_target_interval` is the last miss
    and the first confirmed hit, in samples; `samples_to_target` interpolates the metric between.
    `noise_scale` is in samples; the high end of its interval is None where there is none, and
    `noise_scale_note` says what a reader of the interval should know.
    `adopted` says where a run comes from that existed before its study; None for others.
    `study` and `study_head` are the hash of the study, and that of the last entry of its chain when
    the run was trained; `began` is the time of its first start.
    """

    format_version: int = FORMAT_VERSION
    status: Literal["reached", "exhausted", "diverged", "failed"]
    reason: str
    arm: str
    arm_hash: str
    study: str | None
    study_head: str | None = None
    began: str | None = None
    adopted: dict[str, Any] | None = None
    metric: str
    direction: Literal["max", "min"]
    target: float | None
    samples_to_target_interval: tuple[Count, Count] | None
    samples_to_target: Samples | None
    best_value: float | None
    final_value: float | None
    test_value: float | None
    best_possible: float | None
    samples_seen: Count
    budget_samples: Count
    eval_interval_samples: Count
    steps: Count
    samples_per_pass: Count | None = None
    gpus: Count
    micro_batch: Count
    grad_accum: Count
    global_batch: Count
    schedule: str
    scaling: str | None
    optimizer: str | None
    model: str | None
    dataset: str | None
    objective: str
    executor: str
    trainer: Literal["bsscale", "script"]
    data_key: str | None
    columns: tuple[Column, ...] | None
    seed: int
    base_lr: float | None
    noise_scale: float | None = None
    noise_scale_interval: tuple[float, float | None] | None = None
    noise_scale_groups: dict[str, float | None] | None = None
    noise_scale_group_intervals: dict[str, tuple[float, float | None] | None] | None = None
    noise_scale_windows: Count | None = None
    noise_scale_note: str | None = None
    samples_per_s: float | None
    eval_share: float | None
    wall_s: float
    environment: dict[str, Any]
    config: dict[str, Any]

    @property
    def criterion(self) -> Criterion:
        """The metric that judged the run, with its direction."""
        return Criterion(self.metric, self.direction)


def write_run(directory: Path, record: RunRecord) -> None:
    """Write run.json of a run that has ended, whole or not at all."""
    write_json(directory / "run.json", msgspec.to_builtins(record))


def read_run(directory: Path) -> RunRecord:
    """Read run.json, of this version or of version 1, whose names are translated.

    Raises
    ------
    RecordsError
        If there is none, it is no record, or of a newer version.
    """
    path = directory / "run.json"
    try:
        record = read_record(path, RunRecord, run_of_version_1, _REMEDY)
    except FileNotFoundError:
        raise RecordsError(f"{directory} holds no run.json", "the run has not ended") from None
    if record.status == "reached" and record.samples_to_target_interval is None:
        raise RecordsError(f"{path} is reached without samples_to_target_interval", _REMEDY)
    return record
