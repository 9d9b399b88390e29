"""The study from the command line: registered, resumable, incremental, whatever kills it."""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from bsscale.cli.jobs import Job
from bsscale.cli.tasks import TASKS
from bsscale.config import TrackerOptions
from bsscale.errors import ConfigError, RecordsError
from bsscale.records.directories import (
    busy_error,
    error_in_study,
    records_unwritable,
    unwritable_error,
)
from bsscale.study.arms import make_arms
from bsscale.study.registered import to_register
from bsscale.study.registration import open_study
from bsscale.study.work import Work
from tests.composing import composed, hydra
from tests.conftest import Finished
from tests.helpers import SMALL_STUDY, others_slow, require_slurm

__all__ = ["hydra"]  # (a fixture)

Bsscale = Callable[..., Finished]

# Eight seconds of training: two arms and the baseline on two seeds.
STUDY = (
    *SMALL_STUDY,
    "dataset.samples_per_pass=16000",
    "dataset.validation_samples=3000",
    "dataset.test_samples=2000",
    "task.directory=study",
    "weights=last",
    "task.trials=4",
    "task.lowest_lr=0.03",
    "task.highest_lr=1.92",
)
# What differs between two starts of one study: times with the hashes over them, and what was typed.
TIMES = (
    "wall_s", "samples_per_s", "eval_share", "cost", "commands", "began", "chain", "study_head"
)  # fmt: skip


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def without_times(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: without_times(value) for key, value in data.items() if key not in TIMES}
    return data


def outcome(study: Path) -> dict[str, Any]:
    """Everything that a study has found, by file; or a run, a sweep, a range test."""
    records = ("study.json", "run.json", "range_test.json", "comparison.json")
    found: dict[str, Any] = {}
    for path in sorted(study.rglob("*")):
        name = str(path.relative_to(study))
        if path.name in records:
            found[name] = without_times(read(path))
        elif path.name == "evals.jsonl":
            lines = path.read_text().splitlines()
            found[name] = [without_times(json.loads(line)) for line in lines]
        elif path.name == "model.safetensors":
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Path:
    """A study that nothing disturbs; tests only read it."""
    directory = tmp_path_factory.mktemp("undisturbed")
    done = subprocess.run(
        command(*STUDY), cwd=directory, env=environment(session_cache),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return directory / "study"


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "bsscale", *overrides]


def environment(cache: Path) -> dict[str, str]:
    root = Path(__file__).parent.parent
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")])),
        "BSSCALE_CACHE_DIR": str(cache),
        "OMP_NUM_THREADS": "1",
    }


