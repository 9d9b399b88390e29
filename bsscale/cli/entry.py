"""The command line: Hydra composes the configuration; the task is checked and carried out."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

import bsscale
from bsscale.cli.arguments import check_arguments, ordered
from bsscale.cli.composed import check_composed
from bsscale.cli.explain import explained
from bsscale.cli.help import help_text
from bsscale.cli.hydra_internals import report_errors_by
from bsscale.cli.jobs import Job
from bsscale.cli.launchers.checked import FAILED, CheckedLauncher
from bsscale.cli.launchers.register import LAUNCHERS, register_launchers
from bsscale.cli.processes import rank_overrides, reports
from bsscale.cli.store import CONFIG_DIRECTORY, SWEEPS_DIRECTORY, choices, register_schemas
from bsscale.cli.tasks import TASKS
from bsscale.cli.tasks.task import refuse_replaced
from bsscale.errors import BsscaleError, ConfigError
from bsscale.planning.world import World
from bsscale.terminal.console import discard_output, flushed, make_output_safe, print_error

__all__ = ["carry_out", "main"]

log = logging.getLogger("bsscale")


def main() -> None:
    """Carry out the command line; `bsscale.__main__` catches Ctrl-C."""
    make_output_safe()
    if sys.argv[1:] == ["--version"]:  # (Hydra's flag gives its own)
        print(f"bsscale {bsscale.__version__}")
        return
    try:
        command = check_arguments(sys.argv[1:], choices())
        if command.help:
            folders = [*command.config_folders, CONFIG_DIRECTORY]
            try:
                print(help_text(folders, SWEEPS_DIRECTORY, LAUNCHERS, command.chosen), flush=True)
            except BrokenPipeError:  # the reader has closed the pipe
                discard_output(sys.stdout)
            return
        here = _working_directory()
        sys.argv[1:] = ordered(rank_overrides(sys.argv[1:], World.here()))
    except BsscaleError as error:
        if reports(str(error)):
            print_error(str(error))
        sys.exit(1)
    register_schemas()
    register_launchers()
    report_errors_by(_report)
    # As `python -m` does: the user's own modules are in the working directory.
    if here not in sys.path:
        sys.path.insert(0, here)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) == signal.SIG_DFL:  # (nohup ignores a hangup)
            signal.signal(ending, _terminated)
    hydra.main(version_base="1.3", config_path=str(CONFIG_DIRECTORY), config_name="config")(
        carry_out
    )()


def carry_out(cfg: DictConfig) -> str | None:
    """Carry out one composed job; Hydra and its launchers call this.

    Returns
    -------
    `FAILED` for a job of a sweep that was refused or failed; the sweep continues, and ends with 1.
    """
    hydra_config, world = HydraConfig.get(), World.here()
    sweep = hydra_config.mode == RunMode.MULTIRUN
    try:
        check_composed(cfg, hydra_config)
        job = Job(cfg, hydra_config, function=carry_out)
        name = job.options.name
        task = TASKS[name]
        if world is not None and world.size > 1 and not task.one_run:
            raise ConfigError(
                f"task={name} in {world.size} processes that {world.source} has started",
                f"start it once: python -m bsscale task={name} ...",
            )
        refuse_replaced(task, name, hydra_config.overrides.task, job.trainer)
        task.check(job)
        if job.dry_run:
            log.info("%s\n", task.describe(job))
        else:
            task.run(job)
    except Exception as error:
        known = explained(error)
        own_fault = known is not None
        if own_fault and (sweep or reports(str(known))):
            log.error("error: %s", known)
        # A failing job of a multirun must not end the others; the comparison lists it. The error
        # of a rank above 0 is raised: the launcher reports it, its directory does not.
        if sweep and (world is None or world.rank == 0):
            if not own_fault:
                log.exception("the job failed")
            CheckedLauncher.any_failed = True  # (where Hydra's own launcher runs the jobs)
            return FAILED
        if own_fault and not sweep:
            sys.exit(1)
        raise
    return None


def _working_directory() -> str:
    try:
        return str(Path.cwd())
    except OSError as error:
        raise ConfigError(
            f"the working directory is gone: {error.strerror}", "change to one that exists: cd PATH"
        ) from error


def _report(error: Exception) -> None:
    """Print an error that a user can correct; Hydra prints all others with a traceback."""
    if isinstance(error, BrokenPipeError) and not flushed(sys.stdout):
        sys.exit(1)  # ``--cfg job | head``
    known = explained(error)
    if known is not None and os.environ.get("HYDRA_FULL_ERROR") != "1":
        if reports(str(known)):
            print_error(str(known))
        sys.exit(1)


def _terminated(number: int, _: object) -> None:
    """Handle a signal without another handler: exit with the code that a shell reports."""
    sys.exit(128 + number)
