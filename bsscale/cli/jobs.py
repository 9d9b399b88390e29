"""From a composed configuration to what a task needs of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from bsscale.cli.study_jobs import LaunchedJobs, jobs_of
from bsscale.cli.words import HELP, help_on, suggestion
from bsscale.config import Config, TaskOptions, TrainerOptions
from bsscale.config.schedules import resolve
from bsscale.errors import ConfigError
from bsscale.optimizers import CustomConfig
from bsscale.records.identity import arm_label
from bsscale.records.secrets import without_secrets
from bsscale.schedules.checks import joined
from bsscale.schedules.options import CustomScheduleConfig

if TYPE_CHECKING:
    from bsscale.data import Dataset
    from bsscale.planning.devices import Devices
    from bsscale.planning.plan import Plan
    from bsscale.training.spec import RunSpec

__all__ = ["Job", "Loader", "cached_dataset_loader", "preserve_hydra_directory", "typed_config"]

Loader: TypeAlias = "Callable[[Mapping[str, Any]], Dataset]"


class Job:
    """One composed job. Its parts are read, checked and loaded once, when they are first used.

    Parameters
    ----------
    cfg
        The composed configuration.
    hydra
        Hydra's own part of it.
    load
        What loads a data set; None for `bsscale.data.load_dataset`.
    devices
        What the job will find where it runs; None: this machine's.
    function
        The function that runs a composed configuration, for tasks that start jobs.
    """

    def __init__(
        self,
        cfg: DictConfig,
        hydra: Any,
        load: Loader | None = None,
        devices: Devices | None = None,
        function: Callable[[DictConfig], Any] | None = None,
    ) -> None:
        self.hydra, self.function = hydra, function
        self.load, self._cfg, self._devices = load, cfg, devices

    @cached_property
    def options(self) -> TaskOptions:
        """The options of its task."""
        options = _typed("task", self._cfg.task)
        assert isinstance(options, TaskOptions)
        return options

    @cached_property
    def trainer(self) -> TrainerOptions:
        """The options of what trains."""
        options = _typed("trainer", self._cfg.trainer)
        assert isinstance(options, TrainerOptions)
        return options

    @cached_property
    def config(self) -> Config:
        """The typed configuration, with possible values; raises BsscaleError for others."""
        from bsscale.planning.checks import check_config

        config = typed_config(self._cfg)
        config.trainer.check()
        config = config.trainer.completed(replace(config, schedule=resolve(config.schedule)))
        check_config(config)
        return config

    @cached_property
    def dataset(self) -> Dataset:
        """The data set that its run is trained on."""
        from bsscale.data import load_dataset
        from bsscale.workers.trainers import trainer_of

        return trainer_of(self.config).dataset(self.config, self.load or load_dataset)

    @cached_property
    def devices(self) -> Devices:
        """The devices of the machine on which it runs."""
        from bsscale.planning.devices import Devices

        return Devices.here() if self._devices is None else self._devices

    @cached_property
    def jobs(self) -> LaunchedJobs | None:
        """The starter of its own jobs, if hydra/launcher names a launcher of a cluster.

        The jobs of a sweep have none: they train in their own process.
        """
        if self.function is None or self.sweep is not None:
            return None
        return jobs_of(self.function, self.hydra)

    @property
    def devices_of_jobs(self) -> Devices:
        """The devices of the machines of its own jobs; without such jobs, those its runs share."""
        return replace(self.devices, shared=True) if self.jobs is None else self.jobs.devices

    @cached_property
    def plan(self) -> Plan:
        """The numbers of the run that it describes; raises BsscaleError for an impossible one."""
        from bsscale.planning.derive import make_plan
        from bsscale.planning.memory import count

        data, devices = self.dataset, self.devices
        # (ranks build a model when they have met: it may communicate)
        counts = count(self.config.model, data) if devices.world is None else None
        size, evaluated = data.samples_per_pass, len(data.evaluated)
        return make_plan(self.config, size, devices, data.key, counts, evaluated)

    @property
    def dry_run(self) -> bool:
        """Whether only its plan is to be shown."""
        return bool(self._cfg.dry_run)

    @property
    def directory(self) -> Path:
        """Its output directory."""
        return Path(self.hydra.runtime.output_dir)

    @property
    def sweep(self) -> Path | None:
        """The directory of the sweep that it belongs to, if it does."""
        return Path(self.hydra.sweep.dir) if self.hydra.mode == RunMode.MULTIRUN else None

    @property
    def logging(self) -> dict[str, Any]:
        """Its logging configuration."""
        container = OmegaConf.to_container(self.hydra.job_logging, resolve=True)
        assert isinstance(container, dict)
        return {str(key): value for key, value in container.items()}

    @property
    def arm(self) -> str:
        """The label of the arm that its run belongs to."""
        overrides = list(self.hydra.overrides.task)
        label: str = without_secrets(
            arm_label(self.config.schedule.name, self.plan.gpus, overrides)
        )
        return label

    def run_spec(self) -> RunSpec:
        """The run that it describes, to be trained."""
        from bsscale.training.spec import RunSpec

        return RunSpec(
            plan=self.plan,
            directory=self.directory,
            arm=self.arm,
            group=None if self.sweep is None else str(self.sweep),
            logging=self.logging,
        )


def typed_config(cfg: DictConfig) -> Config:
    """The typed configuration, without Hydra's own part.

    Raises
    ------
    ConfigError
        For an option that was added and does nothing.
    """
    given: dict[str, Any] = {str(key): cfg[key] for key in cfg if key != "hydra"}
    if unknown := sorted(given.keys() - {field.name for field in fields(Config)}):
        raise _no_option(unknown[0], given[unknown[0]], HELP)
    for key, value in given.items():
        if OmegaConf.is_config(value):
            given[key] = _typed(key, value)
    return Config(**given)


def _typed(group: str, node: Any) -> Any:
    """The options of a group; raises ConfigError for one that was added and does nothing."""
    options = OmegaConf.to_object(node)
    if isinstance(options, CustomConfig | CustomScheduleConfig):
        known = {field.name for field in fields(options)}
        own = {str(key): getattr(options, str(key)) for key in node if key not in known}
        return replace(options, options=joined(group, options.options, own))
    name = getattr(options, "name", group)
    _refuse_added(group, options, node, help_on(f"{group}={name}"))
    return options


def _refuse_added(where: str, options: Any, node: Any, remedy: str) -> None:
    if not is_dataclass(options):
        return
    known = {field.name for field in fields(options)}
    for key in node:
        if key not in known:
            raise _no_option(f"{where}.{key}", node[key], remedy)
        if OmegaConf.is_config(node[key]):
            _refuse_added(f"{where}.{key}", getattr(options, key), node[key], remedy)


def _no_option(key: str, value: Any, remedy: str) -> ConfigError:
    top = [field.name for field in fields(Config)]
    guess = suggestion(key.rpartition(".")[2], (), top=top)
    return ConfigError(
        f"+{key}={value}: there is no option {key}, so it would have no effect", guess + remedy
    )


def preserve_hydra_directory(cfg: DictConfig, directory: Path) -> None:
    """Keep ``.hydra/`` of the start that made the records in `directory`.

    Hydra would save the configuration again, of a command that is refused or only prints its plan
    as well, and a report would then give the wrong command.
    """
    from bsscale.records.directories import holds_records

    if (directory / ".hydra").exists() and holds_records(directory):
        with read_write(cfg.hydra):
            cfg.hydra.output_subdir = None


def cached_dataset_loader() -> Loader:
    """A function that loads each data set once, for jobs that share it."""
    from bsscale.data import load_dataset

    loaded: dict[str, Dataset] = {}

    def load(config: Mapping[str, Any]) -> Dataset:
        key = repr(config)
        if key not in loaded:
            loaded[key] = load_dataset(config)
        return loaded[key]

    return load
