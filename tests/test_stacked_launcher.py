"""``-m`` end to end: runs that are trained together leave what each would leave alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import read_run
from tests.conftest import SMALL, Finished
from tests.test_tracking import history, leet

Bsscale = Callable[..., Finished]

MLP = (*(a for a in SMALL if not a.startswith("model")), "model=mlp")
FOUR = ("schedule=fixed,onecycle", "seed=0,1", "hydra.sweep.dir=sweep")


def without(*prefixes: str) -> tuple[str, ...]:
    return tuple(argument for argument in MLP if not argument.startswith(prefixes))


def directories(tmp_path: Path, count: int, sweep: str = "sweep") -> list[Path]:
    return [tmp_path / sweep / str(number) for number in range(count)]


def results(log: str) -> list[str]:
    """The lines that say how a run ended: "onecycle gpus=1 seed=0: budget spent"."""
    lines = [line for line in log.splitlines() if "best AUC 0" in line and "seed=" in line]
    return [line.rpartition("] ")[2].partition(",")[0] for line in lines]


def test_four_runs_together_leave_what_four_runs_leave(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale("-m", *MLP, *FOUR)
    assert done.code == 0, done.text
    assert "4 runs, 4 at a time: layers" in done.out
    ends = results(done.out)
    assert len(set(ends)) == 4
    weights = []
    for number, directory in enumerate(directories(tmp_path, 4)):
        record = read_run(directory)
        schedule, seed = ("fixed", "onecycle")[number // 2], number % 2
        assert (record.schedule, record.seed, record.status) == (schedule, seed, "exhausted")
        assert record.environment["stack_width"] == 4
        assert read_evals(directory)[-1].samples == record.samples_seen
        assert {path.name for path in (directory / ".hydra").iterdir()} >= {"config.yaml"}
        # The log is the run's own: its result, and no other's.
        [own] = results((directory / "bsscale.log").read_text())
        assert own.startswith(schedule) and f"seed={seed}: " in own and "budget spent" in own
        assert own in ends
        weights.append(load_file(directory / "model.safetensors")["top.0.weight"])
    assert not any((weights[0] == other).all() for other in weights[1:])
    comparison = json.loads((tmp_path / "sweep" / "comparison.json").read_text())
    assert [arm["runs"] for arm in comparison["arms"]] == [2, 2] and not comparison["failed"]

    # Hydra's own launcher trains them one by one, to the same curves.
    done = bsscale("-m", *MLP, *FOUR[:2], "hydra/launcher=basic", "hydra.sweep.dir=basic")
    assert done.code == 0, done.text
    pairs = zip(directories(tmp_path, 4), directories(tmp_path, 4, "basic"), strict=True)
    for together, alone in pairs:
        assert read_run(alone).environment["stack_width"] == 1
        points, others = read_evals(together), read_evals(alone)
        assert [p.samples for p in points] == [p.samples for p in others]
        assert [p.lr for p in points] == [p.lr for p in others]
        for a, b in list(zip(points, others, strict=True))[:3]:
            assert a.metrics["auc"] == pytest.approx(b.metrics["auc"], abs=1e-3)


def test_a_directory_that_holds_something_refuses_the_sweep(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    occupied = tmp_path / "sweep" / "2" / "run.json"
    occupied.parent.mkdir(parents=True)
    occupied.write_text("{}")
    done = bsscale("-m", *MLP, *FOUR)
    assert done.code == 1
    assert "Traceback" not in done.text and "Nothing was trained: in the job" in done.text
    assert "already holds a run" in done.text and "hydra.sweep.dir=PATH" in done.text
    assert occupied.read_text() == "{}"
    assert list(tmp_path.rglob("*.json*")) == [occupied]
    assert not (tmp_path / "sweep" / "0").exists()


@pytest.mark.slow
def test_every_batch_is_a_stack_and_every_run_a_wandb_run(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(
        "-m", *without("tracker", "micro_batch"), "tracker=wandb", "micro_batch=32,64", "seed=0,1",
        "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert done.code == 0, done.text
    assert done.out.count("2 runs, 2 at a time: layers") == 2
    for number, directory in enumerate(directories(tmp_path, 4)):
        record = read_run(directory)
        assert (record.micro_batch, record.seed) == ((32, 64)[number // 2], number % 2)
        assert record.environment["stack_width"] == 2
        # Two W&B runs were open at a time: each has its own rows.
        mirrored = leet(directory)
        [run] = [item["run"] for item in mirrored if item["type"] == "run"]
        assert run["display_name"].endswith(f"seed={record.seed}")
        assert run["config"]["update"]["micro_batch"] == record.micro_batch
        points = read_evals(directory)
        expected = [(p.samples, p.metrics["auc"], p.metrics["log_loss"]) for p in points]
        rows = history(mirrored)
        assert [(r["samples"], r["auc"], r["log_loss"]) for r in rows] == expected
        assert mirrored[-1]["exit"]["exit_code"] == 0


def test_ctrl_c_ends_every_run_that_has_begun(tmp_path: Path) -> None:
    endless = (*without("budget"), "budget_passes=100000")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "bsscale", "-m", *endless,
         "seed=0,1,2,3,4,5", "hydra.sweep.dir=sweep", "workers=1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip

    def evaluated(run: int) -> bool:
        path = tmp_path / "sweep" / str(run) / "evals.jsonl"
        return path.exists() and path.read_text().count("\n") >= 2

    while process.poll() is None and not all(evaluated(run) for run in range(3)):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 130, output
    assert "Traceback" not in output and "interrupted" in output
    assert "the same command with hydra.sweep.dir=sweep goes on" in output
    # Six runs are three at a time, twice.
    for directory in directories(tmp_path, 6)[:3]:
        record = read_run(directory)
        assert (record.status, record.reason) == ("failed", "interrupted by Ctrl-C")
        assert record.samples_seen > 0
    for directory in directories(tmp_path, 6)[3:]:
        assert not (directory / "run.json").exists()
        assert not (directory / "evals.jsonl").exists()
