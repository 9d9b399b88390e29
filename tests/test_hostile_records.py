"""Damaged and hostile records: an error that says so, no hang, and nothing is changed or lost.

``BSSCALE_EXAMPLES=5000 python -m pytest -o addopts= tests/test_hostile_records.py`` tries more.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bsscale.report.write
from bsscale.data import load_dataset
from bsscale.errors import BsscaleError
from bsscale.planning.devices import Devices
from bsscale.records.checkpoints import write_plan
from bsscale.report.write import write_report
from bsscale.study.options import StudyOptions
from bsscale.study.plan import StudyPlan, check_study
from bsscale.study.presets import read_preset
from bsscale.study.protocol import study
from bsscale.study.registration import open_study
from bsscale.study.runs import Runs
from bsscale.training.resume import find_start
from tests.helpers import prepare, small_config
from tests.report_records import write_run_of, write_study

EXAMPLES = int(os.environ.get("BSSCALE_EXAMPLES", "200"))
many = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

DEEP = "deep nesting"
VALUES = [
    None, True, -1, 0, 1.5, 10**400, -(10**400), 2**63, 1e308, float("nan"), float("inf"),
    "", "auto", "../../x", "/x", "\ud800", "a\x00b", "${oc.env:HOME}", "x" * 10_000,
    [], {}, [[]], {"a": None}, DEEP,
]  # fmt: skip
HOSTILE = st.one_of(
    st.sampled_from(VALUES),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
)


@st.composite
def damages(draw: st.DrawFn) -> Any:
    """How one file is damaged: its bytes, or a value somewhere in its JSON."""
    if draw(st.booleans()) and draw(st.booleans()):
        return draw(st.sampled_from([b"", b"\xef\xbb\xbf{}", b"null", b"[" * 100_000, b"\xff\xfe"]))
    return draw(st.lists(st.integers(0, 50), min_size=1, max_size=5)), draw(HOSTILE)


def damage(path: Path, how: Any) -> None:
    """Damage a file of JSON, or of a JSON object a line."""
    if isinstance(how, bytes):
        path.write_bytes(how)
        return
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    where, value = how
    number = where[0] % len(lines)
    data = _replaced(json.loads(lines[number]), where, value)
    text = json.dumps(data).replace(json.dumps(DEEP), "[" * 50_000 + "]" * 50_000)
    lines[number] = text
    path.write_text("\n".join(lines) + "\n")


def _replaced(data: Any, where: list[int], value: Any) -> Any:
    if not where or not isinstance(data, dict | list) or not data:
        return value
    keys = list(data) if isinstance(data, dict) else list(range(len(data)))
    key = keys[where[0] % len(keys)]
    data[key] = _replaced(data[key], where[1:], value)
    return data


def digest(directory: Path) -> dict[str, str]:
    """Every file below a directory, by a digest of its content; locks hold nothing."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@contextmanager
def copy_of(directory: Path) -> Iterator[Path]:
    """A copy in a folder of its own, where anything that is written beside it is seen."""
    with tempfile.TemporaryDirectory() as alone:
        copy = Path(alone, "inner", "records")
        shutil.copytree(directory, copy)
        yield copy
        assert [each.name for each in Path(alone).iterdir()] == ["inner"]
        assert {each.name for each in (Path(alone) / "inner").iterdir()} <= {"records", "out"}


# --- Reports --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("reported"), seeds=range(2))


FILES = st.sampled_from(
    [
        "study.json",
        "range_test/range_test.json",
        "runs/1_GPU/0/run.json",
        "runs/1_GPU/0/evals.jsonl",
        "range_test/seed-1000000/evals.jsonl",
    ]
)


@pytest.mark.slow
@many
@given(file=FILES, how=damages())
def test_a_report_of_damaged_records(
    reported: Path, monkeypatch: pytest.MonkeyPatch, file: str, how: Any
) -> None:
    monkeypatch.setattr(bsscale.report.write, "figures", lambda *_: [])
    report_of_damaged(reported, file, how)


