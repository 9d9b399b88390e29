"""Steps 2 and 3 of a study: base_lr, the target and the budget, from runs at 1 GPU."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from bsscale.schedules.options import FixedConfig
from bsscale.stats.search import Search
from bsscale.study.arms import Searched
from bsscale.study.configure import Settled
from bsscale.study.rules import budget_samples, pass_of_study
from bsscale.study.session import Session
from bsscale.study.target import find_target
from bsscale.study.tuning import Tuning
from bsscale.terminal.numbers import metric_number
from bsscale.training.spec import RunSpec

__all__ = ["settle_one_gpu"]

log = logging.getLogger(__name__)


def settle_one_gpu(study: Session) -> tuple[Settled, Tuning | None]:
    """Tune base_lr, fix the target and the budget, and settle them.

    Returns
    -------
    What is settled (what an earlier start has settled holds), and the search for base_lr; None
    where base_lr is given.

    Raises
    ------
    BsscaleError
        If no target follows from the runs, or some of them failed.
    """
    one_gpu = _tune(study)
    if study.plan.adopted is not None:
        study.settle(study.plan.adopted.entries(study.file.seeds))
    target, margin, budget = _fix_target(study, one_gpu)
    base_lr = _rank_by_target(study, one_gpu, target)
    settled = study.settle(
        {"base_lr": base_lr, "target": target, "margin": margin, "budget_samples": budget}
    )
    study.plan.budget_samples = settled["budget_samples"]
    return Settled(settled["base_lr"], settled["target"], settled["budget_samples"]), one_gpu


def _tune(study: Session) -> Tuning | None:
    """The search for base_lr; None where it is given."""
    if study.config.base_lr is not None:
        how = "given" if study.plan.adopted is None else "of the adopted runs"
        study.step(2, f"base_lr {study.config.base_lr:g} ({how})")
        return None
    study.step(2, f"tuning base_lr at 1 GPU: {study.task.trials} rates, one pass each")
    found = Tuning(
        name="one_gpu",
        trained=Searched(1, FixedConfig()),
        base_lr=1.0,
        target=study.config.target,
        stops=False,
        budget=study.specs.trial_pass,
        search=Search(study.plan.search_rules, *study.plan.searched()),
    )
    study.tuner.carry_out([found])
    if found.target is None:
        found.provisional = found.search.best.lr
    return found


def _fix_target(study: Session, one_gpu: Tuning | None) -> tuple[float, float | None, int]:
    """The target, its margin and the budget, from 1-GPU runs on seeds that nothing else sees."""
    adopted, specs = study.plan.adopted, list[RunSpec]()
    seeds = study.file.registered.seeds  # (those that were added later do not move the target)
    if adopted is not None:
        study.step(3, f"the target: {len(seeds)} adopted runs")
        best = adopted.best_values(seeds)
    else:
        specs, best = _train_for_target(study, one_gpu)
    target, margin = find_target(
        study.metric,
        study.dataset.validation,
        best,
        study.config.target,
        study.task.margin,
    )
    budget = study.config.budget_samples
    if budget is None and adopted is not None:
        budget = _budget(study, adopted.samples_to(seeds, target, None))
    elif budget is None:
        of_script = not study.config.trainer.ours
        budget = _budget(
            study, [study.judge.samples_to(each.directory, target, of_script) for each in specs]
        )
    study.file.target, study.file.budget_samples = target, budget
    study.plan.budget_samples = budget
    study.save()
    log.info(
        "target  %s %s, budget %s samples a run",
        study.metric.title,
        metric_number(target),
        f"{budget:,}",
    )
    return target, margin, budget


def _train_for_target(study: Session, one_gpu: Tuning | None) -> tuple[list[RunSpec], list[float]]:
    """The runs that fix the target, and their best values."""
    rate = study.config.base_lr if one_gpu is None else one_gpu.search.best.lr
    assert rate is not None
    seeds = study.task.target_seed_list()
    study.step(3, f"the target: {len(seeds)} runs at 1 GPU, one pass each")
    specs = [
        study.specs.run(
            Path("target") / f"seed-{seed}",
            "target",
            FixedConfig(),
            gpus=1,
            rate=rate,
            seed=seed,
            target=None,
            budget=study.specs.one_pass,
        )
        for seed in seeds
    ]
    records = study.runs.train(specs)
    specs = [spec for spec, record in zip(specs, records, strict=True) if record is not None]
    best = [r.best_value for r in records if r is not None and r.best_value is not None]
    return specs, best


def _rank_by_target(study: Session, one_gpu: Tuning | None, target: float) -> float:
    """base_lr by the objective of all searches: samples to the target."""
    if one_gpu is None:
        assert study.config.base_lr is not None
        base_lr = study.config.base_lr
    else:
        if one_gpu.provisional is not None:
            one_gpu.target = target
            one_gpu.judge(study.judge)
            study.tuner.carry_out([one_gpu])
        study.note(one_gpu)
        base_lr = one_gpu.search.best.lr
        moved = one_gpu.provisional not in (None, base_lr)
        log.info(
            "base_lr  %g%s",
            base_lr,
            f" (moved from {one_gpu.provisional:g}, by samples to the target)" if moved else "",
        )
    study.file.base_lr = base_lr
    return base_lr


def _budget(study: Session, reached: Sequence[float]) -> int:
    """The budget of an arm in samples: enough to measure that it is several times slower."""
    return budget_samples(
        reached,
        study.task.budget_factor,
        pass_of_study(study.dataset),
        study.specs.eval_interval_samples,
    )
