"""hydra/launcher=joblib: jobs in worker processes of this host, executor=virtual only."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher as HydrasJoblib

from bsscale.cli.jobs import remembering_datasets
from bsscale.cli.launchers.checked import CheckedJob, check_jobs
from bsscale.errors import ConfigError

__all__ = ["JoblibLauncher"]


class JoblibLauncher(HydrasJoblib):
    """Checks all jobs first, and refuses those that joblib's workers cannot carry out."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        assert self.config is not None and self.hydra_context is not None
        load = remembering_datasets()
        check_jobs(self.hydra_context, self.config, job_overrides, load, check=_check_processes)
        jobs: Sequence[JobReturn] = super().launch(job_overrides, initial_job_idx)
        return jobs


def _check_processes(job: CheckedJob) -> None:
    if job.plan is not None and job.plan.executor == "ddp":
        raise ConfigError(
            f"executor=ddp over {job.plan.processes} with hydra/launcher=joblib, whose workers "
            "cannot start processes",
            "give executor=virtual, or hydra/launcher=submitit_local, submitit_slurm or ray",
        )
