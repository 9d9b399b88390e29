"""study.json: the registered plan of a study, and the decisions made since."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from bsscale.errors import RecordsError
from bsscale.files.replace import write_json
from bsscale.objectives import Criterion
from bsscale.records.chain import Entry
from bsscale.records.schema import FORMAT_VERSION, read_record
from bsscale.records.version_1 import study_of_version_1

__all__ = [
    "Amendment",
    "Cost",
    "FlatEndRecord",
    "PresetRecord",
    "Registered",
    "RegisteredArm",
    "StudyRecord",
    "TrialRecord",
    "TuningRecord",
    "read_study",
    "write_study",
]


class RegisteredArm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An arm as it was registered: see `bsscale.study.options.StudyArm`."""

    name: str
    role: Literal["baseline", "arm", "control"]
    gpus: int
    rate: str
    preset: bool
    schedule: dict[str, Any]
    scaling: dict[str, Any] | None = None
    own: dict[str, Any] | None = None


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """The registered plan, from before the first run: everything that decides the study's numbers.

    Attributes
    ----------
    settings
        The options of the runs that all arms share.
    options
        The options of the study, by their names under ``task.``, and what is fixed in the code.
    seeds, tuning_seeds, target_seeds, range_test_seeds
        Of the report, of searches, of the runs that fix the target, and of range tests (their
        number alone in older studies).
    rates
        The first range of a search.
    trials, sampler_seed
        Of older studies; `options` has them since.
    stacks
        Which runs share a training step.
    primary
        The arm that the study is about.
    looks
        The numbers of seeds after which it may stop; the last is the most. Empty: all are trained.
    comparison
        The rules of the verdicts.
    """

    gpus: int
    settings: dict[str, Any]
    arms: tuple[RegisteredArm, ...]
    seeds: tuple[int, ...]
    tuning_seeds: tuple[int, ...]
    target_seeds: tuple[int, ...]
    trials: int | None = None
    rates: tuple[float | None, float | None]
    base_lr: float | None
    target: float | None
    target_rule: str
    budget_rule: str
    range_test_seeds: tuple[int, ...] | int
    stacks: list[dict[str, Any]]
    options: dict[str, Any] = {}
    primary: str | None = None
    looks: tuple[int, ...] = ()
    comparison: dict[str, Any] = {}
    metric: str = "auc"
    direction: Literal["max", "min"] = "max"
    sampler_seed: int = 0
    data_key: str | None = None

    @property
    def criterion(self) -> Criterion:
        """The metric that judges the runs, with its direction."""
        return Criterion(self.metric, self.direction)

    def as_written(self) -> dict[str, Any]:
        """Plain containers, without what has its default value: a hash outlives new fields."""
        given = msgspec.structs.fields(self)
        return {
            each.name: msgspec.to_builtins(value)
            for each in given
            if (value := getattr(self, each.name)) != each.default
            and (each.default_factory is msgspec.NODEFAULT or value != each.default_factory())
        }


class Amendment(msgspec.Struct, frozen=True):
    """Arms and seeds that were added later.

    Attributes
    ----------
    time
        When; None in older studies.
    runs_seen
        How many runs of the arms had ended by then: their results could be known. None likewise.
    """

    arms_added: tuple[RegisteredArm, ...]
    seeds_added: tuple[int, ...]
    time: str | None = None
    runs_seen: int | None = None


class TrialRecord(msgspec.Struct, frozen=True):
    """One learning rate of a search, over its seeds: medians, censored ones None."""

    lr: float
    best_value: float | None
    samples_to_target: float | None
    seeds: int
    diverged: int = 0


class TuningRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A search for a learning rate.

    Attributes
    ----------
    samples
        Samples trained on.
    lowest, highest, best
        The rates at the ends, and the best one.
    edge
        low or high if the best rate is at that end, else None.
    extended
        How often the space was extended because of that.
    trials
        In rising order of their rates.
    flat
        The rates that are not told apart from the best one, itself included.
    provisional
        The best rate by the metric alone, from which the target follows; None where the target was
        known already.
    momentum
        The highest momentum of its runs, where the study tries several; else None.
    """

    name: str
    gpus: int
    samples: int
    lowest: float
    highest: float
    best: float
    edge: Literal["low", "high"] | None
    extended: int
    trials: tuple[TrialRecord, ...]
    flat: tuple[float, ...] = ()
    provisional: float | None = None
    momentum: float | None = None


class FlatEndRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An arm at an end of the rates that tuning at 1 GPU does not tell apart, on tuning seeds.

    Attributes
    ----------
    arm, base_lr
        What was trained.
    samples_to_target
        Median; None if half of the runs or more did not reach the target.
    one_gpu_samples_to_target
        That of 1 GPU at the same base_lr and on the same seeds.
    runs, reached, diverged
        Counts.
    """

    arm: str
    base_lr: float
    samples_to_target: float | None
    one_gpu_samples_to_target: float | None
    runs: int
    reached: int
    diverged: int


class PresetRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a range test said to the arms that it configures.

    Attributes
    ----------
    gpus
        At how many GPUs.
    suggestion
        The options of the cycle; None: its curves carry none, and the arms have the untuned
        defaults of their schedule.
    reason
        How the suggestion follows, or why there is none.
    """

    gpus: int
    suggestion: dict[str, Any] | None
    reason: str


class Cost(msgspec.Struct, frozen=True):
    """Samples trained on and seconds spent, all starts together."""

    samples: int = 0
    wall_s: float = 0.0


class StudyRecord(msgspec.Struct, kw_only=True):
    """A study on disk.

    Attributes
    ----------
    registered, hash
        What the study set out to do, and its hash; they never change.
    chain
        What was registered and settled, in order. Empty in studies of earlier versions, which are
        read and not continued.
    amendments
        Arms and seeds that were added later.
    base_lr, target, budget_samples
        Settled by the runs at 1 GPU, before any other.
    tunings
        What each search for a rate saw.
    flat_ends
        What the choice of base_lr does to the arms whose rates follow from it.
    presets
        What the range tests said.
    deviations
        Deviations from the registered plan, one sentence each.
    commands
        What was typed, start after start.
    """

    format_version: int = FORMAT_VERSION
    name: str
    hash: str
    registered: Registered
    chain: list[Entry] = []
    amendments: list[Amendment] = []
    base_lr: float | None = None
    target: float | None = None
    budget_samples: int | None = None
    tunings: list[TuningRecord] = []
    flat_ends: list[FlatEndRecord] = []
    presets: list[PresetRecord] = []
    deviations: list[str] = []
    cost: Cost = Cost()
    commands: list[str] = []

    @property
    def arms(self) -> tuple[RegisteredArm, ...]:
        """The registered ones, then those that amendments added."""
        return (*self.registered.arms, *(arm for a in self.amendments for arm in a.arms_added))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The registered ones, then those that amendments added."""
        return (*self.registered.seeds, *(seed for a in self.amendments for seed in a.seeds_added))

    @property
    def baseline(self) -> str | None:
        """The name of the arm that the others are compared with."""
        return next((arm.name for arm in self.arms if arm.role == "baseline"), None)

    @property
    def looked(self) -> list[dict[str, Any]]:
        """The looks that were made: see `bsscale.study.looks.make_look`."""
        return [entry.content for entry in self.chain if entry.kind == "looked"]

    @property
    def seeds_due(self) -> tuple[int, ...]:
        """The seeds to train on, as far as the looks have decided."""
        if not self.registered.looks:
            return self.seeds
        count: object = self.registered.looks[0]
        if self.looked:
            last = self.looked[-1]
            count = last.get("next_seeds") or last.get("seeds")
        return self.seeds[:count] if isinstance(count, int) else self.seeds

    @property
    def head(self) -> str | None:
        """The hash of the chain's last entry, which stands for all of it; None without a chain."""
        return self.chain[-1].hash if self.chain else None

    @property
    def settled(self) -> dict[str, Any]:
        """The decisions that were settled, by their names in the chain."""
        return {
            name: value
            for entry in self.chain
            if entry.kind == "settled"
            for name, value in entry.content.items()
        }

    @property
    def trained(self) -> dict[str, str]:
        """The runs that have ended: their paths, and the digests of their records."""
        return {
            path: digest
            for entry in self.chain
            if entry.kind == "trained"
            for path, digest in entry.content.items()
        }

    def untuned(self, preset: PresetRecord) -> list[str]:
        """The arms that have untuned defaults, because this range test suggests nothing."""
        if preset.suggestion is not None:
            return []
        return [arm.name for arm in self.arms if arm.preset and arm.gpus == preset.gpus]

    def role(self, arm: str) -> str | None:
        """The registered role of an arm."""
        return next((each.role for each in self.arms if each.name == arm), None)


def write_study(directory: Path, study: StudyRecord) -> None:
    """Replace study.json."""
    data = {**msgspec.to_builtins(study), "registered": study.registered.as_written()}
    write_json(directory / "study.json", data)


def read_study(directory: Path) -> StudyRecord:
    """Read study.json, of this version or of version 1, whose names are translated.

    Raises
    ------
    RecordsError
        If there is none, it is no study, or of a newer version.
    """
    remedy = "its runs are shown without it"
    try:
        return read_record(directory / "study.json", StudyRecord, study_of_version_1, remedy)
    except FileNotFoundError:
        raise RecordsError(f"{directory} holds no study.json", remedy) from None
