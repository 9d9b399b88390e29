"""Processes that are told to end, killed, or run out of disk: what they leave, and what comes next.

``BSSCALE_TEST_KILLS=50 python -m pytest -m slow -o addopts= tests/test_faults.py -k killed`` kills
runs of either executor at 50 random moments each.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import read_run
from bsscale.training.processes import end_with_parent
from tests.conftest import SMALL, Finished, command, python_path
from tests.test_resume import assert_same

Bsscale = Callable[..., Finished]

ROOT = Path(__file__).parent.parent
KILLS = int(os.environ.get("BSSCALE_TEST_KILLS", "3"))

# Long enough to be met in the middle: 40 passes, evaluated 5 times a pass.
LONG = [argument for argument in SMALL if not argument.startswith("budget")] + [
    "budget_passes=40",
    "schedule=onecycle",
    "schedule.cycle_first_step_size=1000",
    "schedule.decay_step_size=4000",
    "optimizer=adam",
    "base_lr=0.001",
    "gpus=2",
    "checkpoint_interval_samples=10000",
]
DDP = [*LONG, "budget_passes=12", "schedule.decay_step_size=1000", "executor=ddp"]
RUNS = {"virtual": LONG, "ddp": DDP}


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a terminal starts it."""
    return subprocess.Popen(
        [*command(), *arguments, "hydra.run.dir=run"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": python_path()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def carried_out(directory: Path, executor: str) -> str:
    """Start it, again or for the first time, and let it end; gives what it printed."""
    with start(directory, *RUNS[executor]) as process:
        output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def wait_for(process: subprocess.Popen[str], condition: Callable[[], Any]) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.005)
    if process.poll() is not None:
        raise AssertionError(f"it ended too early: {process.communicate()[0]}")


def has_checkpoint(directory: Path) -> bool:
    return any((directory / "run" / "checkpoints").glob("step-*"))


def ranks_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The data-parallel processes: children of the fork server."""
    return [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "forkserver" in " ".join(child.cmdline()) and not child.children()
    ]


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, session_cache: Path
) -> Callable[[str], Path]:
    """A run that nothing interrupted, made when it is first asked for."""
    made: dict[str, Path] = {}

    def make(executor: str) -> Path:
        if executor not in made:
            directory = tmp_path_factory.mktemp(executor)
            carried_out(directory, executor)
            made[executor] = directory / "run"
        return made[executor]

    return make


@pytest.mark.parametrize(
    ("executor", "number", "code"),
    [
        ("virtual", signal.SIGTERM, 143),
        pytest.param("virtual", signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param("virtual", signal.SIGHUP, 129, marks=pytest.mark.slow),
        pytest.param("ddp", signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param("ddp", signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param("ddp", signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_run_after_a_checkpoint(
    executor: str, number: int, code: int, tmp_path: Path, undisturbed: Callable[[str], Path]
) -> None:
    with start(tmp_path, *RUNS[executor]) as process:
        wait_for(process, lambda: has_checkpoint(tmp_path))
        # A terminal's Ctrl-C and hangup reach every process; kill and SLURM reach the first one.
        if number in (signal.SIGINT, signal.SIGHUP):
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        output, _ = process.communicate()
    assert process.returncode == code, output
    assert "Traceback" not in output and "hydra.run.dir=" in output
    # Nothing of the training is lost: the last checkpoint is where it was told to end.
    last = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert int(last.stem.removeprefix("step-")) >= read_evals(tmp_path / "run")[-1].step
    assert "going on after" in carried_out(tmp_path, executor)
    assert_same(undisturbed(executor), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("executor", RUNS)
def test_killed_at_a_random_moment_it_ends_as_if_undisturbed(
    executor: str, number: int, tmp_path: Path, undisturbed: Callable[[str], Path]
) -> None:
    expected = undisturbed(executor)
    chance = random.Random(f"{executor} {number}")
    # A moment of the training by its evaluations, and a random time after it. Some runs are killed
    # twice, the second time while they go on.
    moments = sorted(chance.randrange(len(read_evals(expected))) for _ in range(1 + number % 2))
    for moment in moments:
        with start(tmp_path, *RUNS[executor]) as process:
            evals = tmp_path / "run" / "evals.jsonl"
            while process.poll() is None:
                if evals.exists() and evals.read_bytes().count(b"\n") > moment:
                    break
                time.sleep(0.001)
            try:
                process.wait(timeout=chance.uniform(0, 0.3))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    carried_out(tmp_path, executor)
    assert_same(expected, tmp_path / "run")
    assert not list((tmp_path / "run").glob("**/.*.part"))


@pytest.mark.slow
def test_a_killed_rank_ends_the_run_which_goes_on_when_started_again(
    tmp_path: Path, undisturbed: Callable[[str], Path]
) -> None:
    with start(tmp_path, *DDP) as process:
        wait_for(process, lambda: has_checkpoint(tmp_path))
        ranks = ranks_of(process)
        assert len(ranks) == 2
        ranks[1].kill()
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1 and "was killed by signal 9" in output
    record = read_run(tmp_path / "run")
    assert record.status == "failed" and "signal 9" in record.reason
    assert not any(rank.is_running() for rank in ranks)
    carried_out(tmp_path, "ddp")
    assert_same(undisturbed("ddp"), tmp_path / "run")


@pytest.mark.slow
def test_ranks_listen_on_the_loopback_and_end_with_the_process_that_started_them(
    tmp_path: Path,
) -> None:
    with start(tmp_path, *DDP) as process:
        wait_for(process, lambda: has_checkpoint(tmp_path))
        ranks = ranks_of(process)
        listening = [
            connection.laddr.ip
            for each in (psutil.Process(process.pid), *ranks)
            for connection in each.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening and set(listening) == {"127.0.0.1"}
        process.kill()  # (this one alone)
        gone, alive = psutil.wait_procs(ranks, timeout=30)
        assert not alive and len(gone) == 2
        process.communicate()


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of its own, of 3 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(path)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("a file system of 3 MB cannot be mounted here: run as root")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(1024)) == 1024:
            pass


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_its_reason_and_it_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path, undisturbed: Callable[[str], Path]
) -> None:
    with start(small_disk, *LONG) as process:
        wait_for(process, lambda: has_checkpoint(small_disk))
        fill(small_disk)
        output, _ = process.communicate()
    assert process.returncode == 1
    assert "No space left on device" in output and "Traceback" not in output
    assert has_checkpoint(small_disk)
    (small_disk / "filler").unlink()
    assert "going on after" in carried_out(small_disk, "virtual")
    assert_same(undisturbed("virtual"), small_disk / "run")


def test_no_key_reaches_the_records(bsscale: Bsscale, tmp_path: Path) -> None:
    key = "0123456789abcdef0123456789abcdef01234567"
    small = [argument for argument in SMALL if argument != "tracker=none"]
    done = bsscale(
        *small, "hydra.run.dir=run", WANDB_API_KEY=key, WANDB_MODE="offline", SECRET_TOKEN=key
    )
    assert done.code == 0, done.text
    assert key not in done.text
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        assert key.encode() not in path.read_bytes(), path


def test_ranks_take_their_folder_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that made it was killed, and removes nothing."""
    left = tmp_path / "bsscale-ranks-x"
    left.mkdir()
    (left / "0.json").write_text("{}")
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    end_with_parent(lambda: None, left)
    assert ended == [1] and not left.exists()


def test_a_deleted_working_directory_is_named(tmp_path: Path) -> None:
    script = f"mkdir gone; cd gone; rmdir ../gone; {sys.executable} -m bsscale dry_run=true"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": python_path()},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: the working directory is gone") and "->" in done.stderr


@pytest.mark.parametrize("streams", [">&- 2>&-", "> /dev/full 2> /dev/full"])
def test_a_run_to_which_nobody_listens_is_recorded(tmp_path: Path, streams: str) -> None:
    words = " ".join([*SMALL, "budget_samples=4096", "budget_passes=null", "hydra.run.dir=run"])
    done = subprocess.run(
        ["bash", "-c", f"exec {sys.executable} -m bsscale {words} {streams}"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": python_path()},
    )  # fmt: skip
    assert done.returncode == 0
    assert read_run(tmp_path / "run").status == "exhausted"
    assert "Traceback" not in (tmp_path / "run" / "bsscale.log").read_text()
