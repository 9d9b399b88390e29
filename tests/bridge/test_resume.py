"""What becomes of a script, and of its run, when bsscale is killed or told to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bsscale.errors import RecordsError
from bsscale.files.locks import hold
from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import RunRecord, read_run
from tests.bridge.scripts import sh, spec, train
from tests.conftest import python_path

# The first start reports twice, and kills bsscale; later ones begin at their checkpoint.
KILLS = """
import os, pathlib, signal, time
from bsscale.bridge import join
run = join()
state = run.directory / "checkpoint"
assert run.resumed == state.exists()
samples = int(state.read_text()) if run.resumed else 0
while True:
    samples += run.global_batch
    if run.due(samples):
        if run.report(samples, auc=0.5 + samples / 20_000):
            break
        if samples == 400:
            state.write_text("{0}")
            if not os.environ.get("SURVIVES"):
                os.kill(os.getppid(), {1})
                time.sleep(60)
"""
START = """
import sys
from pathlib import Path
from tests.bridge.scripts import spec, train
import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
train([spec(Path(sys.argv[1]), sys.argv[2], {})])
"""


def killed(directory: Path, checkpoint: int, number: int) -> str:
    """The command of a script after whose first reports bsscale was killed."""
    path = directory.with_suffix(".py")
    path.write_text(KILLS.format(checkpoint, number))
    command = f"{sys.executable} {path}"
    environment = {**os.environ, "PYTHONPATH": python_path()}
    words = [sys.executable, "-c", START, str(directory), command]
    subprocess.run(words, env=environment, capture_output=True, cwd=Path(__file__).parents[2])
    assert not (directory / "run.json").exists()
    return command


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("checkpoint", [400, 200, 0])
def test_a_run_that_was_killed_goes_on_from_the_checkpoint_of_its_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: int
) -> None:
    monkeypatch.setenv("PYTHONPATH", python_path())
    command = killed(tmp_path / "run", checkpoint, signal.SIGKILL)
    monkeypatch.setenv("SURVIVES", "1")
    [record] = train([spec(tmp_path / "run", command, {})])
    assert isinstance(record, RunRecord) and record.status == "exhausted"
    points = read_evals(tmp_path / "run")
    assert [point.samples for point in points] == list(range(200, 2001, 200))
    walls = [point.wall_s or 0.0 for point in points]
    assert walls == sorted(walls)


def test_a_script_that_outlived_bsscale_is_ended_before_another_one_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", python_path())
    killed(tmp_path / "run", 0, signal.SIGKILL)
    pid = json.loads((tmp_path / "run" / "process.json").read_text())["pid"]
    assert lives(pid)
    train([spec(tmp_path / "run", sh('echo \'{"samples": 200, "auc": 0.6}\''), {})])
    assert not lives(pid)


def test_sigterm_ends_the_script_and_leaves_its_run_to_be_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", python_path())
    command = killed(tmp_path / "run", 400, signal.SIGTERM)
    monkeypatch.setenv("SURVIVES", "1")
    [record] = train([spec(tmp_path / "run", command, {})])
    assert isinstance(record, RunRecord) and record.status == "exhausted"


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    command = sh('echo x >> "$BSSCALE_RUN/starts"; echo \'{"samples": 200, "auc": 0.6}\'')
    [first] = train([spec(tmp_path / "run", command, {})])
    [second] = train([spec(tmp_path / "run", command, {})])
    assert first == second and (tmp_path / "run" / "starts").read_text() == "x\n"
    [third] = train([spec(tmp_path / "run", command + " ", {"silence_s": 7.0}, seed=1)])
    assert isinstance(third, Exception) and "trainer.command" in str(third)
    [other] = train([spec(tmp_path / "run", command, {"silence_s": 7.0})])
    assert other == first  # (how long bsscale waits is no part of the run)


def test_two_starts_do_not_train_one_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    lock = hold(tmp_path / "run" / ".script.lock", None)
    [result] = train([spec(tmp_path / "run", "true", {})])
    assert isinstance(result, RecordsError) and "another process is writing" in result.fact
    assert lock is not None
    lock.release()
    with pytest.raises(RecordsError):
        read_run(tmp_path / "run")
