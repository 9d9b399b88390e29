"""Step 4 of a study: the schedule and the rate of every arm, before any of them is run."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsscale.files.replace import plain
from bsscale.records.run_record import RunRecord
from bsscale.records.study_record import FlatEndRecord
from bsscale.schedules.options import ScheduleConfig
from bsscale.schedules.options.given import given_options
from bsscale.stats.search import Search
from bsscale.study.arms import at_rate, depends_on_base_lr, tuned_arms
from bsscale.study.plan import StudyPlan
from bsscale.study.rules import trial_budget_samples
from bsscale.study.runs import Runs
from bsscale.study.tuning import Judge, Tuning
from bsscale.training.spec import RunSpec

__all__ = ["Settled", "Tuned", "flat_ends", "searches", "tune_arms"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settled:
    """What the runs at 1 GPU have settled."""

    base_lr: float
    target: float
    budget_samples: int


@dataclass(frozen=True)
class Tuned:
    """How an arm trains.

    Attributes
    ----------
    schedule, base_lr
        Its schedule and rate.
    momentum
        That of its optimizer, where a search found one and the schedule sets none; else None.
    """

    schedule: ScheduleConfig
    base_lr: float
    momentum: float | None = None

    def settled(self) -> dict[str, Any]:
        """For the study's chain; a momentum only where there is one."""
        return {
            "schedule": plain(given_options(self.schedule)),
            "base_lr": self.base_lr,
            **({} if self.momentum is None else {"momentum": self.momentum}),
        }


def searches(plan: StudyPlan, settled: Settled) -> dict[str, Tuning]:
    """The searches of the tuned arms, by the arm that names them: all by the same rules."""
    budget = trial_budget_samples(
        settled.budget_samples, plan.specs.one_pass, plan.specs.eval_interval_samples
    )
    found = [
        Tuning(
            name=name if momentum is None else f"{name}-momentum-{momentum:g}",
            trained=arm.searched,
            base_lr=settled.base_lr,
            target=settled.target,
            stops=True,
            budget=budget,
            search=Search(plan.search_rules, *plan.searched()),
            momentum=momentum,
        )
        for name, arm in tuned_arms(plan.arms).items()
        for momentum in plan.task.momentum_list()
    ]
    return {tuning.name: tuning for tuning in found}


def tune_arms(plan: StudyPlan, found: dict[str, Tuning], base_lr: float) -> dict[str, Tuned]:
    """The schedule, the base_lr and the momentum of every arm, with what its searches have found.

    Where several momenta were searched, the best trial of all of them decides; of equal ones, that
    of the momentum that was given first.

    Parameters
    ----------
    plan
        The study.
    found
        The finished `searches`.
    base_lr
        The rate tuned at 1 GPU.
    """
    tuned = {arm.name: Tuned(arm.schedule, base_lr) for arm in plan.arms}
    for arm in plan.arms:
        own = [
            tuning
            for tuning in found.values()
            if arm.rate == "tuned" and arm.searched == tuning.trained
        ]
        if own:
            best = max(own, key=lambda tuning: tuning.search.best.rank)
            tuned[arm.name] = _tuned(best, *at_rate(arm.schedule, best.search.best.lr, base_lr))
    return tuned


def _tuned(found: Tuning, schedule: ScheduleConfig, base_lr: float) -> Tuned:
    """An arm at the rate and the momentum that a search has found."""
    cycled = None if found.momentum is None else schedule.at_momentum(found.momentum)
    return Tuned(schedule, base_lr, found.momentum) if cycled is None else Tuned(cycled, base_lr)


def flat_ends(
    plan: StudyPlan, runs: Runs, judge: Judge, one_gpu: Tuning, settled: Settled
) -> list[FlatEndRecord]:
    """Train the arms whose rates follow from base_lr at the ends of its flat set.

    Tuning at 1 GPU does not tell the rates of the set apart. What an arm at N GPUs needs at one of
    them and at another may differ all the more: that much of its result is the choice of base_lr.
    The runs are on tuning seeds, and no decision follows from them.
    """
    rates = [trial.lr for trial in one_gpu.search.flat]
    ends = (rates[0], rates[-1]) if len(rates) > 1 else ()
    seeds = plan.task.tuning_seed_list()[: plan.task.tuning_seeds]
    arms = [arm for arm in plan.arms if depends_on_base_lr(arm)]
    budget = trial_budget_samples(
        settled.budget_samples, plan.specs.one_pass, plan.specs.eval_interval_samples
    )
    cells = [(arm, rate) for arm in arms for rate in ends]
    specs = [
        plan.specs.run(
            Path("tuning") / "flat_ends" / arm.name / f"lr-{rate:g}" / f"seed-{seed}",
            f"{arm.name} lr {rate:g}",
            arm.schedule,
            gpus=arm.gpus,
            rate=rate,
            seed=seed,
            target=settled.target,
            budget=budget,
            scaling=arm.scaling,
            own=arm.own,
        )
        for arm, rate in cells
        for seed in seeds
    ]
    records = runs.train(specs) if specs else []
    made = []
    for number, (arm, rate) in enumerate(cells):
        part = slice(number * len(seeds), (number + 1) * len(seeds))
        done = [
            (spec, record)
            for spec, record in zip(specs[part], records[part], strict=True)
            if record is not None
        ]
        if done:
            made.append(_flat_end(arm.name, rate, done, judge, one_gpu, settled.target))
    return made


def _flat_end(
    arm: str,
    rate: float,
    done: Sequence[tuple[RunSpec, RunRecord]],
    judge: Judge,
    one_gpu: Tuning,
    target: float,
) -> FlatEndRecord:
    seeds = {record.seed for _, record in done}
    samples = [judge.samples_to(spec.directory, target) for spec, _ in done]
    at_one = [
        judge.samples_to(directory, target)
        for directory, record in one_gpu.runs[rate]
        if record.seed in seeds
    ]
    return FlatEndRecord(
        arm=arm,
        base_lr=rate,
        samples_to_target=_finite(statistics.median(samples)),
        one_gpu_samples_to_target=_finite(statistics.median(at_one)) if at_one else None,
        runs=len(done),
        reached=sum(math.isfinite(each) for each in samples),
        diverged=sum(record.status == "diverged" for _, record in done),
    )


def _finite(samples: float) -> float | None:
    return samples if math.isfinite(samples) else None
