"""hydra/launcher=submitit_local: each run of a sweep is a process of this host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bsscale.cli.launchers.checked import CheckedJob
from bsscale.cli.launchers.submitit_base import Resources, SubmititLauncher, one_task
from bsscale.cli.tasks import Task

if TYPE_CHECKING:
    from bsscale.planning.devices import Devices

__all__ = ["LocalLauncher"]


class LocalLauncher(SubmititLauncher):
    """hydra/launcher=submitit_local: one task a job, which starts its training processes itself."""

    cluster = "local"

    def devices_of_node(self) -> Devices:
        """The devices of a job on this host."""
        from bsscale.planning.devices import Devices

        here, given = Devices.here(), self.options.get("gpus_per_node")
        return here if given is None else Devices(cuda=min(given, here.cuda))

    def devices(self, task: Task[Any]) -> Devices:
        return self.devices_of_node()

    def resources(self, job: CheckedJob) -> Resources:
        return one_task(job, self.devices_of_node().cuda or None)
