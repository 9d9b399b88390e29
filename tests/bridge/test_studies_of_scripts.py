"""Whole runs, sweeps and studies of scripts, by the commands that users type."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import read_run
from bsscale.records.study_record import read_study
from bsscale.report.closing import closing_table
from bsscale.report.summarize import compare
from tests.conftest import Finished, command, python_path

Bsscale = Callable[..., Finished]
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "your_script.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python -m bsscale (.*)$", PAGE, flags=re.MULTILINE)
AWK = ("trainer=script", f'trainer.command="sh {ROOT}/examples/awk_loop.sh"', "metric=log_loss")
STUDY = (
    *AWK,
    "task=study",
    "trainer.samples_per_pass=4096",
    "trainer.search_range=[0.03,3]",
    "gpus=8",
    "micro_batch=16",
    "eval_interval_samples=512",
    "tracker=none",
    "task.directory=study",
    "task.seeds=2",
    "task.trials=3",
    "task.tuning_seeds=1",
    "task.finalist_seeds=1",
    "task.target_seeds=2",
    "task.margin=0.01",
    *(
        f"~task.arms.{name}"
        for name in (
            "sqrt_scaling",
            "linear_warmup",
            "onecycle",
            "tuned_onecycle",
            "onecycle_one_gpu",
        )
    ),
)


def typed(which: str) -> list[str]:
    """The words of the command on the page that has these."""
    [line] = [each for each in COMMANDS if which in each]
    return shlex.split(line)


@pytest.mark.parametrize("which", ['awk_loop.sh"', "awk_loop.sh {rates}"])
def test_the_script_without_python_as_on_the_page(
    which: str, bsscale: Bsscale, tmp_path: Path
) -> None:
    done = bsscale(*typed(which), "tracker=none", f"hydra.run.dir={tmp_path}", cwd=ROOT)
    assert done.code == 0 and "status  reached" in done.out, done.text
    # (Other rates than the schedule's would be refused.)
    rates = {point.lr for point in read_evals(tmp_path)}
    assert rates == {0.3} if which.endswith('"') else len(rates) > 1
    assert (tmp_path / "rates.csv").exists() == (not which.endswith('"'))


@pytest.mark.parametrize("where", ["README.md", "docs/your_script.md"])
def test_the_plans_of_the_studies_of_one_s_own_script_as_typed(
    where: str, bsscale: Bsscale, tmp_path: Path
) -> None:
    text = (ROOT / where).read_text(encoding="utf-8")
    lines = re.findall(r"^python -m bsscale (.* 'trainer.command=.*train.py.*)$", text, flags=re.M)
    assert lines
    rows = [f"a,{seed},{at},{at / 3e6}" for seed in range(10) for at in (500_000, 2_000_000)]
    (tmp_path / "curves.csv").write_text("\n".join(["arm,seed,samples,auc", *rows]) + "\n")
    (tmp_path / "train.py").write_text("raise SystemExit('a dry run starts nothing')")
    for line in lines:
        done = bsscale(*shlex.split(line), "dry_run=true")
        assert done.code == 0 and "in all" in done.out, done.text


@pytest.mark.slow
def test_the_run_of_the_torch_script_as_typed(bsscale: Bsscale, tmp_path: Path) -> None:
    words = typed("torch_loop.py\"' base_lr")
    done = bsscale(*words, "tracker=none", f"hydra.run.dir={tmp_path}", cwd=ROOT)
    assert done.code == 0 and "budget spent" in done.out, done.text


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("model=mlp", "model=mlp does nothing with trainer=script"),
        ("optimizer.momentum=0.5", "optimizer.momentum=0.5 does nothing with trainer=script"),
        ("executor=ddp", "name the processes in trainer.command"),
        ("schedule=onecycle", "trainer.command has {lr}, one number for the whole run"),
    ],
)
def test_what_does_nothing_with_a_script_is_refused(
    option: str, words: str, bsscale: Bsscale
) -> None:
    script = ("trainer=script", 'trainer.command="train {lr}"', "trainer.samples_per_pass=9000")
    done = bsscale(*script, "base_lr=0.1", option)
    assert done.code == 1 and words in done.text, done.text
    assert "Traceback" not in done.text


def test_a_dry_run_starts_no_script_and_says_what_fits(bsscale: Bsscale, tmp_path: Path) -> None:
    limits = ("task.max_runs=60", "task.max_hours=2", "trainer.samples_per_s=100")
    done = bsscale(*STUDY, "task.seeds=10", "dry_run=true", *limits)
    assert done.code == 0, done.text
    [cost] = re.findall(r"samples in at most (\d+) runs, ([\d.]+) hours", done.out)
    assert int(cost[0]) <= 60 and float(cost[1]) <= 2
    assert "given up  " in done.out and "report seeds instead of 10" in done.out
    assert not (tmp_path / "study").exists()
    done = bsscale(*STUDY, "dry_run=true", "task.max_runs=5")
    assert done.code == 1 and "the smallest study with these options takes" in done.text


@pytest.mark.slow
def test_a_sweep_and_a_range_test(bsscale: Bsscale, tmp_path: Path) -> None:
    page = typed("torch_loop.py\"' base_lr")
    words = (*page, "tracker=none", "-m", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    done = bsscale(*words, "schedule=fixed,onecycle", "trainer.samples_per_pass=16384", cwd=ROOT)
    assert done.code == 0, done.text
    assert "fixed gpus=1" in done.out and "onecycle gpus=1" in done.out
    again = [word for word in page if "budget_samples" not in word and "base_lr" not in word]
    done = bsscale(
        *again,
        "task=range_test",
        "gpus=8",
        "task.seeds=2",
        "trainer.samples_per_pass=16384",
        "trainer.search_range=[0.01,1]",
        f"hydra.run.dir={tmp_path / 'range'}",
        "workers=2",
        cwd=ROOT,
    )
    assert (tmp_path / "range" / "range_test.json").exists(), done.text


@pytest.mark.slow
def test_scikit_learn_as_in_the_example(bsscale: Bsscale, tmp_path: Path) -> None:
    text = (ROOT / "examples" / "sklearn_loop.py").read_text(encoding="utf-8")
    [words] = re.findall(r"^python -m bsscale (.*?)\n\"\"\"", text, flags=re.DOTALL | re.MULTILINE)
    words = shlex.split(words.replace("\\\n", " "))
    done = bsscale(*words, "tracker=none", f"hydra.run.dir={tmp_path}", cwd=ROOT)
    assert done.code == 0, done.text
    assert read_run(tmp_path).best_value > 0.8  # type: ignore[operator]


@pytest.mark.slow
def test_a_script_of_one_s_own_writes_the_records_of_a_report(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": python_path()}
    words = [command()[0], str(ROOT / "examples" / "torch_loop.py")]
    subprocess.run(words, cwd=tmp_path, env=environment, check=True)
    [path] = tmp_path.glob("runs/*/*/run.json")
    assert (read_run(path.parent).noise_scale_windows or 0) > 3
    done = bsscale("task=report", "task.runs=runs", "task.out=report")
    assert done.code == 0 and (tmp_path / "report" / "report.html").exists(), done.text


@pytest.mark.slow
def test_the_same_training_gives_the_same_report(bsscale: Bsscale, tmp_path: Path) -> None:
    loop = ROOT / "tests" / "bridge" / "logistic_loop.py"
    shared = (
        "-m", "schedule=fixed,onecycle", "gpus=1,8", "seed=0", "micro_batch=32", "base_lr=0.1",
        "budget_samples=80000", "target=0.715", "eval_interval_samples=2048", "tracker=none",
    )  # fmt: skip
    ours = ("dataset=synthetic", "dataset.samples_per_pass=20000", "model=logistic")
    ours += ("dataset.validation_samples=4000", "dataset.test_samples=2000", "precision=fp64")
    script = ("trainer=script", f'trainer.command="{command()[0]} {loop}"', "trainer.momentum=0.9")
    script += ("trainer.samples_per_pass=20000", "workers=2")
    for name, words in (("ours", ours), ("script", script)):
        done = bsscale(*shared, *words, f"hydra.sweep.dir={tmp_path / name}")
        assert done.code == 0, done.text
    for number in range(4):
        mine, other = (read_run(tmp_path / name / str(number)) for name in ("ours", "script"))
        assert (mine.samples_to_target or 0) == pytest.approx(other.samples_to_target or 0, 1e-9)
        assert mine.samples_to_target_interval == other.samples_to_target_interval
        assert (mine.status, mine.steps, mine.reason) == (other.status, other.steps, other.reason)
        points = zip(
            read_evals(tmp_path / "ours" / str(number)),
            read_evals(tmp_path / "script" / str(number)),
            strict=True,
        )
        for a, b in points:
            assert a.metrics["auc"] == pytest.approx(b.metrics["auc"], rel=1e-12)
            assert a.metrics["log_loss"] == pytest.approx(b.metrics["log_loss"], rel=1e-9)
            assert (a.samples, a.lr, a.momentum) == (b.samples, b.lr, b.momentum)
    tables = [
        closing_table(compare([tmp_path / name / str(number) for number in range(4)]))
        for name in ("ours", "script")
    ]
    without_labels = [re.findall(r"[\d,.]+[\d%]", table) for table in tables]
    assert without_labels[0] == without_labels[1]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that nothing has interrupted."""
    directory = tmp_path_factory.mktemp("undisturbed")
    environment = {**os.environ, "PYTHONPATH": python_path()}
    done = subprocess.run(
        [*command(), *STUDY], cwd=directory, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "measured: " in done.stdout and "samples/s; the study takes at most" in done.stdout
    return directory / "study"


def outcome(directory: Path) -> dict[str, Any]:
    """What a study has settled, and the result of every run."""
    study = read_study(directory)
    runs = {
        str(path.parent.relative_to(directory)): read_run(path.parent)
        for path in sorted(directory.rglob("run.json"))
    }
    return {
        "study": (study.hash, study.base_lr, study.target, study.budget_samples),
        **{
            name: (run.status, run.reason, run.samples_to_target, run.best_value, run.base_lr)
            for name, run in runs.items()
        },
    }


@pytest.mark.slow
def test_a_study_of_a_script_ends_with_its_report(undisturbed: Path) -> None:
    assert (undisturbed / "report" / "report.html").exists()
    found = outcome(undisturbed)
    assert {name.split("/")[1] for name in found if name.startswith("runs/")} == {
        "one_gpu", "fixed", "linear_scaling", "tuned_constant"
    }  # fmt: skip
    report = (undisturbed / "report" / "report.md").read_text(encoding="utf-8")
    assert "log loss" in report and "None" not in report
