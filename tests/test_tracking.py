"""W&B as a mirror: offline runs are read back with its own reader; a W&B that fails is a fake."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bsscale.config import TrackerOptions
from bsscale.errors import ConfigError
from bsscale.files.replace import write_json
from bsscale.objectives import Criterion
from bsscale.planning.checks import check_config
from bsscale.records.evaluation import EvalPoint, encode, read_evals
from bsscale.records.run_record import RunRecord, read_run, write_run
from bsscale.records.writer import Records
from bsscale.report.summarize import compare
from bsscale.tracking import process as tracking
from bsscale.tracking.options import WandbOptions
from bsscale.tracking.process import Mirror
from bsscale.tracking.tracker import NoTracker, WandbTracker, make_tracker
from tests.conftest import SMALL, Finished
from tests.helpers import small_config
from tests.report_records import write_run_of
from tests.test_records import RUN
from tests.wandb_server import WandbServer, closed_port, wandb_server

Bsscale = Callable[..., Finished]
ON = [argument for argument in SMALL if argument != "tracker=none"]
APART = {"config", "environment", "columns", "format_version"}
SUMMARY = set(RunRecord.__struct_fields__) - APART


def leet(directory: Path) -> list[dict[str, Any]]:
    """The records of the one offline run in `directory`, read by ``wandb leet inspect``."""
    [run] = [r for r in (directory / "wandb").glob("offline-run-*") if not r.is_symlink()]
    wandb = Path(sys.executable).with_name("wandb")
    done = subprocess.run(
        [str(wandb), "leet", "inspect", "--json", str(run)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def about(records: list[dict[str, Any]]) -> dict[str, Any]:
    """What the run is called."""
    [run] = [record["run"] for record in records if record["type"] == "run"]
    return dict(run)


def history(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, less what W&B adds and less the table."""
    rows = [record["history"]["item"] for record in records if record["type"] == "history"]
    added = ("_", "evals.", "arms.")
    return [{k: v for k, v in row.items() if not k.startswith(added)} for row in rows]


def steps(records: list[dict[str, Any]]) -> list[int]:
    return [r["history"]["item"]["_step"] for r in records if r["type"] == "history"]


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for record in records:
        if record["type"] == "summary":
            merged.update(record["summary"].get("update", {}))
    return merged


def assert_is_a_mirror(mirrored: list[dict[str, Any]], directory: Path) -> None:
    record, points = read_run(directory), read_evals(directory)
    drawn = {} if record.target is None else {"target": record.target}
    expected = [{k: v for k, v in encode(p).items() if v is not None} | drawn for p in points]
    assert history(mirrored) == expected
    assert steps(mirrored) == list(range(len(points)))
    metrics = [m["metric"] for m in mirrored if m["type"] == "metric"]
    assert any(m.get("step_metric") == "samples" and m.get("glob_name") == "*" for m in metrics)
    end = summary(mirrored)
    on_disk = json.loads((directory / "run.json").read_text())
    assert {key: end[key] for key in SUMMARY} == {key: on_disk[key] for key in SUMMARY}
    assert end["runs_" + record.status] == 1
    censored = record.samples_to_target is None and record.target is not None
    expected_samples = record.budget_samples if censored else record.samples_to_target
    assert end["samples_to_target_at_least"] == expected_samples
    plan = about(mirrored)["config"]["update"]["plan"]
    assert end["peak_lr"] == plan["peak_lr"] >= max(p.lr for p in points if p.lr is not None)
    assert (plan["target"], plan["metric"]) == (record.target, record.metric)
    assert plan["series"].startswith(f"{record.arm} | {record.dataset} ")
    run = about(mirrored)
    assert run["config"]["update"]["seed"] == record.seed
    assert run["job_type"][:50] == record.arm[:50] and len(run["job_type"]) <= 64
    assert set(run["tags"]) == {record.model, record.dataset, f"gpus={record.gpus}"}
    assert mirrored[-1]["exit"]["exit_code"] == 0


