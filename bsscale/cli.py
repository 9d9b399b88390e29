"""The command line: Hydra composes, the typed configuration is checked, a task runs.

Only here and in the launcher and callbacks that Hydra calls is there a DictConfig. Heavy imports
(torch, W&B, polars) wait until a task needs them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

import bsscale
from bsscale import config as schema
from bsscale import optimizers, schedule_config
from bsscale.arguments import check_arguments
from bsscale.arms import arm_label
from bsscale.console import print_anything
from bsscale.errors import BsscaleError, ConfigError
from bsscale.launcher import register_launcher
from bsscale.world import World

if TYPE_CHECKING:
    from bsscale.data import Dataset
    from bsscale.plan import Devices, Plan
    from bsscale.recorded_run import RunSpec

__all__ = ["check_job", "main", "prepare_run", "remembering_datasets"]

Loader: TypeAlias = "Callable[[Mapping[str, Any]], Dataset]"

log = logging.getLogger("bsscale")

# In a wheel the YAML files lie inside the package, in a checkout beside it.
_PACKAGED = Path(__file__).with_name("conf")
CONFIG_DIRECTORY = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parent.parent / "conf"
SWEEPS_DIRECTORY = CONFIG_DIRECTORY.with_name("sweeps")

SCHEMAS = {
    "config": schema.Config,
    "task/train": schema.TaskConfig,
    "task/show_schedule": schema.ShowScheduleTask,
    "task/range_test": schema.RangeTestTask,
    "task/study": schema.StudyTask,
    "task/report": schema.ReportTask,
    "task/dashboard": schema.DashboardTask,
    "executor/executor": schema.ExecutorConfig,
    "tracker/none": schema.TrackerConfig,
    "tracker/wandb": schema.WandbConfig,
    "optimizer/sgd": optimizers.SGDConfig,
    "optimizer/adam": optimizers.AdamConfig,
    "optimizer/adamw": optimizers.AdamWConfig,
    "optimizer/adagrad": optimizers.AdagradConfig,
    **{f"schedule/{name}": node for name, node in schedule_config.SCHEDULES.items()},
}


@dataclass(frozen=True)
class Job:
    """A composed and checked job."""

    config: schema.Config
    dataset: Dataset
    plan: Plan


def main() -> None:
    """Carry out the command line; Ctrl-C is for `bsscale.__main__` to catch."""
    print_anything()
    register_schemas()
    register_launcher()
    if sys.argv[1:] == ["--version"]:  # (Hydra's flag gives its own)
        print(f"bsscale {bsscale.__version__}")
        return
    try:
        check_arguments(sys.argv[1:], choices())
        sys.argv[1:] = own_overrides(sys.argv[1:], World.here())
    except BsscaleError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    # As `python -m` does: the user's own modules lie where the command is typed.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminated)
    _hydra_main()


def own_overrides(arguments: Sequence[str], world: World | None) -> list[str]:
    """The command line of one process of a run that something else has started.

    Parameters
    ----------
    arguments
        As all of them were started.
    world
        This process's place; None: it was started alone, and nothing is added.

    Raises
    ------
    ConfigError
        If each of them would start a sweep of its own.
    """
    if world is None:
        return list(arguments)
    if {"-m", "--multirun"} & set(arguments):
        raise ConfigError(
            f"-m in {world.size} processes that {world.source} has started: each would sweep",
            "start a sweep once (python -m bsscale -m executor=ddp ..., or with "
            "hydra/launcher=submitit_slurm), or a run without -m",
        )
    own = []
    if world.rank > 0:  # neither directory nor log
        own = ["hydra/job_logging=ranks_above_0", "hydra.output_subdir=null", "hydra.run.dir=."]
        arguments = [each for each in arguments if not each.startswith("hydra.run.dir=")]
    elif not any(each.startswith("hydra.run.dir=") for each in arguments):
        own = [f"hydra.run.dir={_common_directory()}"]
    return [*arguments, *own]


def _common_directory() -> str:
    """A default directory that is the same when torchrun or SLURM starts the run again."""
    import psutil

    run_id = os.environ.get("TORCHELASTIC_RUN_ID")
    if run_id is None and "SLURM_JOB_ID" in os.environ:
        return f"outputs/slurm-{os.environ['SLURM_JOB_ID']}.{os.environ.get('SLURM_STEP_ID', 0)}"
    # Without --rdzv-id it is "none" or random; that torchrun restarts its processes only itself.
    if run_id not in (None, "none") and not re.fullmatch(
        r"[0-9a-f]{8}(-[0-9a-f]{4,12}){4}", run_id
    ):
        return f"outputs/{run_id}"
    started = datetime.fromtimestamp(psutil.Process(os.getppid()).create_time())
    return f"outputs/{started:%Y-%m-%d/%H-%M-%S-%f}"


def _terminated(*_: object) -> None:
    """SIGTERM, where nobody else handles it: the exit code that a shell gives it."""
    sys.exit(128 + signal.SIGTERM)


def register_schemas() -> None:
    """Make known what does not lie below conf/: the typed configurations, and the sweeps.

    The typed configurations go into a hidden group, where the YAML files refer to them.
    """
    store = ConfigStore.instance()
    for path, node in SCHEMAS.items():
        group, _, name = path.rpartition("/")
        store.store(group="_schema/" + group if group else "_schema", name=name, node=node)
    # (A second entry on Hydra's search path would make every folder beside sweeps/ a group.)
    for sweep in sorted(SWEEPS_DIRECTORY.glob("*.yaml")):
        file = OmegaConf.load(sweep)
        store.store(group="sweeps", name=sweep.stem, node=file, package="_global_")


def choices() -> dict[str, set[str]]:
    """What each group of files offers, by the group's name."""
    folders = [each for each in CONFIG_DIRECTORY.iterdir() if each.is_dir()]
    return {
        folder.name: {file.stem for file in folder.glob("*.yaml")}
        for folder in [*folders, SWEEPS_DIRECTORY]
        if folder.name != "hydra"
    }


