"""The real wandb against a server on loopback: one that is there, that is not, and that hangs.

Whatever happens, `wandb sync` gives the server every evaluation of evals.jsonl once, also when the
directory was moved before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bsscale.records.evaluation import encode, read_evals
from bsscale.records.run_record import write_run
from bsscale.tracking import process as tracking
from bsscale.tracking.options import WandbOptions
from bsscale.tracking.process import Mirror
from bsscale.tracking.tracker import WandbTracker
from tests.test_records import RUN
from tests.test_tracking import leet, point, steps, write_records
from tests.wandb_server import Sent, WandbServer, closed_port, wandb_server

pytestmark = pytest.mark.slow

ONLINE = WandbOptions(mode="online")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with wandb_server() as made:
        monkeypatch.setenv("WANDB_BASE_URL", made.url)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        yield made


@pytest.fixture
def processes() -> Iterator[Callable[[], Mirror]]:
    made: list[Mirror] = []

    def process() -> Mirror:
        made.append(Mirror())
        return made[-1]

    yield process
    for each in made:
        each.close()


def tracker(process: Mirror, directory: Path, group: str | None = None) -> WandbTracker:
    directory.mkdir(exist_ok=True)
    return WandbTracker(
        ONLINE, directory, name="x", group=group, job_type="y", process=process
    )  # fmt: skip


def _id(directory: Path) -> str:
    return str(json.loads((directory / "wandb.json").read_text())["id"])


def expected(directory: Path) -> list[dict[str, Any]]:
    points = [encode(each) for each in read_evals(directory)]
    return [{k: v for k, v in row.items() if v is not None} for row in points]


def assert_is_kept_offline(directory: Path) -> None:
    """One offline run has all points, and nothing else is left to be synced."""
    assert steps(leet(directory)) == list(range(len(read_evals(directory))))
    assert not list(directory.glob("wandb/run-*"))


def assert_is_on(server: WandbServer, directory: Path, ended: int = 0) -> None:
    """The server has all points once, the result, the table and the records."""
    run: Sent = server.runs[_id(directory)]
    assert run.history == expected(directory)
    assert run.ended == ended
    assert run.summary["status"] == RUN.status
    for name in ("run.json", "evals.jsonl"):
        assert run.files[name] == (directory / name).read_bytes()
    [table] = [json.loads(run.files[name]) for name in run.files if "table" in name]
    assert len(table["data"]) == len(run.rows)


def sync(directory: Path) -> None:
    """Move a directory and sync it, as on another machine."""
    moved = directory.with_name(f"{directory.name} was moved")
    directory.rename(moved)
    wandb = Path(sys.executable).with_name("wandb")
    runs = list(moved.glob("wandb/offline-run-*"))
    done = subprocess.run([wandb, "sync", *runs], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    moved.rename(directory)


def test_online_every_run_is_sent_while_it_trains(
    server: WandbServer, processes: Callable[[], Mirror], tmp_path: Path
) -> None:
    process = processes()
    directories = [tmp_path / "a", tmp_path / "b"]
    trackers = [tracker(process, directory) for directory in directories]
    for directory, its in zip(directories, trackers, strict=True):
        write_records(directory, range(5))
        its.finish()
    for directory in directories:
        assert_is_on(server, directory)


@pytest.mark.parametrize("what", ["closed", "hang", "refuse"])
def test_without_a_server_or_a_key_all_points_are_kept_and_sent_later(
    server: WandbServer,
    processes: Callable[[], Mirror],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    what: str,
) -> None:
    if what == "closed":
        monkeypatch.setenv("WANDB_BASE_URL", closed_port())
    else:
        server.does = what
    process = processes()
    for name in ("a", "b"):  # the second one does not try again
        its = tracker(process, tmp_path / name)
        write_records(tmp_path / name, range(5))
        its.finish()
        assert_is_kept_offline(tmp_path / name)
    assert caplog.text.count("W&B") == caplog.text.count("could not be reached") == 1
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    server.does = "answer"
    for name in ("a", "b"):
        sync(tmp_path / name)
        assert_is_on(server, tmp_path / name)


def test_a_network_that_is_lost_midway_costs_no_point(
    server: WandbServer,
    processes: Callable[[], Mirror],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tracking, "PATIENCE_S", 5.0)
    server.rows_until_it_hangs = 1
    its = tracker(processes(), tmp_path / "run")
    write_records(tmp_path / "run", range(50))
    its.finish()
    assert "not answered for 5 s" in caplog.text
    assert_is_kept_offline(tmp_path / "run")
    assert len(server.runs[_id(tmp_path / "run")].rows) > 0
    server.does, server.rows_until_it_hangs = "answer", None
    sync(tmp_path / "run")
    assert_is_on(server, tmp_path / "run")


@pytest.mark.parametrize("then", ["answer", "hang"])
@pytest.mark.parametrize("before", ["answer", "hang"])
def test_a_run_that_was_killed_and_goes_on_is_whole(
    server: WandbServer, processes: Callable[[], Mirror], tmp_path: Path, before: str, then: str
) -> None:
    run = tmp_path / "run"
    server.does = before
    killed = processes()
    tracker(killed, run)
    write_records(run, range(8), finished=False)
    for _ in range(200):  # until its W&B run has begun
        killed.listen(0.1)
        if list(run.glob("wandb/*run-*/run-*.wandb")) and (before == "hang" or server.runs):
            break
    killed.close()
    # From a checkpoint at evaluation 5 it goes on.
    lines = (run / "evals.jsonl").read_text().splitlines(keepends=True)
    (run / "evals.jsonl").write_text("".join(lines[:5]))
    server.does = then
    its = tracker(processes(), run)
    with (run / "evals.jsonl").open("a") as file:
        file.writelines(json.dumps(encode(point(number))) + "\n" for number in range(5, 12))
    write_run(run, RUN)
    its.finish()
    if then == "hang":
        assert_is_kept_offline(run)
        server.does = "answer"
        sync(run)
    else:
        assert not list(run.glob("wandb/offline-run-*"))
    assert_is_on(server, run)


@pytest.mark.parametrize("does", ["answer", "hang"])
def test_the_run_of_an_agent_has_the_agents_id_everywhere(
    server: WandbServer,
    processes: Callable[[], Mirror],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    does: str,
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_RUN_ID", "first")
    server.does, run = does, tmp_path / "run"
    killed = processes()
    tracker(killed, run)
    write_records(run, range(3), finished=False)
    killed.close()
    assert _id(run) == "first"
    # Another agent goes on in the directory, which keeps the first one's id.
    monkeypatch.setenv("WANDB_RUN_ID", "second")
    its = tracker(processes(), run)
    with (run / "evals.jsonl").open("a") as file:
        file.write(json.dumps(encode(point(3))) + "\n")
    write_run(run, RUN)
    its.finish()
    assert _id(run) == "second"
    if does == "hang":
        server.does = "answer"
        for name in ("WANDB_SWEEP_ID", "WANDB_RUN_ID"):
            monkeypatch.delenv(name)
        assert len(list(run.glob("wandb/offline-run-*-first"))) == 1
        sync(run)
    assert_is_on(server, run)
    assert server.runs["second"].upserted["sweep"] == "sweep1"


@pytest.mark.parametrize("ended", [True, False])
def test_signals_to_all_processes_of_a_job_cost_no_point(
    server: WandbServer, processes: Callable[[], Mirror], tmp_path: Path, ended: bool
) -> None:
    process = processes()
    its = tracker(process, tmp_path / "run")
    while not server.runs:
        process.listen(0.1)
    [mirror] = process._processes.values()
    pid = mirror._process.pid
    children = subprocess.run(
        ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert children
    for each in (pid, *map(int, children)):
        for signal in (15, 2, 1, 10, 12):
            os.kill(each, signal)
    write_records(tmp_path / "run", range(5), finished=ended)
    if ended:
        its.finish()
    else:
        process.close()
    assert_is_kept_offline(tmp_path / "run")
    if ended:
        sync(tmp_path / "run")
        assert_is_on(server, tmp_path / "run")
