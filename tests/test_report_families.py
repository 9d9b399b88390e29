"""What a report says of several arms: which interval a verdict rests on, and what is left open."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bsscale.records.evaluation import EvalPoint
from bsscale.records.study_record import Registered, RegisteredArm, StudyRecord
from bsscale.report.answer import answers, in_words
from bsscale.report.comparison import Comparison
from bsscale.report.limits import limits
from bsscale.report.read import FoundRun, FoundStudy, Sources
from bsscale.report.sentences import verdicts
from bsscale.report.summarize import summarize
from bsscale.report.tables import arms_table, divergence_table, easier_table, ratios_table
from bsscale.stats import Looks, paired_ratio
from tests.report_records import noise
from tests.test_records import RUN


def study_of(arms: Sequence[str], **fields: Any) -> FoundStudy:
    registered = Registered(
        gpus=8, settings={}, seeds=(), tuning_seeds=(), target_seeds=(), trials=3,
        rates=(None, None), base_lr=0.1, target=0.76, target_rule="", budget_rule="",
        range_test_seeds=1, stacks=[],
        arms=tuple(
            RegisteredArm(
                name=arm, role="baseline" if arm == "1 GPU" else "arm",
                gpus=1 if arm == "1 GPU" else 8, rate="base_lr", preset=False, schedule={},
            )
            for arm in arms
        ),
        **fields,
    )  # fmt: skip
    return FoundStudy(Path("study"), StudyRecord(name="s", hash="h", registered=registered))


def run_of(
    arm: str, seed: int, samples: float | None, study: FoundStudy | None = None, **fields: Any
) -> FoundRun:
    """A run whose AUC rises in a straight line from 0.5 to 0.76 at `samples`, and beyond it."""
    record = msgspec.structs.replace(
        RUN, arm=arm, arm_hash=arm, seed=seed, gpus=1 if arm == "1 GPU" else 8, target=0.76,
        status="exhausted" if samples is None else "reached", samples_to_target=samples,
        samples_seen=1_000_000, budget_samples=1_000_000, test_value=0.75,
    )  # fmt: skip
    record = msgspec.structs.replace(record, **fields)
    pace = 4_000_000 if samples is None else samples
    evals = [
        EvalPoint(step, x, {"auc": 0.5 + 0.26 * x / pace}, None, None, None, 1.0)
        for step, x in enumerate(range(0, int(1.1 * pace), 20_000))
    ]
    return FoundRun(Path(arm) / str(seed), record, evals, study)


def compared(
    paces: dict[str, float | None], seeds: int, study: FoundStudy | None = None, **fields: Any
) -> Comparison:
    runs = [
        run_of(arm, seed, None if pace is None else pace * noise(arm, seed), study, **fields)
        for arm, pace in paces.items()
        for seed in range(seeds)
    ]
    return summarize(Sources(runs=runs, studies=[] if study is None else [study]))


def said_of(comparison: Comparison) -> str:
    """The verdict of a report."""
    return in_words(answers(comparison, Sources()))


EIGHT = {"1 GPU": 200_000.0} | {f"{'a' * n} 8 GPUs": 200_000.0 for n in range(1, 8)}
ONE = {"1 GPU": 200_000.0, "fast": 230_000.0, "slow one": 480_000.0}


def test_verdicts_rest_on_intervals_that_hold_together() -> None:
    made = compared(EIGHT, 9)
    [family] = made.families
    assert family.together and len(family.arms) == 7 and family.primary is None
    for arm in made.arms[1:]:
        assert arm.judged == arm.together != arm.ratio
    said = limits(made, [])
    assert any(
        "7 comparisons with 1 GPU: their intervals hold together with 95%" in s for s in said
    )
    # 8 seeds are too few for 7 comparisons, and the words say so.
    made = compared(EIGHT, 8)
    assert not made.families[0].together
    assert all("one of 7 comparisons" in (arm.verdict or "") for arm in made.arms[1:])
    assert "(95% for each of 7 arms alone: " in said_of(made)
    assert any("each on its own" in s for s in limits(made, []))
    assert [row[3] for row in ratios_table(made).rows] == ["-"] * 7


def test_the_primary_arm_is_judged_on_its_own() -> None:
    primary = "aa 8 GPUs"
    study = study_of(list(EIGHT), primary=primary)
    made = compared(EIGHT, 10, study)
    arms = {arm.arm: arm for arm in made.arms}
    assert arms[primary].primary and arms[primary].judged == arms[primary].ratio
    assert arms["a 8 GPUs"].judged == arms["a 8 GPUs"].together
    assert f"The primary arm, {arms[primary].short}, judged on its own, is " in said_of(made)
    assert "It is the primary arm" in dict(verdicts(made))[arms[primary].short]
    # Without enough seeds for a family, its words stay those of one comparison.
    few = {arm.arm: arm for arm in compared(EIGHT, 7, study).arms}
    assert "comparisons" not in (few[primary].verdict or "")
    assert "comparisons" in (few["a 8 GPUs"].verdict or "")


@pytest.mark.parametrize(("seeds", "look"), [(10, 10), (11, 15), (20, 20)])
def test_the_confidence_is_that_of_the_look(seeds: int, look: int) -> None:
    study = study_of(list(ONE), looks=(10, 15, 20))
    [family] = compared(ONE, seeds, study).families
    assert family.confidence == Looks((10, 15, 20)).confidence_at(look)
    assert family.looks == (10, 15, 20)


def test_the_fastest_is_compared_with_the_runner_up() -> None:
    made = compared(ONE, 10, schedule="onecycle")
    says = said_of(made)
    assert says.startswith("Use fast. fast reached AUC 0.76 with ")
    assert "(95% for both arms together: " in says
    assert "The fastest of 2 arms is partly the luckiest: corrected for that, fast needs " in says
    assert re.search(r"Runner-up slow one: .*\. Against it, fast needs 0\.", says)
    winner = made.as_dict()["families"][0]["winner"]
    samples = {a.arm: {r.seed: r.samples for r in a.seeds} for a in made.arms}
    lead = paired_ratio(samples["fast"], samples["slow one"])
    assert (winner["runner_up"], winner["lead"]["high"]) == ("slow one", lead.high)


def test_no_arm_is_named_where_all_medians_are_censored() -> None:
    runs = [run_of("1 GPU", seed, 100_000.0) for seed in range(6)]
    runs += [run_of("a", seed, None) for seed in range(6)]
    runs += [run_of("b", seed, 500_000.0 if seed < 2 else None) for seed in range(6)]
    assert said_of(summarize(Sources(runs=runs))) == (
        "Only 1 GPU reached AUC 0.76. Runs that reached it: a 0/6, b 2/6, 1 GPU 6/6. An arm needs "
        "more than half of its runs. 1 GPU needs 100,000 samples. a comes nearest: 0.7000 at its "
        "best (median)."
    )


def test_failed_and_diverged_runs_are_said() -> None:
    runs = [run_of("1 GPU", seed, 100_000.0) for seed in range(10)]
    runs += [run_of("a", seed, None, status="diverged") for seed in range(8)]
    runs += [run_of("a", seed, None, status="failed") for seed in (8, 9)]
    made = summarize(Sources(runs=runs))
    says = "diverges in 8 of 8 (rate 63% to 100%); 2 of 10 runs failed"
    assert made.arms[1].verdict == says
    table = arms_table(made)
    assert table.header[3] == "failed" and [row[3] for row in table.rows] == ["0", "2"]
    assert divergence_table(made).rows[1][1:] == ["8/8", "63% - 100%"]
    assert made.as_dict()["arms"][1]["divergence"]["count"] == 8
    # Neither column nor table where there is nothing to say.
    calm = compared(ONE, 6)
    assert "failed" not in arms_table(calm).header and not divergence_table(calm).rows


def test_the_ratio_at_easier_targets() -> None:
    # `late` is behind by half at first, and overtakes: it needs 300,000 samples to 0.74 and 310,000
    # to 0.76; 1 GPU rises evenly, to 0.76 at 400,000.
    runs = []
    for seed in range(6):
        runs.append(run_of("1 GPU", seed, 400_000.0))
        late = run_of("late", seed, 310_000.0)
        evals = [
            EvalPoint(n, x, {"auc": auc}, None, None, None, 1.0)
            for n, (x, auc) in enumerate(
                [(0, 0.5), (300_000, 0.5), (310_000, 0.76), (320_000, 0.77)]
            )
        ]
        runs.append(FoundRun(late.directory, late.record, evals))
    made = summarize(Sources(runs=runs))
    late_arm = next(arm for arm in made.arms if arm.arm == "late")
    # 1, 2, 4 and 8% of the way from 0.5 to 0.76.
    assert [each.easier_by for each in late_arm.easier] == pytest.approx(
        [0, 0.0026, 0.0052, 0.0104, 0.0208]
    )
    expected = [310 / 400] + [
        (300 + 10 * (1 - s)) / (400 * (1 - s)) for s in (0.01, 0.02, 0.04, 0.08)
    ]
    assert [each.ratio.ratio for each in late_arm.easier] == pytest.approx(expected, rel=1e-6)
    assert "The same holds at targets up to 0.0208 AUC easier." in dict(verdicts(made))["late"]
    assert len(easier_table(made).rows) == 5


def test_a_verdict_that_turns_at_an_easier_target_says_where() -> None:
    runs = []
    for seed in range(6):
        runs.append(run_of("1 GPU", seed, 400_000.0))
        late = run_of("late", seed, 390_000.0)
        curve = [(0, 0.5), (380_000, 0.5), (390_000, 0.76), (400_000, 0.77)]
        evals = [
            EvalPoint(n, x, {"auc": auc}, None, None, None, 1.0) for n, (x, auc) in enumerate(curve)
        ]
        runs.append(FoundRun(late.directory, late.record, evals))
    made = summarize(Sources(runs=runs))
    # 390 / 400 and 389.9 / 396 are below 1, 389.6 / 384 is above.
    words = dict(verdicts(made))["late"]
    assert "The same holds at targets up to 0.0052 AUC easier, but at a target 0.0104" in words
    assert "easier it is slower: 1.01x (1.01 to 1.02)" in words


@pytest.mark.parametrize("worse", [9, 8])
def test_the_test_split_may_contradict_a_verdict(worse: int) -> None:
    runs = [run_of("1 GPU", seed, 300_000.0, test_value=0.755) for seed in range(10)]
    values = [0.75] * worse + [0.76] * (10 - worse)
    runs += [run_of("a", seed, 100_000.0, test_value=values[seed]) for seed in range(10)]
    note = summarize(Sources(runs=runs)).arms[1].test_note
    # 9 of 10 on one side: 2 (1 + 10) / 1024 = 2.1%; 8 of 10: 10.9%.
    assert (note is not None) == (worse == 9)
    if note is not None:
        assert "its AUC there is worse than that of 1 GPU in 9 of 10 seeds" in note


def test_limits_name_data_tuning_and_comparisons() -> None:
    study = study_of(list(ONE))
    said = " ".join(limits(compared(ONE, 10, study), [study]))
    assert "one validation split" in said
    assert "Not tuned at their own number of GPUs: fast, slow one." in said
    assert "2 comparisons with 1 GPU" in said
    assert limits(summarize(Sources()), []) == []


def test_a_margin_that_the_seeds_allow_is_said() -> None:
    made = compared({"1 GPU": 200_000.0, "like it": 201_000.0}, 6)
    words = dict(verdicts(made))["like it"]
    [arm] = [arm for arm in made.arms if arm.arm == "like it"]
    assert arm.judged is not None
    margin = math.ceil(100 * (max(arm.judged.high, 1 / arm.judged.low) - 1))
    assert f'With these seeds it is "as fast" only within {margin}%' in words
    numbers = [arm.seeds_needed, arm.seeds_as_fast]
    for number, text in itertools.zip_longest(numbers, ["would tell", "would show"]):
        assert number is None or f"{number} seeds" in words or f"{number} {text}" in words
