"""What the launcher makes of SLURM's words; tests/test_clusters.py asks a real SLURM."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bsscale.cli.launchers import waiting
from bsscale.cli.launchers.slurm_jobs import (
    Queued,
    Submitted,
    check_startable,
    queue,
    read_submitted,
    write_submitted,
)
from bsscale.errors import ConfigError
from bsscale.study.work import Work, write_work
from bsscale.terminal.jobs import JobLine, JobTable, summary
from tests.conftest import SMALL, Finished

Command = Callable[[str, str], None]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Put a command of SLURM's that is a shell script on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def make(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return make


def test_a_job_that_slurm_can_never_start_is_refused_in_its_words(
    command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    command("sbatch", "cat >/dev/null; echo 'allocation failure: no such nodes' >&2; exit 1")
    command("sinfo", "true")
    with pytest.raises(ConfigError, match="8 tasks on 1 node: allocation failure: no such"):
        check_startable("#!/bin/sh\n", "8 tasks on 1 node")
    command("sinfo", "echo 'n1 drained'")  # it may start later
    check_startable("#!/bin/sh\n", "8 tasks on 1 node")
    assert "once these nodes are back: n1 drained" in caplog.text
    command("sbatch", 'test "$1" = --test-only && grep -q ntasks')
    check_startable("#!/bin/sh\n#SBATCH --ntasks=2\n", "2 tasks on 1 node")


def test_a_reason_that_does_not_end_by_itself_is_said_to_be_one() -> None:
    assert Queued("PENDING", "Priority", "").why == "Priority"
    assert "scancel" in Queued("PENDING", "PartitionTimeLimit", "").why


def test_the_queue_is_read(command: Command) -> None:
    command("squeue", "echo '12_0|RUNNING|None|n1'; echo '12_1|PENDING|Resources|'")
    assert queue() == {
        "12_0": Queued("RUNNING", "None", "n1"),
        "12_1": Queued("PENDING", "Resources", ""),
    }
    command("squeue", "exit 1")
    assert queue() is None


def test_what_was_submitted_is_read_back(tmp_path: Path) -> None:
    assert read_submitted(tmp_path) == {}
    submitted = {0: Submitted("12_0", 2, ["seed=0"]), 3: Submitted("13", 1, ["seed=1"])}
    write_submitted(tmp_path, submitted)
    assert read_submitted(tmp_path) == submitted
    (tmp_path / "slurm_jobs.json").write_text("[1]")
    assert read_submitted(tmp_path) == {}


class Task:
    def __init__(self, directory: Path, rank: int) -> None:
        self.paths = self
        self.result_pickle = directory / f"{rank}.pkl"
        self.task_id = rank

    def done(self) -> bool:
        return self.result_pickle.exists()

    def exception(self) -> str | None:
        return self.result_pickle.read_text() or None


class Submission:
    """A job as submitit has it."""

    num_tasks = 2

    def __init__(self, directory: Path, job_id: str) -> None:
        self.directory, self.job_id = directory, job_id
        self.cancelled = False
        directory.mkdir()

    def task(self, rank: int) -> Task:
        return Task(self.directory, rank)

    def end(self, rank: int = 0, error: str = "") -> None:
        (self.directory / f"{rank}.pkl").write_text(error)

    def cancel(self, check: bool) -> None:
        self.cancelled = True


class Checked:
    """A job as the launcher has checked it."""

    def __init__(self, number: int) -> None:
        self.number, self.described, self.plan = number, f"seed={number}", None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[float], Any]], None]:
    """Let time pass in the wait for jobs; something is called at each second."""
    now = [0.0]

    def each_second(function: Callable[[float], Any]) -> None:
        def sleep(seconds: float) -> None:
            now[0] += seconds
            function(now[0])

        monkeypatch.setattr(waiting.time, "sleep", sleep)

    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    return each_second


def test_every_change_of_a_job_is_said_until_all_have_ended(
    tmp_path: Path,
    clock: Callable[[Callable[[float], Any]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    jobs = [Submission(tmp_path / str(n), f"12_{n}") for n in range(3)]
    states = {
        0: [("PENDING", "Resources", ""), ("RUNNING", "None", "n1"), ("PENDING", "BeginTime", "")],
        1: [("RUNNING", "None", "n2")] * 3,
        2: [("RUNNING", "None", "n2")] * 3,
    }
    asked = [0]

    def now() -> dict[str, Queued]:
        at = min(asked[0], 2)
        asked[0] += 1
        return {f"12_{n}": Queued(*states[n][at]) for n in states if not jobs[n].task(0).done()}

    def end(second: float) -> None:
        if second == 14:
            jobs[0].end()
            jobs[1].end()
        if second == 14 + 2 * waiting.LOST_S:  # (those that have ended are in no queue)
            jobs[2].end(0, "it is broken")

    clock(end)
    checked: Any = [Checked(n) for n in range(3)]
    lost = waiting.wait_for_all(checked, dict(enumerate(jobs)), {1}, now, "logs")
    assert lost == set()
    assert caplog.messages == [
        "#0  seed=0  job 12_0  pending  Resources",
        "#1  seed=1  job 12_1  running  n2 (adopted)",
        "#2  seed=2  job 12_2  running  n2",
        "#0  seed=0  job 12_0  running  n1",
        "#0  seed=0  job 12_0  queued again  BeginTime",
        "#0  seed=0  job 12_0  ended",
        "#1  seed=1  job 12_1  ended",
        "#2  seed=2  job 12_2  failed",
    ]


def test_a_job_that_leaves_the_queue_without_a_result_is_lost_after_a_while(
    tmp_path: Path, clock: Callable[[Callable[[float], Any]], None]
) -> None:
    job = Submission(tmp_path / "0", "12")
    seconds: list[float] = []
    clock(seconds.append)
    checked: Any = [Checked(0)]
    gone = iter(
        [{"12": Queued("RUNNING", "None", "n1")}, None, None]
    )  # it does not answer: no news
    lost = waiting.wait_for_all(checked, {0: job}, set(), lambda: next(gone, {}), "logs")
    assert lost == {0} and 45 <= seconds[-1] <= 60


def test_a_job_whose_other_task_has_failed_unnoticed_is_cancelled(
    tmp_path: Path, clock: Callable[[Callable[[float], Any]], None]
) -> None:
    job = Submission(tmp_path / "0", "12")
    job.end(1, "this node is broken")
    seconds: list[float] = []
    clock(seconds.append)
    checked: Any = [Checked(0)]
    queued = {"12": Queued("RUNNING", "None", "n1")}
    assert waiting.wait_for_all(checked, {0: job}, set(), lambda: queued, "logs") == set()
    assert job.cancelled and seconds[-1] > waiting.SETTLE_S


def test_a_table_says_how_many_are_in_which_state() -> None:
    lines = [
        JobLine(f"#{n}", f"12_{n}", state) for n, state in enumerate(["running"] * 2 + ["ended"])
    ]
    assert summary(lines) == "3 jobs: 2 running, 1 ended"
    JobTable("logs").close()


def test_a_time_limit_below_the_delay_of_its_signal_is_refused(
    bsscale: Callable[..., Finished], tmp_path: Path
) -> None:
    done = bsscale(
        "-m", *SMALL, "hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=2",
        "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert done.code == 1 and "timeout_min=2 is 120 s" in done.text
    assert "Traceback" not in done.text and not (tmp_path / "sweep" / "0").exists()


def test_a_study_that_is_started_again_at_the_same_work_keeps_its_jobs(tmp_path: Path) -> None:
    work = Work("0123", [{"where": "runs/a", "gpus": 2, "rate": 0.1}], study_head="4567")
    first = write_work(tmp_path, work)
    assert write_work(tmp_path, work) == first
    other = write_work(tmp_path, replace(work, study_head="89ab"))
    assert other != first and write_work(tmp_path, work) not in (first, other)
