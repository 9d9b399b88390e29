"""The tasks of ``task=``: each is an object with its check, its plan and its run."""

from typing import Any

from bsscale.cli.tasks.dashboard import DashboardTask
from bsscale.cli.tasks.range_test import RangeTestTask
from bsscale.cli.tasks.report import ReportTask
from bsscale.cli.tasks.scaling import ScalingTask
from bsscale.cli.tasks.show_schedule import ShowScheduleTask
from bsscale.cli.tasks.study import StudyTask
from bsscale.cli.tasks.task import Task
from bsscale.cli.tasks.train import TrainTask

__all__ = ["TASKS", "Task"]

# By the name of their file in conf/task.
TASKS: dict[str, Task[Any]] = {
    "train": TrainTask(),
    "show_schedule": ShowScheduleTask(),
    "range_test": RangeTestTask(),
    "study": StudyTask(),
    "scaling": ScalingTask(),
    "report": ReportTask(),
    "dashboard": DashboardTask(),
}