def plan_job(cfg: DictConfig, load: Loader | None = None, devices: Devices | None = None) -> Job:
    """From a composed configuration to a plan.

    Parameters
    ----------
    cfg
        The composed configuration.
    load
        What loads a data set; None for `bsscale.data.load_dataset`.
    devices
        What the job will find where it runs; None: this machine's.

    Raises
    ------
    BsscaleError
        For whatever cannot be trained.
    """
    from bsscale.plan import Devices, make_plan

    config, dataset = load_job(cfg, load)
    plan = make_plan(config, dataset.train.samples_per_pass, devices or Devices.here())
    return Job(config, dataset, plan)


def load_job(cfg: DictConfig, load: Loader | None = None) -> tuple[schema.Config, Dataset]:
    """A configuration whose values are possible, and its data; raises what `plan_job` does."""
    from bsscale.data import load_dataset
    from bsscale.plan import check_config

    config = typed_config(cfg)
    config = replace(config, schedule=config.schedule.resolved())
    check_config(config)
    return config, (load or load_dataset)(config.dataset)


def check_job(
    cfg: DictConfig, load: Loader | None = None, devices: Devices | None = None
) -> Plan | None:
    """Raise what the job's task would raise before it starts.

    Returns
    -------
    The job's plan; None for a task that has none, or several.
    """
    if cfg.task.name == "study" and cfg.task.work is not None:
        from bsscale.plan import Devices
        from bsscale.study import plan_part

        return plan_part(*load_job(cfg, load), devices or Devices.here())
    if cfg.task.name in ("range_test", "study"):  # they have schedules, and so plans, of their own
        load_job(cfg, load)
    elif cfg.task.name == "report":  # trains nothing
        _report_options(cfg)
    elif cfg.task.name == "dashboard":
        _dashboard_options(cfg)
    else:
        return plan_job(cfg, load, devices).plan
    return None


def remembering_datasets() -> Loader:
    """What loads each data set once, for jobs that share it."""
    from bsscale.data import load_dataset

    loaded: dict[str, Dataset] = {}

    def load(config: Mapping[str, Any]) -> Dataset:
        key = repr(config)
        if key not in loaded:
            loaded[key] = load_dataset(config)
        return loaded[key]

    return load


def typed_config(cfg: DictConfig) -> schema.Config:
    """The typed configuration, without Hydra's own part."""
    fields: dict[str, Any] = {str(key): cfg[key] for key in cfg if key != "hydra"}
    for key, value in fields.items():
        if OmegaConf.is_config(value):
            fields[key] = OmegaConf.to_object(value)
    return schema.Config(**fields)


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIRECTORY), config_name="config")
def _hydra_main(cfg: DictConfig) -> None:
    context = HydraConfig.get()
    multirun = context.mode == RunMode.MULTIRUN
    try:
        _refuse_many_processes(cfg.task.name)
        _TASKS[cfg.task.name](cfg, context, multirun)
    except Exception as error:
        own_fault = isinstance(error, BsscaleError)
        if own_fault:
            log.error("error: %s", error)
        world = World.here()
        # A failing job of a multirun must not end the others; the comparison lists it. What
        # happens to a rank above 0 nobody sees in its directory: the launcher tells.
        if multirun and (world is None or world.rank == 0):
            if not own_fault:
                log.exception("the job failed")
        elif own_fault and not multirun:
            sys.exit(1)
        else:
            raise


def _refuse_many_processes(task: str) -> None:
    world = World.here()
    if world is not None and world.size > 1 and task != "train":
        raise ConfigError(
            f"task={task} in {world.size} processes that {world.source} has started",
            f"start it once: python -m bsscale task={task} ...",
        )