def test_a_study_settles_everything_in_order_and_reports(undisturbed: Path) -> None:
    study = read(undisturbed / "study.json")
    registered = study["registered"]
    assert [arm["name"] for arm in registered["arms"]] == [
        "one_gpu", "fixed", "onecycle", "tuned_constant", "tuned_onecycle",
    ]  # fmt: skip
    assert registered["seeds"] == [0, 1]
    assert not set(registered["seeds"]) & {*registered["tuning_seeds"], *registered["target_seeds"]}
    assert sum(len(stack["runs"]) for stack in registered["stacks"]) == 5 * 2
    tunings = {tuning["name"]: tuning for tuning in study["tunings"]}
    assert {name: tuning["gpus"] for name, tuning in tunings.items()} == {
        "one_gpu": 1, "tuned_constant": 4, "tuned_onecycle": 4,
    }  # fmt: skip
    assert study["base_lr"] == tunings["one_gpu"]["best"]
    # The tuned arms have tried as many rates, and at least as many as 1 GPU.
    tried = {name: len(tuning["trials"]) for name, tuning in tunings.items()}
    assert tried["tuned_constant"] == tried["tuned_onecycle"] >= tried["one_gpu"]
    records = [read(path) for path in sorted((undisturbed / "runs").glob("*/*/run.json"))]
    assert len(records) == 10
    assert {r["study"] for r in records} == {study["hash"]}
    assert {r["target"] for r in records} == {study["target"]}
    assert {r["budget_samples"] for r in records} == {study["budget_samples"]}
    assert {(r["arm"], r["gpus"]) for r in records} == {
        ("one_gpu", 1), ("fixed", 4), ("onecycle", 4), ("tuned_constant", 4), ("tuned_onecycle", 4),
    }  # fmt: skip
    peak = next(r for r in records if r["arm"] == "tuned_onecycle")["config"]["schedule"]
    assert peak["cycle_max_lr"] == tunings["tuned_onecycle"]["best"]
    assert peak["cycle_min_lr"] == pytest.approx(peak["cycle_max_lr"] / 10, rel=0.01)
    constant = next(r for r in records if r["arm"] == "tuned_constant")
    assert constant["base_lr"] == tunings["tuned_constant"]["best"]
    cycle = next(r for r in records if r["arm"] == "onecycle")["config"]["schedule"]
    suggested = read(undisturbed / "range_test" / "range_test.json")["suggestion"]
    assert {key: cycle[key] for key in suggested} == suggested
    assert (undisturbed / "report" / "report.html").stat().st_size > 10_000
    [preset] = study["presets"]
    assert (preset["gpus"], preset["suggestion"]["name"]) == (4, "onecycle")


def test_the_target_comes_from_other_runs_than_those_that_are_judged(undisturbed: Path) -> None:
    study = read(undisturbed / "study.json")
    best = sorted(read(p)["best_value"] for p in (undisturbed / "target").glob("*/run.json"))
    assert study["target"] == pytest.approx(sum(best) / 2 - 0.005)


@pytest.mark.slow
def test_started_again_it_trains_nothing_and_grows_by_seeds_and_arms(
    bsscale: Bsscale, tmp_path: Path, undisturbed: Path
) -> None:
    copy = tmp_path / "study"
    subprocess.run(["cp", "-r", str(undisturbed), str(copy)], check=True)
    before = outcome(copy)
    stamps = {path: path.stat().st_mtime_ns for path in copy.rglob("run.json")}
    again = bsscale(*STUDY)
    assert again.code == 0, again.text
    assert outcome(copy) == before

    arm = "+task.arms.cosine={schedule:{name:cosine}}"
    grown = bsscale(*STUDY, "task.seeds=3", arm)
    assert grown.code == 0, grown.text
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert len(list((copy / "runs").glob("*/*/run.json"))) == 6 * 3
    study = read(copy / "study.json")
    assert study["hash"] == before["study.json"]["hash"]
    [amendment] = study["amendments"]
    assert amendment["seeds_added"] == [2]
    assert [arm["name"] for arm in amendment["arms_added"]] == ["cosine"]
    assert study["target"] == before["study.json"]["target"]


@pytest.mark.parametrize(
    ("override", "fact"),
    others_slow(
        3,
        [
            ("micro_batch=64", "settings.micro_batch was 32 and is now 64"),
            ("task.trials=5", "options.trials was 4 and is now 5"),
            ("task.finalist_seeds=2", "options.finalist_seeds was 1 and is now 2"),
            ("task.highest_lr=9", "rates was"),
            ("target=0.7", "target was None and is now 0.7"),
            ("precision=bf16", "settings.precision was fp32 and is now bf16"),
            ("~task.arms.fixed", "arm fixed was"),
            ("task.seeds=1", "the seeds 1 are gone"),
            ("task.primary=fixed", "options.primary was None and is now fixed"),
        ],
    ),
)
def test_another_study_in_the_same_directory_is_refused(
    bsscale: Bsscale, tmp_path: Path, undisturbed: Path, override: str, fact: str
) -> None:
    copy = tmp_path / "study"
    copy.mkdir()
    (copy / "study.json").write_bytes((undisturbed / "study.json").read_bytes())
    done = bsscale(*STUDY, override)
    assert done.code == 1 and fact in done.text and "Traceback" not in done.text
    assert (copy / "study.json").read_bytes() == (undisturbed / "study.json").read_bytes()


