"""The specifications of the runs of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bsscale.config import Config, TrackerOptions
from bsscale.errors import ConfigError
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.memory import Counts
from bsscale.planning.plan import Plan
from bsscale.schedules.options import FixedConfig, ScheduleConfig
from bsscale.schedules.options.scaling import ScalingConfig
from bsscale.study.rules import in_intervals
from bsscale.training.spec import RunSpec

__all__ = ["Specs"]


@dataclass
class Specs:
    """Makes the specification of every run of a study.

    Attributes
    ----------
    config
        The run that the study is about.
    samples_per_pass, data_key
        Training samples in one pass, and the identity of the data.
    directory
        The study's directory.
    logs
        The logging configuration of a run.
    devices
        Of the machine that trains.
    counts
        Of the model and the data.
    study, study_head
        Hash of the registered study, and of the last entry of its chain; None before the
        registration.
    evaluated_rows
        Validation samples of an evaluation.
    """

    config: Config
    samples_per_pass: int
    data_key: str | None
    directory: Path
    logs: Mapping[str, Any] | None
    devices: Devices
    counts: Counts | None = None
    study: str | None = None
    study_head: str | None = None
    evaluated_rows: int = 0

    def run(
        self,
        where: Path,
        arm: str,
        schedule: ScheduleConfig,
        *,
        gpus: int,
        rate: float,
        seed: int,
        target: float | None,
        budget: int,
        scaling: ScalingConfig | None = None,
        own: Mapping[str, Any] | None = None,
        momentum: float | None = None,
        tracker: TrackerOptions | None = None,
    ) -> RunSpec:
        """One run.

        Parameters
        ----------
        where
            Its directory, in that of the study.
        arm, schedule, gpus, rate, seed
            What is trained, at which base_lr.
        target
            The value of the metric to reach; None: it is not known yet.
        budget
            The most samples.
        scaling
            Its scaling rule; None: nothing moves.
        own
            Options of its own (`bsscale.study.options.OWN`); None: those of the study.
        momentum
            Its highest momentum; None: as it is configured.
        tracker
            Where its records are mirrored; None: nowhere.
        """
        if own and not self.config.trainer.ours:
            raise ConfigError(
                f"the arm {arm} has {', '.join(own)}, and a script trains it",
                "leave it out: what a script does beside the schedule is its own",
            )
        config = replace(
            _with_momentum(replace(self.config, schedule=schedule, **(own or {})), momentum),
            scaling=ScalingConfig() if scaling is None else scaling,
            gpus=gpus,
            base_lr=rate,
            seed=seed,
            target=target,
            budget_samples=budget,
            budget_passes=None,
            stop_at_target=True,
            resume="auto",
            tracker=TrackerOptions("none") if tracker is None else tracker,
        )
        plan = self._plan(config)
        if target is None:
            plan = plan.with_target(None, "none: it is being found")
        return RunSpec(
            plan=plan,
            directory=self.directory / where,
            arm=arm,
            group=str(self.directory),
            logging=_log_file(self.logs, self.directory / where),
            study=self.study,
            study_head=self.study_head,
            momentum=momentum,
        )

    @property
    def one_pass(self) -> int:
        """Samples of one pass, in whole evaluation intervals."""
        return in_intervals(self.samples_per_pass, self.eval_interval_samples)

    @property
    def trial_pass(self) -> int:
        """Samples of a rate that is tried at 1 GPU: a pass, and an interval to confirm a hit."""
        return self.one_pass + self.eval_interval_samples

    @property
    def eval_interval_samples(self) -> int:
        """Samples between evaluations of a run."""
        return self.probe(gpus=1).eval_interval_samples

    def probe(self, gpus: int) -> Plan:
        """A plan, for numbers that do not depend on the schedule and the rate."""
        config = replace(self.config, base_lr=1.0, schedule=FixedConfig(), gpus=gpus)
        return self._plan(config)

    def _plan(self, config: Config) -> Plan:
        return make_plan(
            config,
            self.samples_per_pass,
            self.devices,
            self.data_key,
            self.counts,
            self.evaluated_rows,
        )


def _with_momentum(config: Config, momentum: float | None) -> Config:
    """A configuration with another highest momentum: its schedule's, or else its optimizer's."""
    if momentum is None:
        return config
    optimizer = config.optimizer.at_momentum(momentum)  # (raises where there is none)
    schedule = config.schedule.at_momentum(momentum)
    if schedule is not None:
        return replace(config, schedule=schedule)
    return replace(config, optimizer=optimizer)


def _log_file(logs: Mapping[str, Any] | None, directory: Path) -> Mapping[str, Any] | None:
    """The logging of a run in `directory`: its log file lies there."""
    file = (logs or {}).get("handlers", {}).get("file")
    if logs is None or file is None:
        return logs
    moved = {**file, "filename": str(directory / Path(file["filename"]).name)}
    return {**logs, "handlers": {**logs["handlers"], "file": moved}}
