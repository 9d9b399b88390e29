"""Curves from elsewhere: every format gives the same numbers, and what is ambiguous is refused."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bsscale.bridge.curves import Names, Wanted, import_curves, wanted_of
from bsscale.cli.jobs import Job
from bsscale.cli.tasks import TASKS
from bsscale.cli.tasks.task import refuse_replaced
from bsscale.errors import BsscaleError, ConfigError, RecordsError
from bsscale.report.answer import Answer, answers
from bsscale.report.charts.figure import styles_of
from bsscale.report.charts.gpus import gpus_figure
from bsscale.report.palette import INK
from bsscale.report.read import find, matching
from bsscale.report.summarize import summarize
from bsscale.report.write import Report, write_report
from tests import curve_files
from tests.composing import composed, hydra
from tests.conftest import Finished
from tests.curve_files import EXPECTED, STEP, TARGET, csv_text, mllog, write_csv
from tests.report_records import write_run_of

__all__ = ["hydra"]  # (a fixture)

Bsscale = Callable[..., Finished]
Write = Callable[[Path], Path]


def wanted(target: float | None = TARGET, **options: Any) -> Wanted:
    names = Names(**options.pop("names", {}))
    given = {"metric": "log_loss", "direction": None, "samples_per_step": None, "layout": None}
    return wanted_of(target=target, names=names, **{**given, **options})


def numbers(path: Path, how: Wanted) -> dict[tuple[str, int], tuple[Any, ...]]:
    """Of each imported run: status, samples to target, and its interval."""
    return {
        (run.record.arm, run.record.seed): (
            run.record.status,
            run.record.samples_to_target,
            run.record.samples_to_target_interval,
        )
        for run in find(matching([str(path)]), how).runs
    }


def assert_as_expected(path: Path, how: Wanted) -> None:
    found = numbers(path, how)
    assert found.keys() == EXPECTED.keys()
    for run, (status, samples, interval) in EXPECTED.items():
        assert found[run][0] == status and found[run][2] == interval, run
        assert found[run][1] == (None if samples is None else pytest.approx(samples, rel=1e-12))


@pytest.mark.parametrize(
    "write",
    [write_csv, curve_files.write_tsv, curve_files.write_parquet, curve_files.write_jsonl,
     curve_files.write_mlperf],
)  # fmt: skip
def test_every_format_gives_the_numbers_that_were_computed_by_hand(
    write: Write, tmp_path: Path
) -> None:
    assert_as_expected(write(tmp_path), wanted())


def test_mlperf_logs_by_mlperf_logging(tmp_path: Path) -> None:
    pytest.importorskip("mlperf_logging")
    assert_as_expected(curve_files.write_passes(tmp_path), wanted())


@pytest.mark.parametrize(
    ("library", "write"),
    [
        ("tensorboard", curve_files.write_tensorboard),
        ("tensorboardX", curve_files.write_tensorboardx),
        ("tensorboard", curve_files.write_tensors),
    ],
)
def test_event_files_of_tensorboard(library: str, write: Write, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip(library)
    path = write(tmp_path)
    assert_as_expected(path, wanted(samples_per_step=STEP))
    with pytest.raises(
        RecordsError, match="has no 'samples', only step, log_loss, train/loss"
    ) as e:
        numbers(path, wanted())
    assert "task.samples_per_step=N" in e.value.remedy
    shifted = numbers(path, wanted(samples_per_step=STEP, names={"metric": "train/loss"}))
    assert {each[0] for each in shifted.values()} == {"exhausted", "diverged"}


def test_event_files_need_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "events.out.tfevents.1.host").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.backend.event_processing", None)
    with pytest.raises(ConfigError, match="tensorboard is not installed") as error:
        find([tmp_path], wanted())
    assert "pip install 'bsscale[tensorboard]'" in error.value.remedy


@pytest.mark.slow
def test_offline_runs_of_wandb(tmp_path: Path) -> None:
    path = curve_files.write_wandb(tmp_path)
    assert_as_expected(path, wanted())
    # Another key of the config is the arm; all runs then have the same one, and three its seed.
    arms = {run.record.arm for run in find([path], wanted(names={"arm": "optimizer.name"})).runs}
    assert arms == {"sgd"}
    with pytest.raises(RecordsError, match="has no 'auc', only"):
        find([path], wanted(metric="auc"))


def test_several_sources_at_once(tmp_path: Path) -> None:
    lines = csv_text().splitlines()
    fixed = [line for line in lines[1:] if line.startswith("fixed")]
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress("\n".join([lines[0], *fixed]).encode()))
    large = [row for row in curve_files.rows() if row["arm"] == "large"]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, large)))
    both = [str(tmp_path / "a.csv.gz"), str(tmp_path / "*.jsonl")]
    found = find(matching(both), wanted()).runs
    assert [(r.record.arm, r.record.seed) for r in found] == list(EXPECTED)
    assert {r.imported.format for r in found if r.imported} == {"CSV", "JSONL"}


def test_columns_of_other_names(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(csv_text(",", "setup", "trial", "tokens", "val/loss"))
    names = {"arm": "setup", "seed": "trial", "samples": "tokens", "metric": "val/loss"}
    assert_as_expected(path, wanted(names=names))
    for missing, option in (("arm", "arm"), ("tokens", "samples"), ("loss", "metric")):
        given = {**names, option: "none"}
        with pytest.raises(RecordsError, match="has no 'none', only setup, trial, tokens") as error:
            find([path], wanted(names=given))
        assert error.value.remedy.endswith(f"task.columns.{option}=NAME"), missing


def test_steps_of_every_arm(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("arm,seed,step,log_loss\na,0,10,0.4\nb,0,10,0.4\n")
    found = numbers(path, wanted(samples_per_step={"a": 100, "b": 800}))
    assert {arm: each[1] for (arm, _), each in found.items()} == {"a": 1000.0, "b": 8000.0}
    with pytest.raises(ConfigError, match="no value for the arm 'b', only for 'a'"):
        numbers(path, wanted(samples_per_step={"a": 100}))


def test_runs_without_seeds_are_numbered_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(
        "arm,run,samples,log_loss\na,x,1,0.9\na,x,2,0.4\na,y,1,0.4\na,y,2,0.3\nb,z,1,0.4\n"
    )
    report = summarize(find([path], wanted()))
    assert [[each.seed for each in arm.seeds] for arm in report.arms] == [[0, 1], [0]]
    # A table without both has one run for each arm.
    path.write_text("arm,samples,log_loss\na,1,0.9\na,2,0.4\nb,1,0.4\n")
    assert numbers(path, wanted())["b", 0] == ("reached", 1.0, (0, 1))


@pytest.mark.parametrize(
    ("path", "layout", "expected"),
    [
        ("fixed/seed-3", None, ("fixed", 3)),
        ("fixed/3", None, ("fixed", 3)),
        ("x/fixed_seed3", None, ("fixed", 3)),
        ("x/fixed-3", None, ("fixed", 3)),
        ("x/8 GPUs", None, ("8 GPUs", 0)),
        ("x/lr0.1/3", None, ("lr0.1", 3)),
        ("x/gpus=8", None, ("gpus=8", 0)),
        ("x/lr=0.1_seed=7", None, ("lr=0.1", 7)),
        ("a/b/trial7", "ARM/b/trialSEED", ("a", 7)),
        ("7-of-a/log", "SEED-of-ARM/log", ("a", 7)),
        ("a/wandb/run-1", "ARM/wandb/*", ("a", 0)),
    ],
)
def test_arm_and_seed_from_the_path(
    tmp_path: Path, path: str, layout: str | None, expected: tuple[str, int]
) -> None:
    file = tmp_path / f"{path}.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(mllog("log_loss", 0.4, samples_count=3))
    assert list(numbers(tmp_path, wanted(layout=layout))) == [expected]


HEADER = "arm,seed,samples,log_loss\n"


@pytest.mark.parametrize(
    ("name", "text", "fact", "remedy"),
    [
        ("a.csv", "", "is empty", "header and rows"),
        ("a.csv", HEADER, "no rows below its header", "rows"),
        ("a.csv", HEADER + "a,0,10,0.5\na,0,10,0.4\n",
         "the arm 'a' has two values of log_loss after 10 samples in one run: row 2 of",
         "add a column seed"),
        ("a.csv", HEADER + "a,0,10,n/a\n", "log_loss is 'n/a' in row 2", "write a number"),
        ("a.csv", HEADER + "a,0,1_000,0.4\n", "samples is '1_000' in row 2", "write a number"),
        ("a.csv", HEADER + "a,0,10.5,0.4\n", "samples is 10.5 in row 2", "task.samples_per_step=N"),
        ("a.csv", HEADER + "a,0,-1,0.4\n", "samples is -1 in row 2", "whole number"),
        ("a.csv", HEADER + "a,0,,0.4\n", "samples is missing in row 2", "training samples"),
        ("a.csv", HEADER + "a,0,nan,0.4\n", "samples is nan in row 2", "whole number"),
        ("a.csv", HEADER + "a,x,1,0.4\n", "seed is 'x' in row 2", "write a number"),
        ("a.csv", HEADER + "a,1.5,1,0.4\n", "seed is 1.5 in row 2", "call the column run"),
        ("a.csv", HEADER + ",0,1,0.4\n", "row 2 of", "name its arm"),
        ("a.csv", HEADER + "a,0,1,\n", "has no value of log_loss", "name the metric"),
        ("a.csv", HEADER + "a,0,1\n", "has 3 fields", "4 fields"),
        ("a.csv", "arm,seed,samples,loss\na,0,1,0.4\n",
         "has no 'log_loss', only arm, seed, samples, loss",
         "task.columns.metric=NAME"),
        ("a.jsonl", "", "is empty", "evaluations"),
        ("a.jsonl", '{"arm": "a"\n', "line 1 of", "one object on each line"),
        ("a.jsonl", "[1]\n", "is not an object", "one object on each line"),
        ("a.jsonl", '{"arm": "a", "seed": 0, "samples": 1, "log_loss": true}\n',
         "log_loss is True in line 1", "write a number"),
        ("a.parquet", "PAR1", "cannot read", "whole Parquet file"),
        ("a.xlsx", "x", "is no file of curves that is known here", ".csv"),
        ("a.log", ":::MLLOG {\n:::MLLOG {}\n", "line 1 of", "leave the line out"),
        ("a.log", mllog("log_loss", 0.4), "has no 'samples', only log_loss",
         "neither samples_count"),
        ("a.log", mllog("eval_accuracy", 0.4, samples_count=1),
         "has no 'log_loss', only eval_accuracy", "task.columns.metric=NAME"),
        ("a.log", "\n".join(mllog("log_loss", 0.9, samples_count=n) for n in (2, 1)),
         "1 samples follow 2 in evaluation 2", "repeats evaluations"),
    ],
)  # fmt: skip
def test_what_is_ambiguous_is_refused(
    tmp_path: Path, name: str, text: str, fact: str, remedy: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(RecordsError) as error:
        import_curves([tmp_path / name], wanted())
    assert fact in error.value.fact and name in error.value.fact, error.value.fact
    assert remedy in error.value.remedy


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"metric": "perplexity"}, "task.direction of perplexity is missing"),
        ({"direction": "down"}, "task.direction=down is neither max nor min"),
        ({"direction": "max"}, "task.direction=max for log_loss, of which lower values are better"),
        ({"metric": " "}, "task.metric is empty"),
        ({"target": float("nan")}, "task.target=nan is no number"),
        ({"samples_per_step": 0}, "task.samples_per_step=0 is no number above 0"),
        ({"samples_per_step": {"a": "x"}}, "is no number above 0"),
        ({"layout": "SEED"}, "does not have ARM once"),
        ({"layout": "ARM"}, "does nothing: the files are tables"),
    ],
)
def test_options_that_cannot_be_used(tmp_path: Path, options: dict[str, Any], fact: str) -> None:
    path = write_csv(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(fact)):
        find([path], wanted(**options))


# --- The report ---


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    """Of log losses, of which lower values are better; tests only read it."""
    directory = tmp_path_factory.mktemp("curves")
    words = ["task=report", "task.runs=curves.csv", "task.metric=log_loss", "task.target=0.5"]
    made = write_report(
        [write_csv(directory)],
        directory / "out",
        "fixed",
        wanted(),
        [*words, "task.baseline=fixed"],
    )
    return made, directory / "out"


def test_a_report_of_curves_reads_right_where_lower_is_better(report: tuple[Report, Path]) -> None:
    made, out = report
    fixed, large = made.comparison.arms
    assert (fixed.is_baseline, large.baseline) == (True, "fixed")
    # Paired over three seeds; the medians are 2560 and 4096.
    assert large.ratio is not None and large.ratio.ratio == 1.6
    assert (fixed.median_best_value, large.median_best_value) == (0.25, 0.375)
    assert (
        "large reached log loss 0.5 with 1.60x the samples of fixed (3 seeds)."
        in made.answers[0].text
    )
    text = (out / "report.md").read_text()
    assert "| large | 2/3 | 1/3 | 4,096 | 1,024 - missed | 1.60x |" in text
    rows = list(csv.DictReader((out / "report.csv").read_text().splitlines()))
    assert [(r["arm"], r["metric"], r["direction"], r["median_best_value"]) for r in rows] == [
        ("fixed", "log_loss", "min", "0.25"), ("large", "log_loss", "min", "0.375"),
    ]  # fmt: skip
    assert [(r["imported"], r["gpus"]) for r in rows] == [("True", ""), ("True", "")]
    svg = (out / "figures" / "convergence.svg").read_text()
    assert "lower is better" in svg and "higher is better" not in svg
    assert "higher" not in text


def test_a_report_marks_what_was_imported_and_says_what_is_not_known(
    report: tuple[Report, Path],
) -> None:
    made, out = report
    page = (out / "report.html").read_text()
    assert "curves imported from curves[1].csv (CSV)" in page and "not registered" in page
    assert "fewest first; all arms are imported" in page and "(imported)" not in page
    said = json.loads((out / "report.json").read_text())["limits"]
    text = " ".join(said)
    for words in (
        "All arms are imported from curves that were recorded elsewhere. They were not registered",
        "Budgets and settings of imported curves are not recorded.",
        "reached the target at their last evaluation, which no other confirms: 1 of 2 of fixed.",
        "at the target at their first evaluation: 1 of 2 of large.",
        "fixed 1,024 (50% of its samples to the target), large 1,024 (62% of its samples to the "
        "target)",
        "A run counts as diverged if its last value is not finite (large).",
    ):
        assert words in text, said
    assert "(batch 0)" not in page and "0 GPU" not in page
    assert "missed the target (its curve ends)" in page
    assert "the time is not recorded" in page
    assert "python -m bsscale task=report task.runs=curves.csv" in page
    assert "1 GPU" not in page.replace("No 1-GPU", "")
    runs = [run for arm in made.comparison.arms for run in arm.runs]
    assert {run.directory.name for run in runs} == {"curves[1].csv"}


def test_figures_are_drawn_without_a_learning_rate(report: tuple[Report, Path]) -> None:
    _, out = report
    names = {path.stem for path in (out / "figures").iterdir()}
    assert {"convergence", "samples_to_target", "forest"} <= names
    text = (out / "report.md").read_text()
    assert "## log loss over samples" in text and "a triangle has ended, a cross" in text
    assert "learning rate" not in (out / "figures" / "convergence.svg").read_text()


def answered(path: Path, how: Wanted, words: list[str]) -> tuple[str, Answer]:
    """The words and the answer of a report that was asked for in these words."""
    found = find([path], how)
    found.report_command = words
    comparison = summarize(found)
    [answer] = answers(comparison, found)
    return answer.text, answer


def test_gpus_that_are_not_known_are_not_drawn(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    lines = [
        f"a gpus={gpus},{gpus},0,{gpus * n},{loss}"
        for gpus in (1, 2, 8)
        for n, loss in ((1, 0.9), (2, 0.4))
    ]
    text = ["arm,gpus,seed,samples,log_loss", *lines, "b,,0,9,0.4"]
    path.write_text("\n".join(text))
    made = summarize(find([path], wanted()))
    figure = gpus_figure(made)
    assert figure is not None and [row[1] for row in figure.table.rows] == ["1", "2", "8"]
    # An imported baseline is drawn as one.
    [baseline] = [arm for arm in made.arms if arm.is_baseline]
    assert baseline.gpus == 1 and styles_of(made.arms)[baseline.short].color == INK


def test_without_a_baseline_the_next_step_names_one(tmp_path: Path) -> None:
    words = ["task=report", "task.runs=curves.csv", "task.metric=log_loss", "task.target=0.5"]
    _, answer = answered(write_csv(tmp_path), wanted(), words)
    assert answer.kind == "no_baseline" and answer.next is not None
    assert answer.next.commands == (f"python -m bsscale {' '.join(words)} task.baseline=fixed",)


def test_curves_that_are_too_close_to_call_ask_for_seeds_and_no_command(tmp_path: Path) -> None:
    path, lines = tmp_path / "curves.csv", ["arm,gpus,seed,samples,log_loss"]
    for seed in range(6):
        for arm, gpus, pace in (("one", 1, 100), ("a", 8, 200), ("b", 8, 205 - 4 * (seed % 3))):
            lines += [f"{arm},{gpus},{seed},{n * pace},{1 - 0.3 * n}" for n in (1, 2, 3)]
    path.write_text("\n".join(lines))
    made = write_report([path], tmp_path / "out", None, wanted())
    [answer] = made.answers
    assert (answer.kind, answer.use) == ("tie", None)
    assert answer.next is not None and answer.next.commands == ()
    assert re.match(r"Add seeds to your curves, \d+ for each arm in all", answer.next.says)
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"{answer.next.says}.</p>" in page and 'more">learning rate<' not in page
    assert f"\n\n{answer.next.says}.\n" in (tmp_path / "out" / "report.md").read_text()


def test_without_a_target_the_best_values_are_compared(tmp_path: Path) -> None:
    words = ["task=report", "task.runs=curves.csv", "task.metric=log_loss"]
    said, answer = answered(write_csv(tmp_path), wanted(target=None), words)
    assert "The lowest median log loss, 0.2500, is that of fixed." in said
    # The worst of the arms' best values, made a little easier.
    assert answer.next is not None
    assert answer.next.commands == (f"python -m bsscale {' '.join(words)} task.target=0.3754",)


def test_the_only_arm_at_one_gpu_is_the_baseline(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    lines = [
        f"{arm},{seed},{gpus},{n},{loss}"
        for arm, gpus in (("a", 8), ("b", 1))
        for seed in (0, 1)
        for n, loss in ((gpus, 0.9), (2 * gpus, 0.4), (3 * gpus, 0.3))
    ]
    path.write_text("arm,seed,gpus,samples,log_loss\n" + "\n".join(lines))
    made = summarize(find([path], wanted()))
    assert [arm.gpus for arm in made.arms] == [8, 1]
    assert {arm.baseline for arm in made.arms} == {"b"}
    assert made.arms[0].ratio is not None and made.arms[0].ratio.ratio == 8.0


def test_curves_beside_runs_of_bsscale(tmp_path: Path) -> None:
    for seed in range(2):
        write_run_of(
            tmp_path / "own" / str(seed), "1 GPU", seed, 2048.0, gpus=1, metric="log_loss",
            direction="min", target=TARGET,
        )  # fmt: skip
    # Copies of these runs in W&B's files are not read twice.
    copy = tmp_path / "own" / "0" / "wandb" / "offline-run-1" / "run-1.wandb"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"")
    made = summarize(find([tmp_path / "own", write_csv(tmp_path)], wanted()))
    assert [(arm.arm, arm.imported) for arm in made.arms] == [
        ("1 GPU", False), ("fixed", True), ("large", True),
    ]  # fmt: skip
    assert {arm.baseline for arm in made.arms} == {"1 GPU"}


# --- The command ---


def test_the_command_of_the_documentation_as_typed(bsscale: Bsscale, tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "your_curves.md").read_text()
    [command] = re.findall(r"python -m bsscale (task=report .*)", page)
    (tmp_path / "curves.csv").write_text(csv_text())
    done = bsscale(*command.split(), "hydra.run.dir=out")
    assert done.code == 0, done.text
    # (The target is 0.46; by hand: 2048 + 1024 x 0.66, and 4096 + 1024 x 0.16.)
    assert re.search(r"fixed +2/3 +2,724\n.*large +2/3, 1 diverged +4,260\n", done.out), done.out
    assert {path.name for path in tmp_path.iterdir()} == {"curves.csv", "out"}


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["task.runs=curves.csv"], ["no metric is given that judges its", "task.metric=log_loss"]),
        (
            ["task.runs=own", "task.metric=auc"],
            ["task.metric=auc does nothing", "no curves to import"],
        ),
        (["task.runs=own", "task.target=0.4"], ["task.target is given without task.metric"]),
        (["task.runs=own", "task.columns.arm=x"], ["task.columns is given without task.metric"]),
        (["task.runs=logs"], ["1 run of another tool", "give task.metric=log_loss"]),
        (["task.runs=none.csv", "task.metric=auc"], ["no such directory or file"]),
        (["task.runs=curves.csv", "metric=auc"], ["metric=auc does nothing", "task.metric=NAME"]),
        (["task.runs=curves.csv", "target=0.4"], ["target=0.4 does nothing", "task.target=VALUE"]),
    ],
)
def test_what_the_command_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: list[str]
) -> None:
    (tmp_path / "curves.csv").write_text(csv_text())
    write_run_of(tmp_path / "own", "a", 0, 1000.0)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "fixed-0.log").write_text(mllog("log_loss", 0.4))
    monkeypatch.chdir(tmp_path)
    overrides = ["task=report", "task.out=out", *arguments]
    hydra_config = SimpleNamespace(overrides=SimpleNamespace(task=overrides))
    job = Job(composed(*overrides), hydra_config)
    with pytest.raises(BsscaleError) as error:
        refuse_replaced(TASKS["report"], "report", overrides)
        TASKS["report"].check(job)
        TASKS["report"].run(job)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("hydra")
def test_the_plan_says_what_the_curves_are_judged_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path)
    words = ["task=report", "task.runs=curves[1].csv", "task.metric=log_loss", "task.target=0.5"]
    job = Job(
        composed(*words[:1], f"task.runs='{words[1][10:]}'", *words[2:], "task.out=out"), None
    )
    TASKS["report"].check(job)
    assert "log loss, lower is better, target 0.5" in TASKS["report"].describe(job)