@pytest.mark.slow
@settings(many, max_examples=max(1, EXAMPLES // 10))
@given(file=FILES, how=damages())
def test_charts_of_damaged_records(
    reported: Path, monkeypatch: pytest.MonkeyPatch, file: str, how: Any
) -> None:
    monkeypatch.setattr(bsscale.report.write, "svg", lambda chart: f"<svg>{len(chart.to_json())}")
    monkeypatch.setattr(bsscale.report.write, "save", lambda *_: [])
    monkeypatch.setattr(bsscale.report.page, "themed", lambda *_: "")
    report_of_damaged(reported, file, how)


def report_of_damaged(reported: Path, file: str, how: Any) -> None:
    with copy_of(reported) as directory:
        damage(directory / file, how)
        before = digest(directory)
        with suppress(BsscaleError):
            write_report([directory], directory.parent / "out")
        assert digest(directory) == before


# --- A run that is started again ------------------------------------------------------------------


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("ended") / "run"
    write_run_of(directory, "fixed", 0, 100.0)
    write_plan(directory, {"seed": 0, "global_batch": 32})
    return directory


@many
@given(
    file=st.sampled_from(["run.json", "evals.jsonl", "checkpoints/plan.json"]),
    how=damages(),
    ended_before=st.booleans(),
)
def test_a_run_in_a_damaged_directory(ended: Path, file: str, how: Any, ended_before: bool) -> None:
    plan, _ = prepared()
    with copy_of(ended) as directory:
        damage(directory / file, how)
        if not ended_before:
            (directory / "run.json").unlink()
        before = digest(directory)
        with pytest.raises(BsscaleError) as caught:
            find_start(directory, plan)
        assert caught.value.remedy
        assert digest(directory) == before


_PREPARED: list[Any] = []


def prepared() -> Any:
    if not _PREPARED:
        _PREPARED.append(prepare(small_config()))
    return _PREPARED[0]


# --- A study that is started again ----------------------------------------------------------------


class TrainedError(BsscaleError):
    """The study has got as far as training."""


def study_config(directory: Path) -> Any:
    arms = {
        "one_gpu": {"schedule": {"name": "fixed"}, "gpus": 1, "role": "baseline"},
        "onecycle": {"schedule": {"name": "onecycle"}, "preset": True},
    }
    task = StudyOptions(
        arms=arms, seeds=2, trials=3, tuning_seeds=1, target_seeds=1, range_test_seeds=1,
        directory=str(directory),
    )  # fmt: skip
    return small_config(task=task, gpus=4, base_lr=None, budget_samples=None, target=0.6)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("begun") / "study"
    directory.mkdir()
    config = study_config(directory)
    dataset = load_dataset(config.dataset)
    plan = StudyPlan(config, dataset, Devices(cuda=0))
    open_study(directory, plan.registered(), "a command")
    return directory


@pytest.mark.slow
@many
@given(how=damages())
def test_a_study_with_a_damaged_registration(
    begun: Path, monkeypatch: pytest.MonkeyPatch, how: Any
) -> None:
    def trained(*_: Any) -> Any:
        raise TrainedError("it trains")

    monkeypatch.setattr(Runs, "train", trained)
    _, dataset = prepared()
    with copy_of(begun) as directory:
        damage(directory / "study.json", how)
        before = digest(directory)
        config = study_config(directory)
        refused = False
        try:
            check_study(config, dataset, Devices(cuda=0))
        except BsscaleError:
            refused = True
        assert digest(directory) == before
        with pytest.raises(BsscaleError) as caught:
            study(config, dataset)
        if refused:
            assert not isinstance(caught.value, TrainedError)
            assert digest(directory) == before
        assert digest(directory).keys() >= before.keys()


@many
@given(how=damages())
def test_a_damaged_suggestion_of_a_range_test(how: Any) -> None:
    suggestion = {"cycle_min_lr": 0.1, "cycle_max_lr": 1.0, "cycle_first_samples": 100}
    data = {"format_version": 2, "suggestion": suggestion, "training": {}}
    config = study_config(Path())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "range_test", "range_test.json")
        path.parent.mkdir()
        path.write_text(json.dumps(data))
        damage(path, how)
        with suppress(BsscaleError):
            found = read_preset(config, Path(folder), 4)
            assert found is not None
            cycle = found.suggestion
            for rate in () if cycle is None else (cycle.cycle_min_lr, cycle.cycle_max_lr):
                assert rate is None or isinstance(rate, float)
