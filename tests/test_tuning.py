"""Searches side by side: what they train, how runs are judged, and when base_lr moves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bsscale.cli.jobs import Job
from bsscale.errors import ConfigError
from bsscale.objectives import Binary
from bsscale.optimizers.adagrad import AdagradConfig
from bsscale.optimizers.adam import AdamConfig
from bsscale.optimizers.sgd import SGDConfig
from bsscale.planning.devices import Devices
from bsscale.records.run_record import RunRecord
from bsscale.records.study_record import FlatEndRecord, StudyRecord
from bsscale.report.base_lr import base_lr_words, with_base_lr
from bsscale.schedules.options import FixedConfig, OneCycleConfig, OneCycleTorchConfig
from bsscale.stats.search import Rules, Search
from bsscale.study.arms import Searched, at_rate
from bsscale.study.plan import StudyPlan
from bsscale.study.tuning import Judge, Tuner, Tuning
from bsscale.study.work import Work, describe
from bsscale.training.spec import RunSpec
from tests.composing import composed, hydra
from tests.helpers import SMALL_STUDY, prepare, small_config
from tests.test_decisions import record_of

__all__ = ["hydra"]  # (a fixture)

AUC = Binary().metric("auc")
JUDGE = Judge(AUC, 0.5)
# A run has an evaluation after each 100 samples.
Curve = Callable[[RunSpec], Sequence[float]]


class Trained:
    """Trains nothing: writes the curve that a run would have, and remembers its rounds."""

    def __init__(self, curve: Curve) -> None:
        self.curve = curve
        self.rounds: list[list[tuple[float, int]]] = []
        self.targets: set[float | None] = set()
        self.failed = ["all of them"]
        self.failing: set[float] = set()

    def train(self, specs: Sequence[RunSpec]) -> list[RunRecord | None]:
        self.rounds.append([(rate_of(spec), spec.plan.config.seed) for spec in specs])
        self.targets |= {spec.plan.config.target for spec in specs}
        return [self._train(spec) for spec in specs]

    def _train(self, spec: RunSpec) -> RunRecord | None:
        if rate_of(spec) in self.failing:
            return None
        values = self.curve(spec)
        spec.directory.mkdir(parents=True)
        lines = [
            {"step": k, "samples": 100 * k, "auc": value, "train_loss": None, "lr": None,
             "momentum": None, "wall_s": None}
            for k, value in enumerate(values)
        ]  # fmt: skip
        (spec.directory / "evals.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
        return record_of(best_value=max(values), samples_seen=100 * (len(values) - 1))


class Made:
    """Makes specifications without a study."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.plan = prepare(small_config())[0]

    def run(self, where: Path, arm: str, schedule: Any, **options: Any) -> RunSpec:
        config = replace(
            self.plan.config, schedule=schedule, seed=options["seed"], base_lr=options["rate"],
            target=options["target"],
        )  # fmt: skip
        return RunSpec(replace(self.plan, config=config), self.directory / where, arm)


def rate_of(spec: RunSpec) -> float:
    schedule, rate = spec.plan.config.schedule, spec.plan.config.base_lr
    assert rate is not None
    return getattr(schedule, "cycle_max_lr", None) or rate


def tuning(name: str, rules: Rules, low: float, high: float, **options: Any) -> Tuning:
    given = {"target": None, "stops": False, **options}
    trained = Searched(1, given.pop("schedule", FixedConfig()))
    return Tuning(
        name=name, trained=trained, base_lr=0.1, budget=1000, search=Search(rules, low, high),
        **given,
    )  # fmt: skip


def tuner(curve: Curve, directory: Path) -> tuple[Tuner, Trained]:
    runs = Trained(curve)
    return Tuner(runs, Made(directory), [7, 8, 9], JUDGE), runs  # type: ignore[arg-type]


def test_base_lr_moves_once_to_the_rate_with_the_fewest_samples(tmp_path: Path) -> None:
    # By the best value 0.4 wins. 0.2 is lower in the end, but first to reach 0.7, at 150 samples.
    curves = {0.1: [0.5, 0.6, 0.65, 0.69], 0.2: [0.5, 0.65, 0.75, 0.75], 0.4: [0.5, 0.5, 0.7, 0.8]}
    carried, runs = tuner(lambda spec: curves[rate_of(spec)], tmp_path)
    rules = Rules(trials=3, seeds=1, finalist_seeds=2, gap=2.5, extensions=0)
    found = tuning("one_gpu", rules, 0.1, 0.4)
    carried.carry_out([found])
    # A round of the grid, and one of the second seed of all three, the finalists.
    rates = [0.1, 0.2, 0.4]
    assert runs.rounds == [[(rate, 7) for rate in rates], [(rate, 8) for rate in rates]]
    assert found.search.best.lr == 0.4 and found.search.best.samples_to_target is None
    found.provisional, found.target = found.search.best.lr, 0.7
    found.judge(JUDGE)
    carried.carry_out([found])
    assert len(runs.rounds) == 2  # (from the runs' own evaluations: nothing is trained)
    samples = [trial.samples_to_target for trial in found.search.ordered]
    assert samples == pytest.approx([math.inf, 150, 200])
    record = found.record()
    assert (record.best, record.provisional, record.flat) == (0.2, 0.4, (0.2,))
    assert record.trials[0].samples_to_target is None
    assert record.samples == 6 * 300