def prepare_run(
    cfg: DictConfig, context: Any, multirun: bool, load: Loader | None = None
) -> tuple[RunSpec, Dataset]:
    """A run to be trained, as Hydra's job describes it, with what there is to warn of said.

    Parameters
    ----------
    cfg, context
        The composed configuration and Hydra's own.
    multirun
        Whether it is a job of a sweep.
    load
        As `plan_job`.
    """
    from bsscale.display import describe_plan
    from bsscale.recorded_run import RunSpec

    job = plan_job(cfg, load)
    spec = RunSpec(
        config=job.config,
        plan=job.plan,
        directory=Path(context.runtime.output_dir),
        arm=arm_label(job.config.schedule.name, job.plan.gpus, list(context.overrides.task)),
        group=str(context.sweep.dir) if multirun else None,
        logging=_plain(context.job_logging),
    )
    if multirun:
        for warning in job.plan.warnings:
            log.warning("warning: %s", warning)
    else:
        log.info("%s\n", describe_plan(job.plan, job.dataset, spec.arm))
    return spec, job.dataset


def _train(cfg: DictConfig, context: Any, multirun: bool) -> None:
    from bsscale.display import describe_result
    from bsscale.run import run

    spec, dataset = prepare_run(cfg, context, multirun)
    if spec.config.dry_run:
        return
    record = run(spec, dataset)
    if record is not None and not multirun:
        log.info("\n%s", describe_result(record, spec.directory))


def _show_schedule(cfg: DictConfig, context: Any, multirun: bool) -> None:
    from bsscale.display import describe_plan
    from bsscale.show_schedule import show_schedule

    job = plan_job(cfg)
    arm = arm_label(job.config.schedule.name, job.plan.gpus, list(context.overrides.task))
    log.info("%s\n", describe_plan(job.plan, job.dataset, arm))
    assert isinstance(job.config.task, schema.ShowScheduleTask)
    directory = Path(context.runtime.output_dir)
    show_schedule(job.plan, arm, job.config.task.show_samples, directory)


def _range_test(cfg: DictConfig, context: Any, multirun: bool) -> None:
    from bsscale.range_test import range_test

    config, dataset = load_job(cfg)
    range_test(config, dataset, Path(context.runtime.output_dir), _plain(context.job_logging))


def _study(cfg: DictConfig, context: Any, multirun: bool) -> None:
    from bsscale.launcher.jobs import jobs_of
    from bsscale.study import carry_out_part, study

    config, dataset = load_job(cfg)
    if cfg.task.work is not None:
        carry_out_part(config, dataset, _plain(context.job_logging))
        return
    jobs = None if multirun else jobs_of(_hydra_main, context)
    study(config, dataset, _plain(context.job_logging), jobs)


def _report(cfg: DictConfig, context: Any, multirun: bool) -> None:
    from bsscale.report import write_report

    task, directories = _report_options(cfg)
    out = Path(context.runtime.output_dir if task.out is None else task.out)
    report = write_report(directories, out, task.baseline)
    log.info("%s\n", report.verdict)
    if report.comparison.arms:
        log.info("%s\n", report.table)
    for each in report.comparison.left_out:
        log.warning("left out: %s: %s", each.directory, each.reason)
    for path in report.files[:4]:
        log.info("report  %s", path)
    log.info("figures  %s", out / "figures")


def _report_options(cfg: DictConfig) -> tuple[schema.ReportTask, list[Path]]:
    """What to report on; the rest of the configuration is of no importance to a report."""
    from bsscale.report import matching

    task = OmegaConf.to_object(cfg.task)
    assert isinstance(task, schema.ReportTask)
    runs = task.runs if isinstance(task.runs, list) else [task.runs]
    if not runs or not all(isinstance(each, str | int | float) and str(each) for each in runs):
        raise ConfigError(
            f"task.runs={task.runs} names no directory",
            "give one or more: task.runs=DIR, task.runs=[a,b] or 'task.runs=multirun/*/*'",
        )
    return task, matching([str(each) for each in runs])


def _dashboard(cfg: DictConfig, context: Any, multirun: bool) -> None:
    from bsscale.dashboard import build_dashboard

    dashboard = build_dashboard(*_dashboard_options(cfg).destination())
    for path in dashboard.write(Path(context.runtime.output_dir)):
        log.info("dashboard  %s", path)
    if cfg.task.publish is not None:
        for url in dashboard.publish():
            log.info("W&B  %s", url)


def _dashboard_options(cfg: DictConfig) -> schema.DashboardTask:
    task = OmegaConf.to_object(cfg.task)
    assert isinstance(task, schema.DashboardTask)
    task.destination()
    return task


def _plain(node: Any) -> dict[str, Any]:
    container = OmegaConf.to_container(node, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


_TASKS = {
    "train": _train,
    "show_schedule": _show_schedule,
    "range_test": _range_test,
    "study": _study,
    "report": _report,
    "dashboard": _dashboard,
}
