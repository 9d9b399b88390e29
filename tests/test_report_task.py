"""task=report: from the command line to its files, whatever the records hold."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bsscale.errors import RecordsError
from bsscale.report.answer import answers
from bsscale.report.charts import figures
from bsscale.report.comparison import Comparison
from bsscale.report.plan import plan_followed
from bsscale.report.read import Sources, find, matching
from bsscale.report.summarize import summarize
from bsscale.report.tables import arms_table
from bsscale.report.write import write_report
from tests.conftest import SMALL, Finished
from tests.report_records import ARMS, write_run_of, write_stairs, write_study

Bsscale = Callable[..., Finished]


def summary(*paths: Path, baseline: str | None = None) -> Comparison:
    return summarize(find(paths), baseline)


def test_from_a_multirun_to_a_report(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(
        "-m", *SMALL, "hydra.sweep.dir=sweep", "schedule=fixed,onecycle", "gpus=4", "seed=0,1",
        "target=0.6",
    )  # fmt: skip
    assert done.code == 0, done.text
    # Neither a base_lr nor a data set is needed.
    done = bsscale("task=report", "task.runs=sweep", "task.out=report", "hydra.run.dir=run")
    assert done.code == 0, done.text
    out = tmp_path / "report"
    assert "2/2" in done.out and "report.html" in done.out
    for name in ("report.html", "report.md", "report.csv", "report.json"):
        assert (out / name).stat().st_size > 100
    for name in ("convergence", "samples_to_target"):
        assert (out / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (out / "figures" / f"{name}.svg").read_text()
    data = json.loads((out / "report.json").read_text())
    swept = json.loads((tmp_path / "sweep" / "comparison.json").read_text())
    assert data["arms"] == [
        {**arm, "seeds": [{**s, "directory": d["directory"]} for s, d in zip(
            arm["seeds"], other["seeds"], strict=True)]}
        for arm, other in zip(swept["arms"], data["arms"], strict=True)
    ]  # fmt: skip
    assert data["commands"][0].startswith("python -m bsscale -m dataset=synthetic")
    rows = list(csv.DictReader((out / "report.csv").read_text().splitlines()))
    assert [row["reached"] for row in rows] == ["2", "2"]
    rows = list(csv.DictReader((out / "samples.csv").read_text().splitlines()))
    assert [(row["batch"], row["seed"], row["status"]) for row in rows] == [
        ("128", seed, "reached") for _ in range(2) for seed in "01"
    ]
    assert [float(row["samples"]) for row in rows] == [
        each["samples"] for arm in data["arms"] for each in arm["seeds"]
    ]


@pytest.mark.slow
def test_a_glob_and_a_list_on_the_command_line(bsscale: Bsscale, tmp_path: Path) -> None:
    for seed in range(2):
        write_run_of(tmp_path / "a" / str(seed), "a", seed, 1000.0, gpus=1)
        write_run_of(tmp_path / "b" / str(seed), "b", seed, 2000.0)
    done = bsscale("task=report", "task.runs=[a,b/0]", "hydra.run.dir=run", "task.baseline=b")
    assert done.code == 0, done.text
    data = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [(arm["arm"], arm["runs"]) for arm in data["arms"]] == [("a", 2), ("b", 1)]
    assert data["arms"][0]["ratio_to_baseline"]["ratio"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["task.runs=None"]),
        (["task.runs=nowhere"], ["nowhere", "no such directory"]),
        (["task.runs=[]"], ["names no directory"]),
        (["task.runs=empty"], ["nothing to report on", "is empty"]),
        (["task.runs=runs", "task.baseline=c"], ["task.baseline='c'", "the arms are 'a'"]),
        (["task.runs=runs", "task.out=/dev/null/x"], ["cannot be written"]),
    ],
)
def test_what_cannot_be_reported(
    bsscale: Bsscale, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    write_run_of(tmp_path / "runs" / "0", "a", 0, 1000.0)
    done = bsscale("task=report", *arguments)
    assert done.code == 1
    assert all(word in done.text for word in words), done.text
    assert "Traceback" not in done.text


def test_whatever_is_broken_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    for seed in range(9):
        write_run_of(tmp_path / str(seed), "a", seed, 100_000.0)
    run = json.loads((tmp_path / "0" / "run.json").read_text())
    (tmp_path / "0" / "run.json").unlink()
    (tmp_path / "1" / "run.json").write_text("not JSON")
    (tmp_path / "2" / "run.json").write_text(json.dumps({**run, "format_version": 99}))
    (tmp_path / "3" / "run.json").write_text(json.dumps({**run, "samples_to_target": "soon"}))
    (tmp_path / "4" / "run.json").write_bytes(b"\xff\xfe\x00")
    lines = (tmp_path / "5" / "evals.jsonl").read_text()
    (tmp_path / "5" / "evals.jsonl").write_text(lines[:-20])  # cut off while being written
    (tmp_path / "6" / "evals.jsonl").write_text(lines[:50] + "\n" + lines)
    (tmp_path / "7" / "evals.jsonl").write_bytes(b"\xff\xfe\x00\n")
    (tmp_path / "9").mkdir()
    report = write_report([tmp_path], tmp_path / "out")
    [arm] = report.comparison.arms
    assert [result.seed for result in arm.seeds] == [5, 6, 7, 8]
    reasons = {Path(x.directory).name: x.reason for x in report.comparison.left_out}
    assert reasons.keys() == set("0123467")
    assert "has not ended" in reasons["0"] and "cannot be read" in reasons["1"]
    assert "format_version 99" in reasons["2"] and "samples_to_target" in reasons["3"]
    assert reasons["6"].startswith("its curve only")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "the run has not ended" in page and "7 left out or failed" in page


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "3", '{"format_version": 7}', "{", '"x"', "[" * 100_000]
)
def test_a_study_that_cannot_be_read_does_not_hide_its_runs(tmp_path: Path, text: str) -> None:
    study = write_study(tmp_path / "study", seeds=range(2))
    (study / "study.json").write_text(text)
    found = find([study])
    assert len(found.runs) == 2 * len(ARMS) and not found.studies
    assert "study.json" in found.left_out[0].reason


def test_a_field_of_another_type_is_named_and_the_runs_are_shown(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", seeds=range(2))
    full = json.loads((study / "study.json").read_text())
    for field in full:
        for value in (None, 3, "x", [None, 3, "x"], {"x": None}):
            if field != "format_version":
                (study / "study.json").write_text(json.dumps({**full, field: value}))
                found = find([study])
                assert len(found.runs) == 2 * len(ARMS)
                for read in found.studies:
                    plan_followed(read, [])
                if not found.studies:
                    assert f"$.{field}" in found.left_out[0].reason
    (study / "study.json").write_text("{}")
    report = write_report([study], tmp_path / "out")
    assert len(report.comparison.arms) == len(ARMS)


def test_a_study_names_its_baseline_and_its_order(tmp_path: Path) -> None:
    made = summary(write_study(tmp_path / "study"))
    assert [arm.arm for arm in made.arms] == list(ARMS)
    assert {arm.baseline for arm in made.arms} == {"1 GPU"}
    assert made.arms[0].role == "baseline" and made.arms[0].ratio is None
    fixed = made.arms[1]
    assert (fixed.counts["reached"], fixed.counts["diverged"]) == (6, 1)
    assert fixed.samples_to_target is not None and fixed.samples_to_target.high == float("inf")
    assert fixed.short in " ".join(answers(made, Sources())[0].sentences)


def test_two_studies_side_by_side(tmp_path: Path) -> None:
    first = write_study(tmp_path / "one", seeds=range(2), name="sgd")
    other = write_study(tmp_path / "two", seeds=range(2), name="adam")
    made = summary(first, other)
    assert [arm.arm for arm in made.arms][::4] == ["sgd: 1 GPU", "adam: 1 GPU"]
    assert [arm.baseline for arm in made.arms][::4] == ["sgd: 1 GPU", "adam: 1 GPU"]
    crossed = summary(first, other, baseline="sgd: 1 GPU")
    assert {arm.baseline for arm in crossed.arms} == {"sgd: 1 GPU"}
    # Of one name, they are told apart by where they lie.
    same = summary(first, write_study(tmp_path / "three", seeds=range(2), name="sgd"))
    assert len({arm.arm for arm in same.arms}) == 8


def test_whether_the_plan_was_followed(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", seeds=range(2))
    found = find([study])
    assert plan_followed(found.studies[0], found.runs)[0].startswith("The registered plan was foll")
    data = json.loads((study / "study.json").read_text())
    data["amendments"] = [
        {"arms_added": [{**data["registered"]["arms"][1], "name": "extra"}], "seeds_added": [7]}
    ]
    data["deviations"] = ["the target was moved"]
    (study / "study.json").write_text(json.dumps(data))
    found = find([study])
    said = " ".join(plan_followed(found.studies[0], found.runs))
    for words in ("arms added: extra", "seeds added: 7", "Deviation: the target was moved",
                  "Missing: 1 GPU, seed 7.", "Missing: extra, seeds 0, 1, 7."):  # fmt: skip
        assert words in said


def test_tuning_runs_are_no_arms_and_a_range_test_is_read(tmp_path: Path) -> None:
    found = find([write_study(tmp_path / "study", seeds=[0])])
    assert {run.record.arm for run in found.runs} == set(ARMS)
    [test] = found.range_tests
    assert list(test.curves) == ["1000000", "1000001"] and test.marks["cycle_max_lr"] == 2.6


def test_the_baseline_is_the_one_arm_at_one_gpu_and_no_other(tmp_path: Path) -> None:
    for seed in range(2):
        write_run_of(tmp_path / "m" / f"a{seed}", "a gpus=8", seed, 1000.0)
        write_run_of(tmp_path / "m" / f"b{seed}", "b gpus=8", seed, 3000.0)
    assert {arm.baseline for arm in summary(tmp_path / "m").arms} == {None}
    for seed in range(2):
        write_run_of(tmp_path / "n" / f"c{seed}", "c gpus=1", seed, 2000.0, gpus=1)
    made = summary(tmp_path / "m", tmp_path / "n")
    assert {arm.baseline for arm in made.arms} == {"c gpus=1"}
    assert [row[5] for row in arms_table(made).rows] == ["0.50x", "1.50x", "baseline"]


def test_a_seed_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    write_run_of(tmp_path / "0", "a", 0, 1000.0)
    write_run_of(tmp_path / "1", "a", 0, 9000.0)
    made = summary(tmp_path)
    assert made.arms[0].trained == 1 and not made.failed
    assert "the same arm and seed" in made.set_aside[0].reason
    # Given twice, a run is one all the same.
    assert len(find([tmp_path, tmp_path / "0"]).runs) == 2


def test_arms_that_share_no_seed_are_not_compared(tmp_path: Path) -> None:
    write_run_of(tmp_path / "0", "a", 0, 1000.0, gpus=1)
    write_run_of(tmp_path / "1", "b", 1, 9000.0)
    _, b = summary(tmp_path).arms
    assert b.ratio is None and "shares no seed with a" in (b.verdict or "")


def test_labels_leave_out_what_all_arms_share(tmp_path: Path) -> None:
    made = summary(write_stairs(tmp_path / "stairs"))
    assert [arm.short.split()[-1] for arm in made.arms] == [
        "cycle_first_stair_count=0", "cycle_first_stair_count=5", "cycle_first_stair_count=20",
    ]  # fmt: skip
    assert all("base_lr=0.2" in arm.arm and "base_lr" not in arm.short for arm in made.arms)


def test_long_labels_keep_what_tells_arms_apart(tmp_path: Path) -> None:
    counts = [(first, second) for first in (0, 20) for second in (0, 20)]
    for job, (first, second) in enumerate(counts):
        own = f"schedule.cycle_first_stair_count={first} schedule.cycle_second_stair_count={second}"
        arm, schedule = (
            f"onecycle gpus=8 {own}",
            {
                "name": "onecycle",
                "cycle_first_stair_count": first,
            },
        )
        write_run_of(tmp_path / str(job), arm, 0, 1000.0, schedule=schedule)
    made = summary(tmp_path)
    assert [arm.short for arm in made.arms] == [
        f"cycle_first_stair_count={first} cycle_second_stair_count={second}"
        for first, second in counts
    ]
    [stairs] = [each for each in figures(made, [], []) if each.name == "stairs"]
    assert list(stairs.keys) == [arm.short for arm in made.arms]
    assert {row[1] for row in stairs.table.rows} == {
        "cycle_second_stair_count=0", "cycle_second_stair_count=20"
    }  # fmt: skip


def test_markdown_and_csv_hold_no_markup_and_no_formula(tmp_path: Path) -> None:
    write_run_of(tmp_path / "0", "=HYPERLINK(1)|<b>", 0, 1000.0)
    write_report([tmp_path], tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "<b>" not in text and r"\|" in text
    assert "'=HYPERLINK" in (tmp_path / "out" / "report.csv").read_text()


def test_globs_are_in_the_order_of_jobs(tmp_path: Path) -> None:
    for job in (0, 2, 10):
        (tmp_path / str(job)).mkdir()
    assert [path.name for path in matching([str(tmp_path / "*")])] == ["0", "2", "10"]
    with pytest.raises(RecordsError, match="no such directory"):
        matching([str(tmp_path / "x*")])


@pytest.mark.slow
def test_a_page_of_many_arms_is_no_larger(tmp_path: Path) -> None:
    for arm in range(40):
        for seed in range(3):
            where = tmp_path / "runs" / str(arm) / str(seed)
            label = f"onecycle gpus=8 schedule.cycle_max_lr={arm}"
            write_run_of(where, label, seed, 300_000 + 1000.0 * arm, budget=2_000_000)
    report = write_report([tmp_path / "runs"], tmp_path / "out")
    assert len(report.comparison.arms) == 40
    assert report.files[0].stat().st_size < 2_000_000