def test_a_hit_at_the_last_evaluation_is_not_confirmed(tmp_path: Path) -> None:
    spec = Made(tmp_path).run(Path("a"), "a", FixedConfig(), seed=0, rate=0.1, target=None)
    Trained(lambda _: [0.5, 0.6, 0.8]).train([spec])
    assert JUDGE.samples_to(spec.directory, 0.7) == math.inf
    assert JUDGE.samples_to(spec.directory, 0.55) == pytest.approx(50)


def test_how_a_run_is_judged(tmp_path: Path) -> None:
    bad = record_of(best_value=None, status="diverged")
    for chance, value in ((0.5, 0.5), (None, -math.inf)):
        result = Judge(AUC, chance).result(bad, tmp_path, None)
        assert (result.value, result.samples, result.diverged) == (value, None, True)
    assert not JUDGE.result(record_of(), tmp_path, None).diverged
    loss = Binary().metric("log_loss")
    bad = msgspec.structs.replace(bad, metric="log_loss", direction="min")
    assert Judge(loss, None).result(bad, tmp_path, None).value == math.inf


def test_tuned_arms_try_as_many_rates_in_common_rounds(tmp_path: Path) -> None:
    # The constant is best at 0.2, in the middle of its grid; the cycle at 1.6, beyond its end.
    best = {"fixed": 0.2, "onecycle": 1.6}

    def curve(spec: RunSpec) -> list[float]:
        off = abs(math.log(rate_of(spec) / best[spec.plan.config.schedule.name]))
        return [0.5, 0.8 - off / 20, 0.8 - off / 20]

    carried, runs = tuner(curve, tmp_path)
    rules = Rules(trials=3, seeds=1, finalist_seeds=1, gap=2.1)
    towards = {"target": 0.79, "stops": True}
    constant = tuning("constant", rules, 0.1, 0.4, **towards)
    cycle = tuning("cycle", rules, 0.1, 0.4, schedule=OneCycleConfig(), **towards)
    carried.carry_out([constant, cycle], at_least=4)
    assert constant.search.best.lr == 0.2 and cycle.search.best.lr == 1.6
    # 0.1, 0.2, 0.4; the cycle's extensions of two rates each: 0.8 and 1.6, then 3.2 and 6.4. The
    # constant has four rates more then, next to its best one.
    assert sorted(cycle.search.trials) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]
    assert constant.search.tried == cycle.search.tried == 7
    assert [len(each) for each in runs.rounds] == [6, 2, 2, 2, 2]
    assert runs.targets == {0.79}
    carried.carry_out([constant, cycle], at_least=8)
    assert constant.search.tried == cycle.search.tried == 8


def test_a_search_that_does_not_stop_trains_without_its_target(tmp_path: Path) -> None:
    rules = Rules(trials=3, seeds=1, finalist_seeds=1, gap=2.5, extensions=0)
    carried, runs = tuner(lambda spec: [0.5, 0.8, rate_of(spec)], tmp_path)
    found = tuning("one_gpu", rules, 0.1, 0.4, target=0.7)
    carried.carry_out([found])
    assert runs.targets == {None} and found.search.best.samples_to_target == math.inf


def test_a_rate_that_cannot_be_trained_is_left_out_and_none_at_all_is_an_error(
    tmp_path: Path,
) -> None:
    rules = Rules(trials=3, seeds=1, finalist_seeds=2, gap=2.5, extensions=0)
    carried, runs = tuner(lambda _: [0.5, 0.6], tmp_path)
    runs.failing = {0.1}
    found = tuning("a", rules, 0.1, 0.4)
    carried.carry_out([found])
    assert list(found.search.trials) == [0.2, 0.4]
    runs.failing = {0.1, 0.2, 0.4}
    with pytest.raises(ConfigError, match="no run of the search b could be trained: all of them"):
        carried.carry_out([tuning("b", rules, 0.1, 0.4)])


