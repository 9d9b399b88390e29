"""task=range_test: which rates a cycle may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from bsscale.cli.jobs import Job
from bsscale.cli.tasks.task import Task, check_model, log_data_notes
from bsscale.errors import ConfigError
from bsscale.study.options import RangeTestOptions as Options

if TYPE_CHECKING:
    from bsscale.planning.devices import Devices

__all__ = ["RangeTestTask"]


class RangeTestTask(Task[Options]):
    """Trains while the rate grows, on several seeds, and suggests a cycle."""

    options = Options
    replaces: ClassVar[Mapping[str, str]] = {
        "schedule": "give the ramp: task.ramp.lr_range_test_max_lr=RATE, for instance",
        "seed": "give task.first_seed, and task.seeds for their number",
        "target": "leave it out: a range test has no target",
        "stop_at_target": "leave it out: a range test has no target",
        "budget_passes": "give budget_samples, or the ramp's length: task.ramp."
        "lr_range_test_fraction",
        "eval_interval_samples": "give task.evaluations, their number along the ramp",
        "tracker": "leave it out: a range test is not mirrored",
        "noise_scale": "leave it out: the gradients of a ramp are not those of a training run",
    }

    def check(self, job: Job) -> None:
        from bsscale.planning.workers import choose_workers
        from bsscale.study.range_test import plan_range_test, refuse_other

        directory = job.directory
        runs = plan_range_test(job.config, job.dataset, self._devices(job), directory)
        refuse_other(directory, runs)
        plans = [run.plan for run in runs.values()]
        choose_workers(job.config.workers, plans, self._devices(job))
        check_model(next(iter(runs.values())).plan, job.dataset)

    def describe(self, job: Job) -> str:
        from bsscale.study.range_test import describe_range_test

        return describe_range_test(job.config, job.dataset, self._devices(job))

    def most_samples(self, job: Job) -> int:
        from bsscale.study.range_test import plan_range_test

        runs = plan_range_test(job.config, job.dataset, self._devices(job)).values()
        return sum(run.plan.budget_samples for run in runs)

    def run(self, job: Job) -> None:
        from bsscale.stats.evidence import Nothing
        from bsscale.study.range_test import range_test

        if job.sweep is None:  # (a sweep has shown them for all its jobs)
            log_data_notes([job])
        found = range_test(job.config, job.dataset, job.directory, job.logging)
        if isinstance(found, Nothing):
            raise ConfigError(
                f"the range test suggests nothing: {found.reason}",
                f"{found.remedy} (in another directory)",
            )

    def _devices(self, job: Job) -> Devices:
        """What its runs share."""
        return replace(job.devices, shared=self.options_of(job).seeds > 1)