@pytest.mark.parametrize(
    ("content", "fact"),
    others_slow(
        1, [('{"format_version": 3}', "format_version 3"), ("{", "cannot be read"), ("{}", "None")]
    ),
)
def test_a_run_that_cannot_be_read_is_never_deleted(
    bsscale: Bsscale, tmp_path: Path, undisturbed: Path, content: str, fact: str
) -> None:
    copy = tmp_path / "study"
    subprocess.run(["cp", "-r", str(undisturbed), str(copy)], check=True)
    (copy / "runs" / "fixed" / "seed-0" / "run.json").write_text(content)
    before = {path: path.read_bytes() for path in (copy / "runs").rglob("*.json*")}
    done = bsscale(*STUDY)
    assert done.code == 1 and fact in done.text and "Traceback" not in done.text, done.text
    assert "runs/fixed/seed-0/run.json" in done.text and "move that directory away" in done.text
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("override", "fact"),
    [
        ("gpus=1", "compares 1 GPU with itself"),
        ("task.trials=2", "task.trials=2"),
        ("task.finalist_seeds=0", "task.finalist_seeds=0"),
        ("+task.arms.onecycle.rate=tuned", "preset=true and rate=tuned"),
        ("+task.arms.tuned_onecycle.schedule.cycle_max_lr=1", "schedule.cycle_max_lr=1.0, and"),
        ("task.seeds=0", "task.seeds=0"),
        ("task.seeds=many", "task.seeds=many is no number"),
        ("task.looks=[2,3]", "task.looks=[2, 3] has no effect with task.seeds=2"),
        ("task.first_seed=999999", "meets the seeds"),
        ("+task.arms.fixed.role=baseline", "2 baselines"),
        ("+task.arms.fixed.rate=best", "task.arms.fixed.rate=best"),
        ("task.arms.fixed.schedule.name=cycle", "is no schedule"),
        ("+task.arms.fixed.preset=true", "preset=true with schedule fixed"),
        ("+task.arms.fixed.colour=red", "colour"),
        ("+task.arms.fixed.gpus=true", "gpus in task.arms.fixed"),
        ("+task.arms.fixed.preset=perhaps", "preset in task.arms.fixed"),
        ("task.arms.fixed=3", "is no arm"),
        ("+task.arms={../../x:{schedule:{name:fixed}}}", "has the name '../../x'"),
        ("+task.arms={.hidden:{schedule:{name:fixed}}}", "has the name '.hidden'"),
        ("task.budget_factor=inf", "task.budget_factor=inf"),
        ("task.lowest_lr=0", "task.lowest_lr=0"),
        ("task.momenta=[]", "task.momenta=[] is empty"),
        ("task.momenta=[0.9,0.9]", "task.momenta=[0.9, 0.9] has one of them twice"),
        ("task.momenta=[0.9,1.5]", "optimizer.momentum=1.5 is outside [0, 1)"),
        ("task.momenta=[0.05]", "cycle_min_mom is -0.05"),
        ("+task.arms.fixed.schedule.colour=red", "colour"),
    ],
)
def test_what_cannot_be_studied_is_refused_before_training(
    hydra: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, fact: str
) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = composed(*STUDY, override)
    with pytest.raises(ConfigError, match=re.escape(fact)):
        TASKS["study"].check(Job(cfg, None))
    assert not list(tmp_path.iterdir())


def test_a_boolean_of_an_arm_is_one_however_it_is_written(hydra: None) -> None:
    for word, preset in (("no", False), ("false", False), ("yes", True)):
        cfg = composed(*STUDY, f"task.arms.onecycle.preset={word}")
        [arm] = [
            each
            for each in make_arms(Job(cfg, None).config.task, 4)  # type: ignore[arg-type]
            if each.name == "onecycle"
        ]
        assert arm.preset is preset


