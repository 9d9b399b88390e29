"""The plan of a study in words, before anything is written."""

from __future__ import annotations

from collections.abc import Sequence

from bsscale.config import Config
from bsscale.data import Dataset
from bsscale.planning.devices import Devices
from bsscale.study.plan import StudyPlan
from bsscale.workers.trainers import trainer_of

__all__ = ["describe_study", "description"]


def describe_study(config: Config, dataset: Dataset, devices: Devices, here: bool = True) -> str:
    """The plan of a study and its maximum cost; raises as `check_study` does, writes nothing."""
    plan = StudyPlan(config, dataset, devices)
    plan.first_runs()
    plan.check_rates()
    plan.check_target()
    return description(plan, here)


def description(plan: StudyPlan, here: bool = True) -> str:
    """The plan, with one fact on each line; `here`: workers of this machine train."""
    task, config = plan.task, plan.config
    workers = None
    if here:
        plans = [run.plan for run in plan.first_runs()] * task.look_list()[0]
        workers = trainer_of(config).describe(config.workers, plans, plan.specs.devices)
    rows = [
        ("study", str(plan.directory)),
        ("arms", ", ".join(f"{arm.name} ({arm.role}, gpus={arm.gpus})" for arm in plan.arms)),
        ("seeds", f"{_or_more(task.look_list())}, from {task.first_seed}"),
        ("searches", _searches(plan)),
        ("range tests", ", ".join(f"gpus={n}" for n in plan.range_tests()) or "none"),
        ("runs", f"{sum(map(len, plan.groups)) * task.look_list()[-1]} of the arms"),
        *([("adopted", plan.adopted.words())] if plan.adopted is not None else []),
        *([] if workers is None else [("workers", workers)]),
        *([("given up", plan.given_up)] if plan.given_up else []),
        ("cost", f"{plan.most(plan.known_speed()).words()} in all"),
    ]
    return "\n".join(f"{name:>13}  {value}" for name, value in rows)


def _searches(plan: StudyPlan) -> str:
    found = plan.searches()
    if not found:
        return "none"
    described = f"{', '.join(found)}: {plan.task.trials} rates, then refined"
    described += "; hopeless runs are stopped by the median rule" if plan.stops_hopeless else ""
    if plan.task.momenta is None:
        return described
    momenta = ", ".join(f"{each:g}" for each in plan.task.momenta)
    return f"{described}; those of arms at each momentum of {momenta}"


def _or_more(looks: Sequence[int]) -> str:
    first, *more = map(str, looks)
    return first + (f" (then {', '.join(more)}, until every arm is decided)" if more else "")
