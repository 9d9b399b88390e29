"""hydra/launcher=joblib: jobs in worker processes of this host, executor=virtual only."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn

from bsscale.cli.launchers.checked import CheckedJob, CheckedLauncher, run_elsewhere
from bsscale.errors import ConfigError

__all__ = ["JoblibLauncher"]


class JoblibLauncher(CheckedLauncher):
    """Refuses jobs over several processes, which joblib's workers cannot start.

    Parameters
    ----------
    options
        Of joblib.Parallel, whose backend is always loky: Hydra needs processes.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._options = {key: _number(value) for key, value in options.items()}

    def check(self, job: CheckedJob) -> None:
        if job.plan is not None and job.plan.executor == "ddp":
            raise ConfigError(
                f"executor=ddp over {job.plan.processes} processes with hydra/launcher=joblib, "
                "whose workers cannot start processes",
                "give executor=virtual, or hydra/launcher=submitit_local, submitit_slurm or ray",
            )

    def start(self, jobs: Sequence[CheckedJob]) -> Sequence[JobReturn]:
        from joblib import Parallel, delayed

        singletons = Singleton.get_state()
        return list(
            Parallel(**{**self._options, "backend": "loky"})(
                delayed(run_elsewhere)(
                    self.context,
                    self.function,
                    job.cfg,
                    job.number,
                    f"{job.cfg.hydra.job.name}_{job.number}",
                    singletons,
                )
                for job in jobs
            )
        )


def _number(value: Any) -> Any:
    """Numbers that the command line gives as text, such as max_nbytes=1000."""
    if isinstance(value, str):
        with suppress(ValueError):
            return int(value)
    return value
