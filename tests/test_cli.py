"""The command line as a user meets it: real processes, real exit codes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import RunRecord, read_run
from tests.conftest import SMALL, Finished

Bsscale = Callable[..., Finished]
HERE = ("hydra.run.dir=run",)


def without_times(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "wall_s"} for line in lines]


def test_a_run_from_the_command_line_to_its_records(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(*SMALL, *HERE, "gpus=8", "schedule=onecycle", "target=0.55", "seed=3")
    assert done.code == 0, done.text
    record = read_run(tmp_path / "run")
    assert record.status == "reached"
    assert record.samples_to_target_interval is not None and record.samples_to_target is not None
    low, high = record.samples_to_target_interval
    assert low <= record.samples_to_target <= high
    assert (record.gpus, record.global_batch, record.seed) == (8, 256, 3)
    assert (record.schedule, record.model, record.dataset) == ("onecycle", "logistic", "synthetic")
    assert (record.metric, record.direction, record.objective) == ("auc", "max", "binary")
    assert record.best_possible is not None and record.test_value is not None
    assert record.config["schedule"]["cycle_max_mom"] == 0.9
    assert record.arm.startswith("onecycle gpus=8")

    data = json.loads((tmp_path / "run" / "run.json").read_text())
    assert set(data) == set(RunRecord.__struct_fields__) and data["format_version"] == 2
    lines = without_times(tmp_path / "run" / "evals.jsonl")
    names = ["step", "samples", "auc", "log_loss", "train_loss", "lr", "momentum"]
    assert [[name for name in line if name in names] for line in lines] == [names] * len(lines)
    assert lines[0]["step"] == 0 and lines[0]["lr"] is None
    assert lines[1]["momentum"] is not None
    for name in ("model.safetensors", "bsscale.log", ".hydra/config.yaml"):
        assert (tmp_path / "run" / name).exists()
    # What a person sees: how it ended, what it cost, where the records are.
    assert "reached" in done.out and "samples (between" in done.out and "run" in done.out


def test_the_same_seed_gives_the_same_run_and_gpus_the_same_grid(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    for name, gpus in (("a", 1), ("b", 1), ("c", 8)):
        assert bsscale(*SMALL, f"gpus={gpus}", f"hydra.run.dir={name}").code == 0
    first, again, large = (without_times(tmp_path / n / "evals.jsonl") for n in "abc")
    assert first == again
    assert [line["samples"] for line in large] == [line["samples"] for line in first]
    assert large[0] == first[0]
    assert large[-1] != first[-1]


@pytest.mark.slow
def test_the_tutorials_section_gives_deepspeeds_learning_rates(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    from tests.test_deepspeed import recorded

    section, _, rates, _ = recorded()[0]
    assert (
        section["params"]["cycle_first_step_size"] == 1000
        and section["params"]["cycle_max_lr"] == 1e-3
    )
    tutorial = [
        "schedule=onecycle", "schedule.cycle_min_lr=1e-4", "schedule.cycle_max_lr=1e-3",
        "schedule.cycle_first_step_size=1000", "schedule.cycle_second_step_size=1000",
        "schedule.cycle_first_stair_count=500", "schedule.cycle_second_stair_count=500",
        "schedule.decay_step_size=1000", "schedule.decay_lr_rate=0.001",
        "schedule.cycle_min_mom=0.85", "schedule.cycle_max_mom=0.99",
    ]  # fmt: skip
    done = bsscale(
        *SMALL, *HERE, *tutorial, "micro_batch=1", "gpus=8", "eval_interval_samples=8",
        "dataset.validation_samples=200", "budget_samples=27200", "budget_passes=null",
    )  # fmt: skip
    assert done.code == 0, done.text
    held = {point.step - 1: point.lr for point in read_evals(tmp_path / "run") if point.step}
    assert len(held) == 3400 > len(rates) - 1000
    for step, rate in enumerate(rates[:3400]):
        assert abs(held[step] - rate) <= 1e-12 * 1e-3


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["schedule=onecycel"], ["schedule=onecycel", "schedule=onecycle?"]),
        (["schedul=onecycle"], ["schedul"]),
        (["gpus=eight"], ["eight", "gpus"]),
        (["model.hiden=3"], ["model.hiden"]),
        (["gpus=0"], ["gpus=0", "gpus=1 or more"]),
        (["target=76"], ["target=76", "above 0.5 and below 1"]),
        (["gpus=100000"], ["3,200,000", "20,000", "smaller micro_batch"]),
        (["dataset.positive_rate=2"], ["positive_rate", "2"]),
        (["dataset=table", "dataset.path=none.csv", "dataset.label=y"], ["none.csv"]),
        (["model=custom", "model._target_=no.such.Net"], ["no.such.Net"]),
        (["base_lr=null"], ["base_lr", "base_lr=0.01,0.03,0.1,0.3,1"]),
        (["hydra.run.dir=/dev/null/x"], ["/dev/null/x", "hydra.run.dir=PATH"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_message_before_training(
    bsscale: Bsscale, tmp_path: Path, arguments: list[str], facts: list[str]
) -> None:
    run = HERE if not any(a.startswith("hydra.run.dir") for a in arguments) else ()
    synthetic = [a for a in SMALL if not a.startswith("dataset")]
    small = synthetic if arguments[0] == "dataset=table" else SMALL
    done = bsscale(*small, *run, *arguments)
    assert done.code == 1
    for fact in facts:
        assert fact in done.text
    assert "Traceback" not in done.text
    assert not (tmp_path / "run" / "evals.jsonl").exists()


def test_a_finished_run_is_left_alone(bsscale: Bsscale, tmp_path: Path) -> None:
    assert bsscale(*SMALL, *HERE).code == 0
    before = (tmp_path / "run" / "run.json").read_bytes()
    again = bsscale(*SMALL, *HERE)
    assert again.code == 0 and "nothing is trained" in again.out
    refused = bsscale(*SMALL, *HERE, "resume=never")
    assert refused.code == 1 and "already holds a run" in refused.text
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_torchrun_is_told_what_it_lacks(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(*SMALL, *HERE, WORLD_SIZE="8", RANK="0", LOCAL_RANK="0")
    assert done.code == 1
    assert "MASTER_ADDR" in done.err and "Traceback" not in done.text
    assert not (tmp_path / "run").exists()


def test_plain_lines_where_there_is_no_terminal(bsscale: Bsscale) -> None:
    done = bsscale(*SMALL)
    assert "\r" not in done.text and "\x1b" not in done.text


def test_a_bar_with_the_state_of_the_run_on_a_terminal(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 120))
    command = [sys.executable, "-m", "bsscale", *SMALL, "budget_passes=8"]
    root = str(Path(__file__).parent.parent)
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "PYTHONPATH": root},
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the terminal closes with the process
            break
        if not chunk:
            break
        shown += chunk
    os.close(master)
    assert process.wait() == 0, shown.decode()
    bar = shown.decode()
    for part in ("samples/s", "auc 0.", "loss 0.", "lr 0.1", "% "):
        assert part in bar


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bsscale", *arguments, *HERE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_evaluations(process: subprocess.Popen[str], directory: Path, count: int = 2) -> None:
    """Block until the run has written some evaluations, or has ended."""
    path = directory / "evals.jsonl"
    while process.poll() is None:
        if path.exists() and path.read_text().count("\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError(process.communicate()[0])


ENDLESS = (*[a for a in SMALL if not a.startswith("budget")], "budget_passes=100000")


def test_ctrl_c_ends_with_130_and_a_record(tmp_path: Path) -> None:
    process = start(tmp_path, *ENDLESS)
    wait_for_evaluations(process, tmp_path / "run")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in output
    record = read_run(tmp_path / "run")
    assert record.status == "failed" and "Ctrl-C" in record.reason
    assert record.samples_seen > 0 and record.best_value is not None


@pytest.mark.slow
def test_a_rank_that_is_killed_ends_the_run_with_its_error_and_no_orphan(tmp_path: Path) -> None:
    process = start(tmp_path, *ENDLESS, "executor=ddp", "gpus=2")
    wait_for_evaluations(process, tmp_path / "run")
    family = psutil.Process(process.pid).children(recursive=True)
    ranks = [child for child in family if not child.children() and "forkserver" in cmd(child)]
    assert len(ranks) == 2
    ranks[0].kill()
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "was killed by signal 9" in output and "Traceback" not in output
    record = read_run(tmp_path / "run")
    assert record.status == "failed" and "signal 9" in record.reason
    assert record.samples_seen > 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def cmd(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.mark.slow
def test_ddp_from_the_command_line_gives_the_records_of_virtual(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    for executor in ("virtual", "ddp"):
        done = bsscale(
            *SMALL, "gpus=2", "precision=fp64", f"executor={executor}", f"hydra.run.dir={executor}"
        )
        assert done.code == 0, done.text
        log = (tmp_path / executor / "bsscale.log").read_text()
        assert "global batch" in log
    one, many = (read_evals(tmp_path / name) for name in ("virtual", "ddp"))
    assert [p.samples for p in one] == [p.samples for p in many]
    for a, b in zip(one, many, strict=True):
        assert a.metrics == pytest.approx(b.metrics, rel=1e-9)
    assert read_run(tmp_path / "ddp").executor == "ddp"


def in_a_new_python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["-c", "job", "gpus=8"]])
def test_help_and_configuration_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['bsscale', *{arguments!r}]\n"
        "from bsscale.cli.entry import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'wandb', 'polars', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = in_a_new_python(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_but_the_standard_library(tmp_path: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); import bsscale; new = set(sys.modules) - before; "
        "top = {name.split('.')[0] for name in new}; "
        "sys.exit(str(top - sys.stdlib_module_names - {'bsscale'} or ''))"
    )
    assert in_a_new_python(code, tmp_path).stderr.strip() == ""


@pytest.mark.parametrize(
    ("added", "remedy"),
    [
        ("+nonsense=1", "--help lists the options"),
        ("+schedule.nonsense=1", "schedule=fixed --help"),
        ("+task.seeds=3", "task=train --help"),
        ("+optimizer.foo=1", "optimizer=sgd --help"),
        ("+executor.foo=1", "executor=auto --help"),
        ("+tracker.foo=1", "tracker=none --help"),
    ],
)
def test_an_added_option_that_does_nothing_is_refused(
    bsscale: Bsscale, added: str, remedy: str
) -> None:
    done = bsscale(*SMALL, added)
    assert done.code == 1 and "Traceback" not in done.text and "HYDRA" not in done.text, done.text
    assert f"{added}: there is no option" in done.text and remedy in done.text


@pytest.mark.parametrize(
    ("argument", "fact", "remedy"),
    [
        ("task.arms=[tuned_constant]", "task.arms=[tuned_constant] is a list", "+task.arms.NAME="),
        ("task.arms.mine={rate:tuned}", "no option task.arms.mine", "+task.arms.mine=VALUE adds"),
    ],
)
def test_how_a_study_is_given_arms(argument: str, fact: str, remedy: str, bsscale: Bsscale) -> None:
    done = bsscale("task=study", argument, "dry_run=true")
    assert done.code == 1 and fact in done.text and remedy in done.text, done.text