def test_a_study_of_a_moved_file_is_the_same_and_of_other_data_another(
    hydra: None, tmp_path: Path
) -> None:
    config = Job(composed(*STUDY), None).config
    arms = make_arms(config.task, 4)  # type: ignore[arg-type]
    moved = replace(config, dataset={**config.dataset, "path": "moved.csv"})
    study = open_study(tmp_path, to_register(config, arms, [], "a key"), "")
    again = open_study(tmp_path, to_register(moved, arms, [], "a key"), "")
    assert again.hash == study.hash
    for key in ("another key", None):
        with pytest.raises(ConfigError, match="data_key was a key and is now") as caught:
            open_study(tmp_path, to_register(moved, arms, [], key), "")
        assert "settings.dataset.path was None" in str(caught.value)


def test_the_runs_of_a_study_have_one_executor(hydra: None, tmp_path: Path) -> None:
    config = Job(composed(*STUDY, "executor=virtual"), None).config
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    study = open_study(tmp_path / "a", to_register(config, [], []), "")
    ddp = to_register(replace(config, executor=replace(config.executor, name="ddp")), [], [])
    with pytest.raises(ConfigError, match=r"settings.executor.name was virtual and is now ddp"):
        open_study(tmp_path / "a", ddp, "")
    # A study of an earlier version did not register it.
    registered = to_register(config, [], [])
    registered.settings["executor"].pop("name")
    earlier = open_study(tmp_path / "b", registered, "")
    assert open_study(tmp_path / "b", ddp, "").hash == earlier.hash != study.hash


def test_the_remedies_of_a_run_in_a_study_name_its_options() -> None:
    for error in (
        busy_error(Path("x")),
        unwritable_error(Path("x"), OSError()),
        records_unwritable(Path("x"), ValueError()),
    ):
        assert "hydra" in error.remedy and "hydra" not in error_in_study(error).remedy
    assert error_in_study(busy_error(Path("x"))).remedy.endswith(
        "give another directory (task.directory=PATH)"
    )
    again = error_in_study(records_unwritable(Path("x"), OSError()))
    assert again.remedy == "make room; the same command goes on from the last checkpoint"


def test_a_work_of_a_study_stays_in_its_directory() -> None:
    run = {"where": "../../x", "arm": "a", "schedule": {"name": "fixed"}, "tracked": False}
    work = Work(study=None, runs=[run])
    with pytest.raises(RecordsError, match="outside its study"):
        work.specs(None, TrackerOptions("none"))  # type: ignore[arg-type]


