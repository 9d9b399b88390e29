"""Who trains: bsscale's own engines, or a script of the user's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from bsscale.bridge.checks import check_script
from bsscale.bridge.options import ScriptOptions
from bsscale.bridge.scripts import Scripts
from bsscale.config import Config
from bsscale.data import Dataset
from bsscale.data.of_script import ScriptDataset
from bsscale.planning.checks import check_labels
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from bsscale.planning.training_step import ships
from bsscale.records.run_record import RunRecord
from bsscale.training.run import run
from bsscale.training.run_trainer import RunTrainer
from bsscale.training.spec import RunSpec
from bsscale.workers.train import Workers, describe_workers

__all__ = ["TRAINERS", "Trainer", "trainer_of"]

Load: TypeAlias = "Callable[[Mapping[str, Any]], Dataset]"


class Trainer(ABC):
    """A way to train runs; `bsscale.bridge.options` has its options."""

    @abstractmethod
    def dataset(self, config: Config, load: Load) -> Dataset:
        """The data of a run, checked; `load` reads a data set of bsscale's."""

    @abstractmethod
    def check(self, plan: Plan, dataset: Dataset) -> None:
        """Raise BsscaleError for a run that cannot be trained."""

    @abstractmethod
    def workers(self, wanted: int | str, devices: Devices) -> RunTrainer:
        """What trains the runs of a sweep or a study; `wanted` is the option `workers`."""

    @abstractmethod
    def describe(self, wanted: int | str, plans: Sequence[Plan], devices: Devices) -> str:
        """How many runs are trained at a time, for a person."""

    @abstractmethod
    def run(self, spec: RunSpec, dataset: Dataset) -> RunRecord | None:
        """Train one run; None on the ranks above 0 of processes that something else started."""


class _Ours(Trainer):
    """bsscale's own engines."""

    def dataset(self, config: Config, load: Load) -> Dataset:
        dataset = load(config.dataset)
        check_labels(config, dataset)
        return dataset

    def check(self, plan: Plan, dataset: Dataset) -> None:
        if hasattr(plan.objective, "losses"):
            from bsscale.engines.probe_objective import check_losses  # (torch takes a second)

            check_losses(plan.objective, dataset.validation)
        if not ships(plan.config.model) or not plan.config.optimizer.ships:
            from bsscale.engines import probe

            probe.check_model(plan, dataset)

    def workers(self, wanted: int | str, devices: Devices) -> RunTrainer:
        return Workers(wanted, devices)

    def describe(self, wanted: int | str, plans: Sequence[Plan], devices: Devices) -> str:
        return describe_workers(wanted, plans, devices)

    def run(self, spec: RunSpec, dataset: Dataset) -> RunRecord | None:
        return run(spec, dataset)


class _ByScript(Trainer):
    """A command of the user's."""

    def dataset(self, config: Config, load: Load) -> Dataset:
        options = config.trainer
        assert isinstance(options, ScriptOptions)
        return ScriptDataset.of(options.samples_per_pass, options.data_key)

    def check(self, plan: Plan, dataset: Dataset) -> None:
        check_script(plan)

    def workers(self, wanted: int | str, devices: Devices) -> RunTrainer:
        # A script may use the whole machine: only the user knows.
        return Scripts(wanted if isinstance(wanted, int) else 1, devices)

    def describe(self, wanted: int | str, plans: Sequence[Plan], devices: Devices) -> str:
        if isinstance(wanted, int):
            return f"{wanted}: so many scripts at a time"
        return "1: one script at a time (workers=NUMBER starts more)"

    def run(self, spec: RunSpec, dataset: Dataset) -> RunRecord | None:
        with Scripts(1, Devices.here()) as scripts:
            result = scripts.train([spec], [dataset])[0]
        if isinstance(result, Exception):
            raise result
        return result


# By the name of their file in conf/trainer.
TRAINERS: dict[str, Trainer] = {"bsscale": _Ours(), "script": _ByScript()}


def trainer_of(config: Config) -> Trainer:
    """Who trains a run."""
    return TRAINERS[config.trainer.name]
