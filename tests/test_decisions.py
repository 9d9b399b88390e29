"""Decisions of the protocol, each held by a number that was worked out by hand.

A rank, a tie, a budget, a first or a next evaluation: a sign or an off-by-one in them gives results
that look as good as the right ones. `tests/benchmarks/mutations.py` changes them one by one and
says which test notices. Those of the statistics are in `test_stats_*.py` and `test_lr_range.py`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from bsscale.data import Samples, load_dataset
from bsscale.engines.outputs import HostOutputs
from bsscale.errors import ConfigError
from bsscale.files.checked import Arrays
from bsscale.objectives import Binary, Criterion
from bsscale.objectives.divergence import DivergenceDetector
from bsscale.objectives.target import Crossing, crossing
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from bsscale.records.checkpoints import Checkpoint
from bsscale.records.evaluation import EvalPoint
from bsscale.records.run_record import RunRecord
from bsscale.records.study_record import Registered, RegisteredArm, StudyRecord
from bsscale.report.answer import answers, in_words
from bsscale.report.comparison import ArmSummary, Comparison
from bsscale.report.read import FoundRun, FoundStudy, Sources
from bsscale.report.summarize import summarize
from bsscale.report.tables import arms_table
from bsscale.schedules.options import OneCycleConfig
from bsscale.study.description import describe_study
from bsscale.study.options import RangeTestOptions, StudyOptions
from bsscale.study.rules import budget_samples, in_intervals, trial_budget_samples
from bsscale.training.loop import train
from bsscale.training.outcome import Outcome
from tests.helpers import Watched, small_config

INF = math.inf
AUC, LOG_LOSS = Criterion("auc", "max"), Criterion("log_loss", "min")

# --- When a run has diverged ----------------------------------------------------------------------

ENTROPY, CHANCE = 0.5, 0.51


def first_reason(*evaluations: tuple[float, float | None, float | None]) -> int | None:
    """The number of the first evaluation (loss, train_loss, auc) at which a run has diverged."""
    detector = DivergenceDetector(
        "log_loss", ENTROPY, "the label's entropy", ("auc", CHANCE, "AUC")
    )
    found = [
        detector.reason({"log_loss": loss, "auc": auc}, train_loss)
        for loss, train_loss, auc in evaluations
    ]
    return next((number for number, reason in enumerate(found) if reason is not None), None)


GOOD, LOST = (0.4, 0.5, 0.7), (0.6, 0.6, 0.5)


def test_five_lost_evaluations_in_a_row_are_divergence() -> None:
    assert first_reason(GOOD, *[LOST] * 4) is None
    assert first_reason(GOOD, *[LOST] * 5) == 5
    # One that is not lost starts the count again.
    assert first_reason(GOOD, *[LOST] * 4, GOOD, *[LOST] * 4) is None
    assert first_reason(GOOD, *[LOST] * 4, GOOD, *[LOST] * 5) == 10


@pytest.mark.parametrize(
    ("evaluation", "lost"),
    [
        (LOST, True),
        ((0.6, 0.6, None), True),  # an AUC that is not defined is no better than chance
        ((0.6, 0.6, 0.51), False),  # at the bound it is told apart from chance
        ((0.6, 0.6, 0.509), True),
        ((0.5, 0.6, 0.5), False),  # at the entropy it knows as much as a constant
        ((0.501, 0.6, 0.5), True),
    ],
)
def test_what_is_lost(evaluation: tuple[float, float, float | None], lost: bool) -> None:
    assert (first_reason(GOOD, *[evaluation] * 5) == 5) == lost


def test_a_loss_that_is_no_lower_than_the_lowest_does_not_improve() -> None:
    # 0.6 is not below 0.6, so the second evaluation is lost; nor is it below the 0.55 before.
    assert first_reason((0.6, 0.5, 0.5), *[(0.6, 0.5, 0.5)] * 5) == 5
    falling_again = [(0.7, 0.6, 0.5), (0.69, 0.6, 0.5), (0.68, 0.6, 0.5), (0.67, 0.6, 0.5)]
    assert first_reason((0.55, 0.5, 0.5), *falling_again, (0.66, 0.6, 0.5)) == 5


def test_an_untrained_model_has_not_diverged() -> None:
    assert first_reason((math.nan, None, None), GOOD) is None
    # Its loss is the one to improve on all the same, and it does not count as lost.
    assert first_reason((0.6, None, 0.5), *[LOST] * 5) == 5


# --- The loop -------------------------------------------------------------------------------------

LABEL = np.tile(np.array([0, 1], dtype=np.float32), 500)
VALIDATION, TEST = (
    Samples(np.zeros((1000, 0), dtype=np.int32), np.zeros((1000, 0), dtype=np.float32), LABEL)
    for _ in range(2)
)
# A score that knows less than a constant: an AUC of 0.45 and a loss above the entropy.
BAD = 0.45
INTERVAL = 2048


class Scripted:
    """An engine of one slot that gives the AUCs of a list, evaluation after evaluation.

    On the test split it gives 0.6 and 0.01 more for each evaluation on the validation split.
    """

    width = 1
    updates_at_once = 1000

    def __init__(self, *aucs: float, train_loss: float = 0.5) -> None:
        self._aucs, self._scored = iter(aucs), 0
        self._train_loss, self._updates = train_loss, 0

    def begin(self, slot: int, plan: Plan, checkpoint: Checkpoint | None = None) -> None:
        self._updates = 0 if checkpoint is None else checkpoint.step

    def advance(self, updates: int) -> None:
        self._updates += updates

    def take_train_loss(self, slot: int) -> float | None:
        return self._train_loss if self._updates else None

    def evaluate(self, samples: Samples) -> HostOutputs:
        return HostOutputs(samples.label, self.score(samples))

    def score(self, samples: Samples) -> npt.NDArray[np.float64]:
        if samples is TEST:
            auc = 0.6 + 0.01 * self._scored
        else:
            auc, self._scored = next(self._aucs), self._scored + 1
        logits = np.zeros((1, len(samples)))
        if math.isnan(auc):
            return logits + math.nan
        # A share of 2 (AUC - 1/2) of the positives stands above all others, or below.
        share = 2 * (auc - 0.5)
        some = np.flatnonzero(samples.label)[: round(abs(share) * len(samples) / 2)]
        logits[0, some] = 0.01 if share > 0 else -3
        return logits

    def model(self, slot: int) -> None:
        return None

    def state(self, slot: int) -> Arrays:
        return {}

    def end(self, slot: int) -> None:
        pass


def make(samples_per_pass: int = 20_000, **changes: Any) -> Plan:
    """A plan of 10 evaluations, 2,048 samples apart."""
    return make_plan(small_config(**{"target": 0.75, **changes}), samples_per_pass, Devices(cuda=0))


def trained(engine: Scripted, plan: Plan, checkpoint: Checkpoint | None = None) -> Watched:
    job = Watched(plan)
    job.checkpoint = checkpoint
    train([[job]], engine, VALIDATION, TEST)
    assert job.error is None
    return job


def outcome(job: Watched) -> Outcome:
    assert job.outcome is not None
    return job.outcome


def test_a_run_that_goes_on_remembers_what_was_lost() -> None:
    plan = make(checkpoint_interval_samples=INTERVAL)
    whole = trained(Scripted(0.5, 0.7, *[BAD] * 9), plan)
    # Untrained, good, and five that are lost: the sixth after the start.
    assert (outcome(whole).status, outcome(whole).samples_seen) == ("diverged", 6 * INTERVAL)
    # Interrupted after four of the five, it diverges at the next one.
    [left] = [c for c in whole.saved if c.step * plan.global_batch == 5 * INTERVAL]
    assert len(left.evals) == 6
    rest = trained(Scripted(*[BAD] * 5), plan, left)
    assert (outcome(rest).status, outcome(rest).samples_seen) == ("diverged", 6 * INTERVAL)
    assert outcome(rest).reason == outcome(whole).reason


def test_a_run_that_goes_on_keeps_the_grid() -> None:
    plan = make(target=None, checkpoint_interval_samples=2 * INTERVAL)
    whole = trained(Scripted(*[0.6] * 11), plan)
    assert [point.samples for point in whole.points] == [n * INTERVAL for n in range(11)]
    steps = INTERVAL // plan.global_batch
    assert [saved.step for saved in whole.saved] == [n * steps for n in (2, 4, 6, 8)]
    rest = trained(Scripted(*[0.6] * 8), plan, whole.saved[0])
    assert [point.samples for point in rest.points] == [n * INTERVAL for n in range(3, 11)]
    assert [saved.step for saved in rest.saved] == [n * steps for n in (4, 6, 8)]
    assert outcome(rest).samples_seen == 10 * INTERVAL


def test_the_test_split_is_scored_at_the_first_hit_that_counts() -> None:
    # The third evaluation is a hit that the fourth does not confirm; the fifth is one that counts.
    plan = make(checkpoint_interval_samples=INTERVAL)
    whole = trained(Scripted(0.5, 0.6, 0.8, 0.7, 0.75, 0.8), plan)
    assert outcome(whole).status == "reached"
    assert outcome(whole).test_value == pytest.approx(0.65)
    # A run that goes on after the hit has that score already. (Its engine would give 0.61.)
    left = next(c for c in whole.saved if len(c.evals) == 5)
    assert left.test_value == pytest.approx(0.65)
    rest = trained(Scripted(0.8), plan, left)
    assert outcome(rest).test_value == pytest.approx(0.65)


def test_without_a_hit_the_test_split_is_scored_at_the_end() -> None:
    result = outcome(trained(Scripted(*[0.6] * 11), make()))
    assert result.status == "exhausted"
    assert result.test_value == pytest.approx(0.6 + 0.11)


def test_how_a_run_ended_in_numbers() -> None:
    # Equal to the target is a hit, and the next one confirms it: the run ends there.
    plan = make(gpus=2)
    result = outcome(trained(Scripted(0.5, 0.7, 0.75, 0.75, 0.9), plan))
    assert (result.status, result.steps, result.samples_seen) == ("reached", 96, 3 * INTERVAL)
    assert result.crossing is not None
    assert result.crossing.interval == (INTERVAL, 2 * INTERVAL)
    assert (result.best_value, result.final_value) == (0.75, 0.75)
    # Past its target it runs on if it is asked to.
    aucs = (0.5, 0.7, 0.8, 0.8, *[0.6] * 7)
    result = outcome(trained(Scripted(*aucs), make(stop_at_target=False)))
    assert (result.status, result.samples_seen) == ("reached", 10 * INTERVAL)
    assert (result.best_value, result.final_value) == (pytest.approx(0.8), pytest.approx(0.6))
    # A hit at the very end is not confirmed.
    result = outcome(trained(Scripted(*[0.6] * 10, 0.8), make()))
    assert (result.status, result.crossing) == ("exhausted", None)
    assert "unconfirmed" in result.reason
    assert (result.best_value, result.final_value) == (pytest.approx(0.8), pytest.approx(0.8))
    # What it had reached before it diverged does not count.
    aucs = (0.5, 0.8, 0.8, math.nan)
    result = outcome(trained(Scripted(*aucs), make(stop_at_target=False)))
    assert (result.status, result.crossing, result.test_value) == ("diverged", None, None)


def test_an_evaluation_has_the_rate_of_the_update_before_it() -> None:
    # 64 updates up from 0.1 to 0.74: 0.01 an update. The first evaluation comes after 64 updates,
    # the last of which is number 63, from 0: 0.1 + 0.63 = 0.73, with a momentum of
    # 0.9 - 0.1 x 63/64.
    cycle = OneCycleConfig(
        cycle_min_lr=0.1, cycle_max_lr=0.74, cycle_first_step_size=64,
        cycle_min_mom=0.8, cycle_max_mom=0.9,
    )  # fmt: skip
    job = trained(Scripted(*[0.6] * 11), make(schedule=cycle))
    first = job.points[1]
    assert first.step == 64
    assert (first.lr, first.momentum) == (pytest.approx(0.73), pytest.approx(0.9 - 0.1 * 63 / 64))


# --- The grid -------------------------------------------------------------------------------------


def checkpoints(plan: Plan, count: int) -> list[int]:
    steps = [0]
    while len(steps) <= count:
        steps.append(plan.next_checkpoint(steps[-1]))
    return steps[1:]


def grid_of(global_batch: int, interval: int, checkpoint: int, budget: int = 20_000) -> Plan:
    return make(
        micro_batch=global_batch, eval_interval_samples=interval, budget_samples=budget,
        checkpoint_interval_samples=checkpoint,
    )  # fmt: skip


def test_where_a_run_is_evaluated() -> None:
    # Points at 1,000, 2,000 and 3,000 samples, in steps of 300: 1,200, 2,100 and 3,000. The budget
    # of 3,100 takes 11 steps, and the last of them is evaluated wherever it falls.
    plan = grid_of(300, 1000, 5000, budget=3100)
    assert plan.steps == 11
    assert [plan.next_evaluation(step) for step in (0, 3, 4, 6, 7, 9, 10)] == [
        4, 4, 7, 7, 10, 10, 11,
    ]  # fmt: skip


def test_where_a_run_is_checkpointed() -> None:
    # Every 700 samples, in steps of 100, then of 300: 900, 1,500, 2,100 and, past 2,800, 3,000.
    assert checkpoints(grid_of(100, 1000, 700), 3) == [7, 14, 21]
    assert checkpoints(grid_of(300, 1000, 700), 4) == [3, 5, 7, 10]
    # Every 2,500 and evaluated every 1,000: at the first evaluations past 2,500, 5,000, 7,500 and
    # 10,000, which are those at 3,000, 5,100, 8,100 and 10,200.
    assert checkpoints(grid_of(300, 1000, 2500), 4) == [10, 17, 27, 34]


def test_the_defaults_of_a_plan() -> None:
    plan = make(
        samples_per_pass=20_000, micro_batch=32, gpus=2, budget_samples=None,
        eval_interval_samples=None,
    )  # fmt: skip
    # 128 micro-batches of 32; 8 passes are 160,000 samples, 39.06 intervals, so 40 of them.
    assert plan.eval_interval_samples == 4096
    assert plan.budget_samples == 40 * 4096
    assert plan.steps == 40 * 64
    assert plan.checkpoint_interval_samples == 20_000


# --- What a study settles -------------------------------------------------------------------------


def test_the_target_of_a_loss_is_the_median_and_the_margin_above_it() -> None:
    assert LOG_LOSS.target([0.50, 0.44, 0.46], 0.005) == pytest.approx(0.465)
    # A fiftieth of the way from the median to the label's entropy, which is log 2 here.
    margin = Binary().metric("log_loss").default_margin([0.50, 0.44, 0.46], LABEL)
    assert margin == pytest.approx(0.02 * (math.log(2) - 0.46))
    assert LOG_LOSS.reaches(0.465, 0.465) and LOG_LOSS.reaches(0.46, 0.465)
    assert not LOG_LOSS.reaches(0.4651, 0.465)


def test_a_loss_crosses_its_target_downwards() -> None:
    found = crossing([0, 10, 20, 30], [0.7, 0.6, 0.4, 0.3], 0.5, "min")
    assert found == Crossing((10, 20), 15.0)
    # Above the target again at the next evaluation: no hit. Equal is one.
    assert crossing([0, 10, 20, 30], [0.7, 0.4, 0.6, 0.5], 0.5, "min") is None
    assert crossing([0, 10, 20], [0.7, 0.5, 0.5], 0.5, "min") == Crossing((0, 10), 10.0)


def test_the_target_is_the_median_less_the_margin() -> None:
    assert AUC.target([0.80, 0.90, 0.78], 0.005) == pytest.approx(0.795)


@pytest.mark.parametrize(
    ("samples", "factor", "one_pass", "budget"),
    [
        # The median is 200, 8 times that 1,600: 25 intervals of 64, and one to confirm.
        ([100, 300, 200], 8, 1000, 1664),
        # 8 times 201 is 1,608: 26 intervals, and one.
        ([100, 300, 201], 8, 1000, 1728),
        # Never less than a pass: 1,000 samples are 16 intervals, and one.
        ([100, 50, 60], 8, 1000, 1088),
        # Most did not reach the target: a pass stands for the median.
        ([100, INF, INF], 8, 1000, 8064),
    ],
)
def test_the_budget_is_a_multiple_of_the_median_and_one_interval_more(
    samples: list[float], factor: float, one_pass: int, budget: int
) -> None:
    assert budget_samples(samples, factor, one_pass, 64) == budget


def test_whole_intervals() -> None:
    assert [in_intervals(samples, 64) for samples in (1, 64, 65, 128)] == [64, 64, 128, 128]


def test_no_seed_serves_two_purposes() -> None:
    # The report's seeds may be any below 1,000,000, where those of range tests begin.
    task = StudyOptions(
        seeds=1000, first_seed=999_000, tuning_seeds=1000, target_seeds=1000, trials=3
    )
    task.check()
    first = RangeTestOptions().first_seed
    others = [*range(first, first + 1000), *task.target_seed_list(), *task.tuning_seed_list()]
    assert min(others) >= 1_000_000 and len(set(others)) == 3 * 1000
    with pytest.raises(ConfigError, match="meets the seeds"):
        dataclasses.replace(task, first_seed=999_001).check()


def test_the_budget_of_a_run_of_a_search() -> None:
    # Half of 16,384 samples: 8,192, in whole intervals of 1,000.
    assert trial_budget_samples(16_384, 4_000, 1_000) == 9_000
    # At least a pass and an interval to confirm a hit at its end; at most the budget of an arm.
    assert trial_budget_samples(16_384, 12_000, 1_000) == 13_000
    assert trial_budget_samples(12_288, 12_000, 1_000) == 12_288


def test_what_a_study_costs_at_most() -> None:
    # A pass of 20,000 samples is 10 intervals of 2,048: 20,480. A run's budget, until it is known,
    # is 8 of these: 163,840; that of a run of a search half of it, 81,920. A search asks for at
    # most 4 rates (a factor of 10 apart), 2 extensions of 1 rate, and 12 between: 18, on 1 seed
    # each. At 1 GPU, a pass and an interval each, 22,528: 405,504. The target: 2 passes, 40,960.
    # The range test: one pass, 20,480. The search at 4 GPUs: 18 runs; fixed at both ends of the
    # flat set: 2 runs: 1,638,400. The runs: 4 arms, 2 seeds, a budget each, 1,310,720.
    arms = {
        "one_gpu": {"schedule": {"name": "fixed"}, "gpus": 1, "role": "baseline"},
        "fixed": {"schedule": {"name": "fixed"}},
        "tuned": {"schedule": {"name": "fixed"}, "rate": "tuned", "role": "control"},
        "onecycle": {"schedule": {"name": "onecycle"}, "preset": True},
    }
    task = StudyOptions(
        arms=arms, seeds=2, trials=4, tuning_seeds=1, finalist_seeds=1, target_seeds=2,
        range_test_seeds=1,
    )  # fmt: skip
    config = small_config(task=task, gpus=4, base_lr=None, budget_samples=None)
    dataset, here = load_dataset(config.dataset), Devices(cuda=0)
    cost = "at most 3,416,064 samples in at most 49 runs in all"
    assert cost in describe_study(config, dataset, here)
    # Where base_lr is given, nothing is tuned at 1 GPU, and there is no flat set.
    config = dataclasses.replace(config, base_lr=0.1)
    assert "at most 2,846,720 samples in at most" in describe_study(config, dataset, here)


# --- Runs ----------------------------------------------------------------------------------------


def record_of(arm: str = "a", seed: int = 0, **fields: Any) -> RunRecord:
    """A run at 8 GPUs that spent its budget of 1,000 samples without reaching the target."""
    record = RunRecord(
        status="exhausted", reason="", arm=arm, arm_hash=arm, study=None, metric="auc",
        direction="max", target=0.75, samples_to_target_interval=None, samples_to_target=None,
        best_value=0.7, final_value=0.7, test_value=0.7, best_possible=None, samples_seen=1000,
        budget_samples=1000, eval_interval_samples=10, steps=100, gpus=8, micro_batch=1,
        grad_accum=1, global_batch=8, schedule="fixed", scaling=None, optimizer="sgd",
        model="mlp", dataset="synthetic", objective="binary", executor="virtual",
        trainer="bsscale", data_key=None, columns=None, seed=seed, base_lr=0.1,
        samples_per_s=None, eval_share=None, wall_s=1.0, environment={}, config={},
    )  # fmt: skip
    return msgspec.structs.replace(record, **fields)


def reached_at(samples: float | None, **fields: Any) -> RunRecord:
    status = "exhausted" if samples is None else "reached"
    return record_of(**{"status": status, "samples_to_target": samples, **fields})


# --- Arms side by side ----------------------------------------------------------------------------


def runs_of(
    arm: str, samples: Sequence[float | None], study: FoundStudy | None = None, **fields: Any
) -> list[FoundRun]:
    """Runs of an arm, one a seed: the samples that each took to the target, or None."""
    return [
        FoundRun(
            Path(f"{arm}-{seed}"), reached_at(value, arm=arm, arm_hash=arm, seed=seed, **fields),
            (), study,
        )
        for seed, value in enumerate(samples)
    ]  # fmt: skip


def compared(
    *groups: Sequence[FoundRun], baseline: str | None = None, studies: Sequence[FoundStudy] = ()
) -> dict[str, ArmSummary]:
    sources = Sources(runs=[run for group in groups for run in group], studies=list(studies))
    return {arm.arm: arm for arm in summarize(sources, baseline).arms}


def changed(run: FoundRun, **fields: Any) -> FoundRun:
    return dataclasses.replace(run, record=msgspec.structs.replace(run.record, **fields))


def test_a_diverged_run_counts_at_its_whole_budget() -> None:
    # Five runs reach the target at 100, 200, 300, 400 and 500 samples; one diverges after 50 of its
    # 1,000. Counted at its budget it is still under way at each of these: 5, 4 and 3 of 6 runs are
    # not there after 100, 200 and 300. The curve is at one half from 300 to 400: the median is 350.
    # Counted at 50 it would leave five, of which 2 are not there after 300: a median of 300.
    runs = runs_of("a", [100, 200, 300, 400, 500, None])
    runs[5] = changed(runs[5], status="diverged", samples_seen=50)
    arm = compared(runs)["a"]
    assert arm.survival is not None
    assert (arm.survival.n, arm.survival.reached, arm.survival.median) == (6, 5, 350)
    assert arm.survival.curve[-1] == (1000, pytest.approx(1 / 6))
    # In the table it is infinite.
    assert arm.samples_to_target is not None and arm.samples_to_target.high == INF
    assert arm.seeds[5].samples == INF


def test_an_exhausted_run_counts_at_what_it_saw() -> None:
    # Its last step went beyond the budget of 1,000.
    runs = runs_of("a", [100, None])
    runs[1] = changed(runs[1], samples_seen=1040)
    arm = compared(runs)["a"]
    assert arm.survival is not None and arm.survival.curve[-1] == (1040, 0.5)


def test_a_run_that_diverged_after_its_target_has_reached_it() -> None:
    runs = runs_of("a", [100, 200, 300, 400, 500, 600])
    runs[3:] = [changed(run, status="diverged") for run in runs[3:]]
    arms = compared(runs, runs_of("one", [100, 200, 300, 400, 500, 600], gpus=1))
    survival = arms["a"].survival
    assert survival is not None and (survival.reached, survival.median) == (6, 350)
    assert arms["a"].verdict == "as fast as one: needs 1.00x its samples"


def test_a_ratio_is_the_arm_over_its_baseline() -> None:
    arms = compared(runs_of("a", [200, 400, 600]), runs_of("one", [100, 200, 300], gpus=1))
    arm = arms["a"]
    assert arm.ratio is not None and (arm.ratio.ratio, arm.ratio.low) == (2.0, 2.0)
    assert arms["one"].is_baseline and arms["one"].ratio is None


def test_the_baseline_is_the_only_arm_at_one_gpu_or_there_is_none() -> None:
    fast, slow = runs_of("fast", [100, 100]), runs_of("slow", [300, 300])
    one, other = runs_of("one", [200, 200], gpus=1), runs_of("other", [250, 250], gpus=1)
    assert {arm.baseline for arm in compared(slow, fast, one).values()} == {"one"}
    # Of two at one GPU neither is the baseline, and the best of all is none either.
    assert {arm.baseline for arm in compared(slow, fast, one, other).values()} == {None}
    assert {arm.baseline for arm in compared(slow, fast).values()} == {None}


@pytest.mark.parametrize("other", [{"target": 0.8}, {"metric": "log_loss"}, {"data_key": "abc"}])
def test_arms_that_are_judged_by_something_else_are_compared_with_each_other(
    other: dict[str, Any],
) -> None:
    fast, slow = runs_of("fast", [100, 100]), runs_of("slow", [300, 300])
    one = runs_of("one", [200, 200], gpus=1)
    arms = compared(
        slow, fast, one, runs_of("far", [700], **other), runs_of("farther", [900], **other)
    )
    assert [arms[name].baseline for name in ("slow", "far", "farther")] == ["one", None, None]
    assert [arms[name].ratio_to_best for name in ("fast", "slow", "one", "far", "farther")] == [
        1.0, 3.0, 2.0, 1.0, pytest.approx(9 / 7),
    ]  # fmt: skip


def study_of(name: str, baseline: str) -> FoundStudy:
    def arm(called: str, gpus: int) -> RegisteredArm:
        role = "baseline" if called == baseline else "arm"
        return RegisteredArm(
            name=called, role=role, gpus=gpus, rate="base_lr", preset=False, schedule={}
        )  # type: ignore[arg-type]

    registered = Registered(
        gpus=8, settings={}, arms=(arm("one", 1), arm("a", 8), arm("b", 8)), seeds=(0, 1),
        tuning_seeds=(), target_seeds=(), trials=0, rates=(None, None), base_lr=None, target=None,
        target_rule="", budget_rule="", range_test_seeds=0, stacks=[],
    )  # fmt: skip
    return FoundStudy(Path(name), StudyRecord(name=name, hash=name, registered=registered))


def test_a_study_has_the_baseline_that_it_registered() -> None:
    # Neither the arm at one GPU nor the best.
    study = study_of("first", baseline="b")
    groups = [
        runs_of("one", [100, 100], study, gpus=1),
        runs_of("a", [200, 200], study),
        runs_of("b", [300, 300], study),
    ]
    assert {arm.baseline for arm in compared(*groups, studies=[study]).values()} == {"b"}
    # A label names the arm of the same study first, whichever study was read first.
    other = study_of("second", baseline="one")
    more = [runs_of("one", [400, 400], other, gpus=1), runs_of("a", [600, 600], other)]
    arms = compared(*groups, *more, studies=[study, other])
    assert [arms[name].baseline for name in ("first: a", "second: a")] == [
        "first: b", "second: one",
    ]  # fmt: skip
    arms = compared(*groups, *more, studies=[study, other], baseline="one")
    assert [arms[name].baseline for name in ("first: a", "second: a")] == [
        "first: one", "second: one",
    ]  # fmt: skip


def test_the_baseline_of_runs_outside_a_study_is_not_looked_for_in_it() -> None:
    study = study_of("first", baseline="one")
    inside = [runs_of("one", [100, 100], study, gpus=1), runs_of("a", [200, 200], study)]
    arms = compared(*inside, runs_of("x", [500, 500]), runs_of("y", [700, 700]), studies=[study])
    assert arms["y"].baseline is None


def test_the_first_run_of_an_arm_and_a_seed_counts() -> None:
    runs = [*runs_of("a", [100]), *runs_of("a", [900])]
    [arm] = summarize(Sources(runs=runs)).arms
    assert arm.samples_to_target is not None and arm.samples_to_target.median == 100


def test_a_failed_run_says_nothing_of_its_arm() -> None:
    runs = runs_of("a", [100, 200, None])
    runs[2] = changed(runs[2], status="failed", best_value=0.1)
    arm = compared(runs)["a"]
    assert arm.samples_to_target is not None and arm.samples_to_target.n == 2
    assert (arm.trained, arm.median_best_value) == (2, 0.7)


def said_of(comparison: Comparison) -> str:
    return in_words(answers(comparison, Sources()))


def losses(label: str, *values: float | None, metric: str = "log_loss", **fields: Any) -> Any:
    """Runs of an arm without a target, judged by a loss."""
    direction = "max" if metric == "auc" else "min"
    return [
        changed(run, metric=metric, direction=direction, target=None, best_value=value, **fields)
        for run, value in zip(runs_of(label, [None] * len(values)), values, strict=True)
    ]


def test_without_a_target_the_lowest_median_loss_is_the_best() -> None:
    runs = [*losses("a", 0.5, 0.52), *losses("b", 0.45, 0.46), *losses("c", None)]
    says = said_of(summarize(Sources(runs=runs)))
    assert "The lowest median log loss, 0.4550, is that of b." in says
    assert "AUC" not in says
    assert arms_table(summarize(Sources(runs=runs))).header[-1] == "best log loss"


def test_arms_of_several_metrics_name_each_its_own() -> None:
    runs = [*losses("a", 0.9), *losses("b", 0.85), *losses("c", 0.7, metric="auc")]
    comparison = summarize(Sources(runs=runs))
    says = said_of(comparison)
    assert "The lowest median log loss, 0.8500, is that of b, and" in says
    assert "the highest median AUC, 0.7000, is that of c." in says
    table = arms_table(comparison)
    assert table.header[-1] == "best value"
    assert [row[-1] for row in table.rows] == ["log loss 0.9000", "log loss 0.8500", "AUC 0.7000"]
    assert [arm["metric"] for arm in comparison.as_dict()["arms"]] == [*["log_loss"] * 2, "auc"]
    # One arm that was trained twice, for another metric: the labels say so.
    runs = [*losses("a", 0.5), *losses("a", 0.7, metric="auc")]
    assert [arm.arm for arm in summarize(Sources(runs=runs)).arms] == [
        "a (metric=log_loss)", "a (metric=auc)",
    ]  # fmt: skip


def with_curve(run: FoundRun, *points: tuple[int, float]) -> FoundRun:
    evals = [
        EvalPoint(step, samples, {"auc": auc}, None, None, None, None)
        for step, (samples, auc) in enumerate(points)
    ]
    return dataclasses.replace(run, evals=evals)


def test_a_curve_is_the_median_of_its_runs() -> None:
    runs = runs_of("a", [100, 100, 100, 100])
    ends = (0.60, 0.62, 0.64, 0.70)
    runs = [with_curve(run, (0, 0.5), (10, auc)) for run, auc in zip(runs, ends, strict=True)]
    # One run stops at 10 samples: at 20 it keeps what it had.
    runs[0] = with_curve(runs[0], (0, 0.5), (10, 0.60))
    runs[1:] = [
        dataclasses.replace(run, evals=[*run.evals, EvalPoint(2, 20, {"auc": 0.8}, *[None] * 4)])
        for run in runs[1:]
    ]
    first, middle, last = compared(runs)["a"].curve
    assert (first.samples, first.median) == (0, 0.5)
    assert (last.samples, last.median) == (20, 0.8)
    # Of four runs the band is the middle half. The quartiles of four numbers lie at 3/4 of the way
    # from the first to the second, 0.615, and at 1/4 of that from the third to the fourth, 0.655.
    assert (middle.median, middle.low, middle.high) == pytest.approx((0.63, 0.615, 0.655))
    assert last.low == pytest.approx(0.75)
    # Of three it is all of them.
    _, middle, _ = compared(runs[1:])["a"].curve
    assert (middle.median, middle.low, middle.high) == (0.64, 0.62, 0.70)