def test_two_processes_do_not_carry_out_one_study(bsscale: Bsscale, tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    with FileLock(tmp_path / "study" / ".lock"):
        done = bsscale(*STUDY)
    assert done.code == 1 and "another process" in done.text and "Traceback" not in done.text
    assert not (tmp_path / "study" / "study.json").exists()


def test_the_plan_names_the_momenta_and_counts_their_searches(
    hydra: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, two = (
        Job(composed(*STUDY, "base_lr=0.5", f"task.momenta={momenta}"), None)
        for momenta in ("[0.9]", "[0.5,0.9]")
    )
    assert "those of arms at each momentum of 0.5, 0.9" in TASKS["study"].describe(two)
    bare = Job(composed(*STUDY, "base_lr=0.5"), None)
    assert "momentum" not in TASKS["study"].describe(bare)
    # As many runs again for the other momentum of both tuned arms.
    search = TASKS["study"].most_samples(two) - TASKS["study"].most_samples(one)
    assert search > 0 and TASKS["study"].most_samples(bare) + search == (
        TASKS["study"].most_samples(two)
    )


@pytest.mark.slow
def test_momenta_are_a_second_axis_of_the_tuned_arms(bsscale: Bsscale, tmp_path: Path) -> None:
    arguments = (
        *STUDY, "task.seeds=1", "task.trials=3", "task.momenta=[0.5,0.9]", "target=0.6",
        "base_lr=0.5", "~task.arms.fixed", "~task.arms.onecycle",
    )  # fmt: skip
    done = bsscale(*arguments)
    assert done.code == 0, done.text
    study = read(tmp_path / "study" / "study.json")
    assert study["registered"]["options"]["momenta"] == [0.5, 0.9]
    found: dict[str, list[Any]] = {}
    for tuning in study["tunings"]:
        arm = tuning["name"].removesuffix(f"-momentum-{tuning['momentum']}")
        found.setdefault(arm, []).append(tuning)
    assert {arm: [t["momentum"] for t in each] for arm, each in found.items()} == {
        "tuned_constant": [0.5, 0.9], "tuned_onecycle": [0.5, 0.9],
    }  # fmt: skip
    # As many rates for each momentum and arm.
    assert len({len(t["trials"]) for each in found.values() for t in each}) == 1

    def cost(tuning: Any) -> float:
        best = next(t for t in tuning["trials"] if t["lr"] == tuning["best"])
        return math.inf if best["samples_to_target"] is None else best["samples_to_target"]

    best = {arm: min(each, key=cost) for arm, each in found.items()}
    run = read(tmp_path / "study" / "runs" / "tuned_constant" / "seed-0" / "run.json")
    assert run["base_lr"] == best["tuned_constant"]["best"]
    assert run["config"]["optimizer"]["momentum"] == best["tuned_constant"]["momentum"]
    cycle = read(tmp_path / "study" / "runs" / "tuned_onecycle" / "seed-0" / "run.json")
    schedule = cycle["config"]["schedule"]
    assert schedule["cycle_max_lr"] == best["tuned_onecycle"]["best"]
    assert schedule["cycle_max_mom"] == best["tuned_onecycle"]["momentum"]
    assert schedule["cycle_min_mom"] == pytest.approx(schedule["cycle_max_mom"] - 0.1)
    assert cycle["config"]["optimizer"]["momentum"] == 0.9
    before = outcome(tmp_path / "study")
    again = bsscale(*arguments)
    assert again.code == 0 and outcome(tmp_path / "study") == before


@pytest.mark.slow
def test_a_failed_run_is_tried_twice_and_then_listed(bsscale: Bsscale, tmp_path: Path) -> None:
    # Its directory is a file: records cannot be written there.
    (tmp_path / "study" / "runs" / "fixed").mkdir(parents=True)
    (tmp_path / "study" / "runs" / "fixed" / "seed-1").write_text("")
    done = bsscale(*STUDY, "task.seeds=2")
    assert done.code == 1 and "1 of the study's runs failed" in done.text, done.text
    assert "Traceback" not in done.text and (tmp_path / "study" / "report" / "report.md").exists()
    [deviation] = read(tmp_path / "study" / "study.json")["deviations"]
    assert "runs/fixed/seed-1" in deviation
    assert len(list((tmp_path / "study" / "runs").glob("*/*/run.json"))) == 9
    # The same command trains it again.
    (tmp_path / "study" / "runs" / "fixed" / "seed-1").unlink()
    done = bsscale(*STUDY, "task.seeds=2")
    assert done.code == 0, done.text
    assert read(tmp_path / "study" / "study.json")["deviations"] == []
    assert len(list((tmp_path / "study" / "runs").glob("*/*/run.json"))) == 10


MODEL = """
import torch
from bsscale.models import Logistic


class Failing(Logistic):
    def forward(self, categorical, numeric):
        if torch.initial_seed() == 1:
            raise RuntimeError("seed 1 does not work today")
        return super().forward(categorical, numeric)
"""


@pytest.mark.slow
def test_a_run_that_fails_is_kept_and_trained_again_by_the_same_command(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    given = ("base_lr=0.05", "target=0.55", "budget_samples=16000", "executor.compile=false")
    own = ("model=custom", "model._target_=failing.Failing", "~task.arms.tuned_constant")
    own += ("~task.arms.tuned_onecycle",)
    command_ = (*STUDY, *given, *own, "~task.arms.onecycle", "task.target_seeds=1")
    (tmp_path / "failing.py").write_text(MODEL)
    for attempts in (2, 4):
        done = bsscale(*command_)
        assert done.code == 1 and "2 of the study's runs failed" in done.text, done.text
        assert "seed 1 does not work today" in done.text
        kept = [p for p in (tmp_path / "study").rglob("run.json") if "seed-1" in str(p)]
        assert sorted(read(path)["status"] for path in kept) == ["failed"] * len(kept)
        assert len(kept) == attempts * 2
    (tmp_path / "failing.py").write_text(MODEL.replace("== 1", "== -1"))
    done = bsscale(*command_)
    assert done.code == 0, done.text
    assert read(tmp_path / "study" / "study.json")["deviations"] == []
    assert (
        read(tmp_path / "study" / "runs" / "fixed" / "seed-1" / "run.json")["status"] == "reached"
    )
    assert len(list((tmp_path / "study" / "failed").rglob("run.json"))) == 8


def kill_and_restart(directory: Path, cache: Path, moment: int) -> None:
    """Kill a study with -9 once it has written `moment` evaluations, and start it again."""
    with subprocess.Popen(
        command(*STUDY), cwd=directory, env=environment(cache), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        while process.poll() is None:
            # (os.walk, and not rglob: directories go away while the study trains)
            lines = sum(
                Path(place, "evals.jsonl").read_bytes().count(b"\n")
                for place, _, files in os.walk(directory / "study")
                if "evals.jsonl" in files
            )
            if lines >= moment:
                os.killpg(process.pid, signal.SIGKILL)
                break
            time.sleep(0.002)
    finished = {path: path.stat().st_mtime_ns for path in (directory / "study").rglob("run.json")}
    done = subprocess.run(
        command(*STUDY), cwd=directory, env=environment(cache), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for path, stamp in finished.items():
        assert path.stat().st_mtime_ns == stamp, f"{path} was trained again"


KILLS = int(os.environ.get("BSSCALE_TEST_KILLS", "3"))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_a_random_moment_it_ends_as_if_undisturbed(
    number: int, tmp_path: Path, session_cache: Path, undisturbed: Path
) -> None:
    # BSSCALE_TEST_KILLS=20 python -m pytest -m slow tests/test_study.py
    total = sum(path.read_bytes().count(b"\n") for path in undisturbed.rglob("evals.jsonl"))
    moment = random.Random(number).randrange(1, total)
    kill_and_restart(tmp_path, session_cache, moment)
    expected, found = outcome(undisturbed), outcome(tmp_path / "study")
    # The commands differ in their directory alone; the figures are rebuilt from these records.
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit_local", "submitit_slurm"])
def test_trained_by_jobs_it_ends_with_the_same_numbers(
    launcher: str, bsscale: Bsscale, tmp_path: Path, undisturbed: Path
) -> None:
    if launcher == "submitit_slurm":
        require_slurm()
    done = bsscale(*STUDY, f"hydra/launcher={launcher}")
    assert done.code == 0, done.text
    assert outcome(tmp_path / "study") == outcome(undisturbed)
    assert (tmp_path / "study" / "report" / "report.html").exists()
    # Every step of the protocol was jobs': the target, the range test, the arms, and each round of
    # the searches, the first of which at 1 GPU and at 4 are grids.
    assert len(list((tmp_path / "study" / "jobs").glob("[0-9]*/work.json"))) >= 5
    # The study's own log goes on after its jobs, in its own words.
    assert "[HYDRA]" not in done.out
    [log] = (tmp_path / "outputs").glob("*/*/bsscale.log")
    assert "study 6/6  the report" in log.read_text()