def test_an_offline_run_holds_what_the_records_hold(bsscale: Bsscale, tmp_path: Path) -> None:
    key = "0123456789abcdef" * 3
    done = bsscale(
        *ON, "hydra.run.dir=run", "schedule=onecycle", "gpus=8", "target=0.55", WANDB_API_KEY=key
    )
    assert done.code == 0, done.text
    assert "wandb" not in done.err.lower()
    directory = tmp_path / "run"
    mirrored = leet(directory)
    assert_is_a_mirror(mirrored, directory)
    assert read_run(directory).samples_to_target_interval is not None

    [table] = directory.glob("wandb/offline-run-*/files/media/table/evals_*.table.json")
    content = json.loads(table.read_text())
    rows = [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    assert rows == [encode(point) for point in read_evals(directory)]
    [files] = directory.glob("wandb/offline-run-*/files")
    for name in ("run.json", "evals.jsonl"):
        assert (files / name).read_bytes() == (directory / name).read_bytes()
    # The directory can be moved before it is synced: nothing of the run lies elsewhere.
    assert not any("artifact" in record.values() for record in mirrored)
    sent = [f["path"] for r in mirrored if r["type"] == "files" for f in r["files"]["files"]]
    assert {"run.json", "evals.jsonl"} < set(sent)
    assert all((files / path).exists() for path in sent)
    for path in directory.rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes(), path
    assert key not in done.text


@pytest.mark.slow
def test_every_job_of_a_multirun_is_a_run_of_its_own_and_one_compares(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    schedules = ("fixed", "linear_scaling", "onecycle")
    sweep = tmp_path / "sweep"
    done = bsscale(
        "-m", *ON, "hydra.sweep.dir=sweep", f"schedule={','.join(schedules)}", "seed=0,1",
        "gpus=8", "target=0.65",
    )  # fmt: skip
    assert done.code == 0, done.text
    jobs = {directory: leet(directory) for directory in sorted(sweep.glob("[0-9]"))}
    assert len(jobs) == 6
    for directory, mirrored in jobs.items():
        assert_is_a_mirror(mirrored, directory)
    comparison = leet(sweep)
    assert {about(m)["run_group"] for m in (*jobs.values(), comparison)} == {
        "/".join(sweep.parts[-3:])
    }
    linked = {run.resolve().parents[1] for run in (sweep / "wandb").glob("offline-run-*")}
    assert linked == {sweep, *jobs}  # one directory for wandb leet
    assert about(comparison)["job_type"] == about(comparison)["display_name"] == "comparison"

    written = json.loads((sweep / "comparison.json").read_text())
    assert len(written["curves"]) == 3
    for arm, curve in written["curves"].items():
        key = f"auc/{arm}"
        rows = [(row["samples"], row[key]) for row in history(comparison) if key in row]
        assert rows == [(point["samples"], point["median"]) for point in curve]
    assert all(list(row)[-1] == "samples" or "samples" in row for row in history(comparison))
    [table] = sweep.glob("wandb/offline-run-*/files/media/table/arms_*.table.json")
    content = json.loads(table.read_text())
    rows = [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    for row, arm in zip(rows, written["arms"], strict=True):
        assert row["arm"] == arm["arm"]
        assert row["median_samples_to_target"] == arm["median_samples_to_target"]
        ratio = arm["ratio_to_baseline"]
        for end in ("ratio", "low", "high"):
            assert row[f"ratio_{end}"] == (None if ratio is None else ratio[end])


def test_wandb_mode_disabled_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    made = make_tracker(WandbOptions(), tmp_path, name="x", group=None, job_type="y")
    assert isinstance(made, NoTracker)


def test_no_tracker_is_none(tmp_path: Path) -> None:
    made = make_tracker(TrackerOptions("none"), tmp_path, name="x", group=None, job_type="y")
    assert isinstance(made, NoTracker)


def test_training_goes_on_if_wandb_cannot_start(bsscale: Bsscale, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "wandb.py").write_text("raise ImportError('it is broken')")
    path = os.pathsep.join([str(Path(__file__).parent.parent), str(tmp_path / "broken")])
    done = bsscale(*ON, "hydra.run.dir=run", PYTHONPATH=path)
    assert done.code == 0, done.text
    assert read_run(tmp_path / "run").status == "exhausted"
    assert done.text.count("W&B failed") == 1
    assert "Traceback" not in done.text


# -- a W&B that is not there ----------------------------------------------------------------------

# Writes what it is told into calls.jsonl, and then does what FAKE_WANDB says.
FAKE = """
import json, os, sys, threading

MODE = sys.argv[1]

def _do(name, **told):
    with open(os.environ["FAKE_CALLS"], "a") as file:
        file.write(json.dumps({"do": name, "mode": MODE, **told}) + "\\n")
    what, _, when = os.environ["FAKE_WANDB"].partition(" at ")
    if when == name and os.environ.get("FAKE_MODE", MODE) == MODE:
        if what == "hang":
            threading.Event().wait()
        if what == "die":
            os._exit(3)
        if what == "fill the disk":
            raise OSError(28, "No space left on device")
        if what == "lose the network":
            raise ConnectionError("there is no network")

class Settings:
    def __init__(self, **_): pass

class Table:
    def __init__(self, columns, data):
        if any(isinstance(cell, (dict, list)) for row in data for cell in row):
            raise TypeError("Data row contained incompatible types")
        _do("table", rows=[dict(zip(columns, row)) for row in data])

    def bind_to_run(self, run, key, step): pass

class Run:
    url = None
    config = {}
    dir = os.environ.get("FAKE_DIR")
    def __init__(self, id):
        self.id, self.summary = id, {}
        self.starting_step = int(os.environ.get("FAKE_STARTING_STEP", "0"))
    def define_metric(self, metric, **told): _do("define_metric", metric=metric, **told)
    def log(self, row, step, commit=False):
        _do("log", step=step, samples=row.get("samples"), keys=list(row))
    def save(self, path, base_path, policy): _do("save", path=path.name, policy=policy)
    def finish(self, exit_code=0):
        _do("finish", exit_code=exit_code, summary=self.summary, id=self.id)

class _Set:
    class settings:
        base_url = os.environ.get("WANDB_BASE_URL")

def setup(): return _Set

_used = set()

def init(id, mode, resume, **_):
    # As W&B does: even a run that did not begin holds its id until the process ends.
    if id in _used:
        raise RuntimeError(f"run ID {id} is in use")
    _used.add(id)
    agent = [name for name in os.environ if name in ("WANDB_RUN_ID", "WANDB_SWEEP_ID")]
    _do("init", id=id, mode=mode, resume=resume, agent=sorted(agent))
    if mode == "online":
        _do("online")
    return Run(id)
"""


class Fake:
    """Trackers whose W&B is a fake."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._directory, self._patch = tmp_path, monkeypatch
        self.processes: list[Mirror] = []
        module = tmp_path / "fake"
        module.mkdir()
        (module / "wandb.py").write_text(FAKE)
        monkeypatch.setenv("PYTHONPATH", str(module))
        monkeypatch.setenv("FAKE_CALLS", str(tmp_path / "calls.jsonl"))
        monkeypatch.setenv("FAKE_DIR", str(module))
        self.does("nothing")

    def does(self, what: str) -> None:
        self._patch.setenv("FAKE_WANDB", what)

    def process(self) -> Mirror:
        self.processes.append(Mirror())
        return self.processes[-1]

    def tracker(
        self, process: Mirror, directory: Path, criterion: Criterion | None = None, **config: Any
    ) -> WandbTracker:
        return WandbTracker(
            WandbOptions(**config), directory, name="x", group=None, job_type="y",
            criterion=criterion, process=process,
        )  # fmt: skip

    def calls(self, name: str) -> list[dict[str, Any]]:
        path = self._directory / "calls.jsonl"
        told = [json.loads(line) for line in path.read_text().splitlines()]
        return [call for call in told if call["do"] == name]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    made = Fake(tmp_path, monkeypatch)
    yield made
    for process in made.processes:
        for each in process._processes.values():  # one that hangs would go on for a minute
            each._process.kill()
        process.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with wandb_server() as made:
        monkeypatch.setenv("WANDB_BASE_URL", made.url)
        yield made


def point(number: int) -> EvalPoint:
    metrics = {"auc": 0.5, "log_loss": 0.6}
    return EvalPoint(number, 100 * number, metrics, None, 0.1, None, 1.0)


def write_records(directory: Path, numbers: Sequence[int], finished: bool = True) -> None:
    with Records(directory) as records:
        for number in numbers:
            records.on_eval(point(number))
        if finished:
            records.finish(RUN)


def test_every_evaluation_is_sent_once_and_in_order(fake: Fake, tmp_path: Path) -> None:
    process = fake.process()
    runs = [tmp_path / name for name in ("a", "b")]
    trackers = []
    for run in runs:
        run.mkdir()
        trackers.append(fake.tracker(process, run))
        write_records(run, range(50))
    for tracker in trackers:
        tracker.on_eval(point(49))
        tracker.finish()
    assert [call["id"] for call in fake.calls("init")] == [_id(run) for run in runs]
    logged = [(call["step"], call["samples"]) for call in fake.calls("log")]
    once = [(number, 100 * number) for number in range(50)]
    assert sorted(logged, key=str) == sorted([*once, (49, None)] * 2, key=str)  # None: the table
    assert [call["exit_code"] for call in fake.calls("finish")] == [0, 0]


def test_the_noise_scale_is_sent_where_it_was_measured(fake: Fake, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Records(run) as records:
        for number, measured in enumerate((None, 800.0, None)):
            records.on_eval(replace(point(number), noise_scale=measured))
        records.finish(msgspec.structs.replace(RUN, noise_scale=900.0, noise_scale_windows=12))
    fake.tracker(fake.process(), run).finish()
    *rows, _ = fake.calls("log")
    assert ["noise_scale" in call["keys"] for call in rows] == [False, True, False]
    [told] = fake.calls("table")
    assert [row["noise_scale"] for row in told["rows"]] == [None, 800.0, None]
    [end] = fake.calls("finish")
    assert end["summary"]["noise_scale"] == 900.0


def test_the_summary_has_the_best_value_in_the_direction_of_the_metric(
    fake: Fake, tmp_path: Path
) -> None:
    write_records(tmp_path / "run", range(3))
    fake.tracker(fake.process(), tmp_path / "run", Criterion("log_loss", "min")).finish()
    [told] = [call for call in fake.calls("define_metric") if call["metric"] == "log_loss"]
    assert (told["summary"], told["step_metric"]) == ("min", "samples")
    assert "auc" not in {call["metric"] for call in fake.calls("define_metric")}


def test_a_comparison_names_each_curve_after_the_metric_of_its_arm(
    fake: Fake, tmp_path: Path
) -> None:
    write_run_of(tmp_path / "a", "by AUC", 0, 200_000)
    write_run_of(
        tmp_path / "b", "by loss", 0, 300_000, metric="log_loss", direction="min", target=0.5
    )
    write_json(tmp_path / "comparison.json", compare([tmp_path / "a", tmp_path / "b"]).as_dict())
    WandbTracker(
        WandbOptions(), tmp_path, name="comparison", group=str(tmp_path), job_type="comparison",
        comparison=tmp_path / "comparison.json", process=fake.process(),
    ).finish()  # fmt: skip
    keys = {key for call in fake.calls("log") for key in call["keys"]}
    assert keys == {"samples", "auc/by AUC", "log_loss/by loss", "arms"}


def test_a_comparison_shows_curves_and_ratios_whichever_arm_is_first(
    fake: Fake, tmp_path: Path
) -> None:
    for seed in range(6):
        write_run_of(tmp_path / f"a{seed}", "1 GPU", seed, 200_000 + 1000 * seed, gpus=1)
        write_run_of(tmp_path / f"b{seed}", "8 GPUs", seed, 300_000 + 2000 * seed)
    made = compare(sorted(tmp_path.glob("[ab]?"))).as_dict()
    write_json(tmp_path / "comparison.json", made)
    WandbTracker(
        WandbOptions(), tmp_path, name="comparison", group=str(tmp_path), job_type="comparison",
        comparison=tmp_path / "comparison.json", process=fake.process(),
    ).finish()  # fmt: skip
    [told] = fake.calls("table")
    baseline, other = told["rows"]
    assert baseline["arm"] == "1 GPU" and baseline["ratio_ratio"] is None
    assert 1 < other["ratio_low"] < other["ratio_ratio"] < other["ratio_high"] < 2
    samples = sorted({p["samples"] for curve in made["curves"].values() for p in curve})
    logged = [(call["step"], call["samples"]) for call in fake.calls("log")]
    assert logged == [*enumerate(samples), (len(samples) - 1, None)]  # the last: the table
    [end] = fake.calls("finish")
    assert end["summary"]["8 GPUs"]["ratio_to_baseline"]["high"] == other["ratio_high"]
    assert not (tmp_path / "b0" / "wandb.json").exists()


def _id(directory: Path) -> str:
    return str(json.loads((directory / "wandb.json").read_text())["id"])


def test_a_run_that_goes_on_is_the_same_wandb_run(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: WandbServer
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    killed = fake.process()
    fake.tracker(killed, run, mode="online")
    write_records(run, range(8), finished=False)
    killed.close()  # what is open is sent and marked as failed
    assert [call["step"] for call in fake.calls("log")] == list(range(8))

    # From a checkpoint at evaluation 5 it goes on; W&B has 0 to 7.
    lines = (run / "evals.jsonl").read_text().splitlines(keepends=True)
    (run / "evals.jsonl").write_text("".join(lines[:5]))
    monkeypatch.setenv("FAKE_STARTING_STEP", "8")
    going_on = fake.tracker(fake.process(), run, mode="online")
    with (run / "evals.jsonl").open("a") as file:
        file.writelines(json.dumps(encode(point(number))) + "\n" for number in range(5, 12))
    write_run(run, RUN)
    going_on.finish()

    logged = [call["step"] for call in fake.calls("log") if call["samples"] is not None]
    assert logged == list(range(12))
    assert [call["resume"] for call in fake.calls("init")] == [None, "allow"]
    assert {call["id"] for call in fake.calls("init")} == {_id(run)}
    assert [call["exit_code"] for call in fake.calls("finish")] == [1, 0]


@pytest.mark.parametrize("where", ["init", "log", "save", "finish"])
@pytest.mark.parametrize("what", ["hang", "die", "fill the disk"])
def test_whatever_becomes_of_wandb_the_run_ends_and_says_so_once(
    fake: Fake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    what: str,
    where: str,
) -> None:
    if what == "hang":
        monkeypatch.setattr(tracking, "PATIENCE_S", 0.2)
    fake.does(f"{what} at {where}")
    run = tmp_path / "run"
    run.mkdir()
    tracker = fake.tracker(fake.process(), run)
    write_records(run, range(3))
    with caplog.at_level(logging.WARNING):
        tracker.on_eval(point(2))
        tracker.finish()
        tracker.on_eval(point(2))
    assert caplog.text.count("W&B failed") == 1
    assert {
        "hang": "not answered for 0.2 s",
        "die": "exit code 3",
        "fill the disk": "No space left on device",
    }[what] in caplog.text


def test_a_wandb_that_hangs_holds_no_number_of_runs_up(
    fake: Fake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tracking, "PATIENCE_S", 0.1)
    fake.does("hang at init")
    process = fake.process()
    run = tmp_path / ("a" * 250)
    run.mkdir()
    trackers = [fake.tracker(process, run) for _ in range(130)]  # more than a pipe takes
    for tracker in trackers:
        tracker.finish()
    assert caplog.text.count("W&B failed") == 1


@pytest.mark.parametrize(
    ("what", "where"),
    [
        ("lose the network", "online"),
        ("lose the network", "log"),
        ("lose the network", "finish"),
        ("die", "save"),
        ("hang", "finish"),
    ],
)
def test_when_wandb_fails_online_its_runs_are_written_offline_from_the_records(
    fake: Fake,
    server: WandbServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    what: str,
    where: str,
) -> None:
    if what == "hang":
        monkeypatch.setattr(tracking, "PATIENCE_S", 2.0)
    monkeypatch.setenv("FAKE_MODE", "online")
    fake.does(f"{what} at {where}")
    process = fake.process()
    for name in ("a", "b"):
        write_records(tmp_path / name, range(3))
        fake.tracker(process, tmp_path / name, mode="online").finish()
    assert caplog.text.count("could not be reached") == 1
    assert f"wandb sync {tmp_path}/a/wandb/offline-run-*" in caplog.text
    assert "W&B failed" not in caplog.text
    modes = [(call["id"], call["mode"]) for call in fake.calls("init")]
    a, b = _id(tmp_path / "a"), _id(tmp_path / "b")
    assert modes == [(a, "online"), (a, "offline"), (b, "offline")]  # online is tried once
    logged = [call for call in fake.calls("log") if call["mode"] == "offline"]
    assert [call["samples"] for call in logged] == [0, 100, 200, None] * 2  # None: the table
    ended = [call for call in fake.calls("finish") if call["mode"] == "offline"]
    assert [(call["id"], call["exit_code"]) for call in ended] == [(a, 0), (b, 0)]


def test_a_server_that_is_not_there_is_not_waited_for(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", closed_port())
    write_records(tmp_path / "run", range(3))
    fake.tracker(fake.process(), tmp_path / "run", mode="online").finish()
    assert "could not be reached (http://127.0.0.1" in caplog.text
    assert [call["mode"] for call in fake.calls("init")] == ["offline"]
    assert len(fake.calls("finish")) == 1


@pytest.mark.slow
def test_an_offline_run_that_was_killed_is_written_anew_as_a_whole(tmp_path: Path) -> None:
    config = WandbOptions(mode="offline")
    killed = Mirror()
    WandbTracker(config, tmp_path, name="x", group=None, job_type="y", process=killed)
    write_records(tmp_path, range(8), finished=False)
    killed.close()
    [before] = (tmp_path / "wandb").glob("offline-run-*")
    shutil.copytree(before, tmp_path / "first" / "wandb" / before.name)
    assert steps(leet(tmp_path / "first")) == list(range(8))

    lines = (tmp_path / "evals.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "evals.jsonl").write_text("".join(lines[:5]))
    going_on = Mirror()
    tracker = WandbTracker(config, tmp_path, name="x", group=None, job_type="y", process=going_on)
    with (tmp_path / "evals.jsonl").open("a") as file:
        file.writelines(json.dumps(encode(point(number))) + "\n" for number in range(5, 12))
    write_run(tmp_path, RUN)
    tracker.finish()
    going_on.close()
    mirrored = leet(tmp_path)
    assert steps(mirrored) == list(range(12))
    assert about(mirrored)["run_id"] == _id(tmp_path) == before.name.rsplit("-", 1)[1]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_offline_means_that_no_network_is_even_asked_for(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    root = Path(__file__).parent.parent
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace),
         sys.executable, "-m", "bsscale", *ON, "hydra.run.dir=run", "gpus=2"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    calls = trace.read_text()
    assert "AF_UNIX" in calls  # W&B's own process
    assert "AF_INET" not in calls


@pytest.mark.parametrize("group", [None, "multirun"])
def test_only_a_single_run_is_the_one_that_an_agent_has_started(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str | None
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "agents")
    monkeypatch.setenv("WANDB_SWEEP_ID", "a-sweep")
    fake.does("nothing")
    process = fake.process()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_records(tmp_path / name, range(2))
        WandbTracker(
            WandbOptions(), tmp_path / name, name="x", group=group, job_type="y", process=process
        ).finish()
    begun = fake.calls("init")
    if group is None:
        assert begun[0]["id"] == "agents" and begun[0]["agent"]
    else:
        assert len({call["id"] for call in begun} | {"agents"}) == 3
        assert not any(call["agent"] for call in begun)


@pytest.mark.parametrize(
    ("given", "environment", "mode"),
    [
        (None, None, "offline"),
        (None, "", "offline"),
        (None, "online", "online"),
        (None, "dryrun", "offline"),
        ("online", "", "online"),
        ("online", "disabled", "disabled"),
    ],
)
def test_the_mode(
    monkeypatch: pytest.MonkeyPatch, given: str | None, environment: str | None, mode: str
) -> None:
    if environment is not None:
        monkeypatch.setenv("WANDB_MODE", environment)
    options = WandbOptions(mode=given)
    options.check()
    assert options.mode_now == mode


@pytest.mark.parametrize(
    ("options", "environment", "fact"),
    [
        (WandbOptions(mode="onlin"), "", "tracker.mode=onlin"),
        (WandbOptions(), "onlin", "WANDB_MODE=onlin"),
        (WandbOptions(project="team/ctr"), "", "contains '/'"),
        (WandbOptions(project=""), "", "0 characters"),
        (WandbOptions(project="x" * 129), "", "129 characters"),
    ],
)
def test_what_wandb_would_refuse_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch, options: WandbOptions, environment: str, fact: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", environment)
    with pytest.raises(ConfigError, match=re.escape(fact)) as caught:
        check_config(small_config(tracker=options))
    assert caught.value.remedy