@pytest.mark.usefixtures("hydra")
def test_a_job_trains_what_a_search_asks_for() -> None:
    job = Job(composed(*SMALL_STUDY, "base_lr=0.1", "task.momenta=[0.5,0.8]"), None)
    specs = StudyPlan(job.config, job.dataset, Devices(0)).specs
    spec = specs.run(
        Path("tuning"), "a", FixedConfig(), gpus=4, rate=0.2, seed=3, target=0.7, budget=8192,
        momentum=0.5,
    )  # fmt: skip
    spec = replace(spec, bar=((2048, 0.6), (4096, 0.65)))
    work = json.loads(json.dumps(describe(spec, specs.directory)))
    [again] = Work("hash", [work]).specs(specs, job.config.tracker)
    assert again.bar == spec.bar and again.plan.training == spec.plan.training
    assert again.plan.config.optimizer.momentum_now == 0.5


def test_what_a_search_tries_of_a_schedule() -> None:
    assert at_rate(FixedConfig(), 0.4, 0.1) == (FixedConfig(), 0.4)
    cycle, base_lr = at_rate(OneCycleConfig(), 0.4, 0.1)
    assert base_lr == 0.1
    assert cycle == OneCycleConfig(
        cycle_max_lr=0.4, cycle_min_lr=0.04, cycle_first_fraction=0.3, cycle_second_fraction=0.7
    )
    # What an arm says of the lengths stays.
    own = OneCycleConfig(cycle_first_samples=100, cycle_second_step_size=3)
    assert at_rate(own, 0.4, 0.1)[0] == replace(own, cycle_max_lr=0.4, cycle_min_lr=0.04)
    assert at_rate(OneCycleTorchConfig(), 0.4, 0.1)[0] == OneCycleTorchConfig(max_lr=0.4)
    for fixed in (OneCycleConfig(factor=2.0), OneCycleConfig(cycle_min_lr=0.1)):
        with pytest.raises(ConfigError, match="a search looks for the peak"):
            at_rate(fixed, 0.4, 0.1)


def test_what_a_momentum_changes() -> None:
    # A cycle keeps its width; a constant rate has the optimizer's momentum.
    assert OneCycleConfig().at_momentum(0.95) == OneCycleConfig(
        cycle_max_mom=0.95, cycle_min_mom=0.85
    )
    assert OneCycleTorchConfig().at_momentum(0.9) == OneCycleTorchConfig(
        max_momentum=0.9, base_momentum=0.8
    )
    assert OneCycleConfig(cycle_momentum=False).at_momentum(0.95) is None
    assert FixedConfig().at_momentum(0.95) is None
    assert SGDConfig().at_momentum(0.5) == SGDConfig(momentum=0.5)
    assert AdamConfig().at_momentum(0.5) == AdamConfig(beta1=0.5)
    with pytest.raises(ConfigError, match=r"optimizer=adagrad has no momentum that could be 0\.5"):
        AdagradConfig().at_momentum(0.5)


def test_the_choice_of_base_lr_in_words() -> None:
    def end(arm: str, base_lr: float, samples: float | None, diverged: int = 0) -> FlatEndRecord:
        return FlatEndRecord(
            arm=arm, base_lr=base_lr, samples_to_target=samples, one_gpu_samples_to_target=200.0,
            runs=2, reached=0 if samples is None else 2, diverged=diverged,
        )  # fmt: skip

    ends = [
        end("fixed", 0.04, 440.0), end("fixed", 0.4, 250.0),
        end("linear", 0.04, None), end("linear", 0.4, None, diverged=2),
    ]  # fmt: skip
    study = StudyRecord(name="a", hash="a", registered=None, flat_ends=ends)  # type: ignore[arg-type]
    words = base_lr_words(study)
    assert words["fixed"] == (
        "At 1 GPU, base_lr from 0.04 to 0.4 is not told apart from the best; with 0.04 it needs "
        "2.20x the samples of 1 GPU, with 0.4 it needs 1.25x the samples of 1 GPU "
        "(2 tuning seeds). That much of its result is the choice of base_lr."
    )
    assert "with 0.04 it does not reach the target in 2 of 2" in words["linear"]
    assert "with 0.4 it diverges in 2 of 2" in words["linear"]
    said = with_base_lr([("fixed", "Slower."), ("onecycle", "Faster.")], [study])
    assert said == [("fixed", f"Slower. {words['fixed']}"), ("onecycle", "Faster.")]
    # Of several studies, the labels of arms are not told apart.
    assert with_base_lr([("fixed", "Slower.")], [study, study]) == [("fixed", "Slower.")]
