"""Records: written as they happen, whole or not at all, and read back."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bsscale.data import Dataset, load_dataset
from bsscale.errors import RecordsError
from bsscale.files.checked import write_checked
from bsscale.files.replace import write_json
from bsscale.records.environment import describe_environment
from bsscale.records.evaluation import EvalPoint, encode, read_evals
from bsscale.records.run_record import Column, RunRecord, read_run, write_run
from bsscale.records.secrets import without_secrets
from bsscale.records.writer import Records
from tests.conftest import SMALL, Finished
from tests.helpers import SYNTHETIC

POINT = EvalPoint(1, 128, {"auc": 0.6, "log_loss": 0.5}, 0.55, 0.1, 0.9, 0.25)
RUN = RunRecord(
    status="exhausted",
    reason="the budget is spent",
    arm="fixed gpus=1",
    arm_hash="0123456789ab",
    study=None,
    metric="auc",
    direction="max",
    target=0.76,
    samples_to_target_interval=None,
    samples_to_target=None,
    best_value=0.7,
    final_value=0.69,
    test_value=0.68,
    best_possible=None,
    samples_seen=256,
    budget_samples=256,
    eval_interval_samples=128,
    steps=2,
    gpus=1,
    micro_batch=128,
    grad_accum=1,
    global_batch=128,
    schedule="fixed",
    scaling="none",
    optimizer="sgd",
    model="mlp",
    dataset="synthetic",
    objective="binary",
    executor="virtual",
    trainer="bsscale",
    data_key=None,
    columns=(Column(name="site", role="categorical", cardinality=7),),
    seed=0,
    base_lr=0.1,
    samples_per_s=100.0,
    eval_share=0.1,
    wall_s=2.5,
    environment={},
    config={},
)


def test_a_run_round_trips(tmp_path: Path) -> None:
    reached = msgspec.structs.replace(RUN, status="reached", samples_to_target_interval=(128, 256))
    for record in (RUN, reached):
        write_run(tmp_path, record)
        assert read_run(tmp_path) == record


def test_evaluations_are_on_disk_as_they_happen(tmp_path: Path) -> None:
    with Records(tmp_path / "run") as records:
        for number in range(3):
            records.on_eval(replace(POINT, step=number, samples=128 * number))
            lines = (tmp_path / "run" / "evals.jsonl").read_text().splitlines()
            assert len(lines) == number + 1
    assert [point.step for point in read_evals(tmp_path / "run")] == [0, 1, 2]


def test_non_finite_numbers_are_null_on_disk(tmp_path: Path) -> None:
    with Records(tmp_path / "run") as records:
        records.on_eval(
            replace(POINT, metrics={"auc": None, "log_loss": math.nan}, train_loss=math.inf)
        )
    line = json.loads((tmp_path / "run" / "evals.jsonl").read_text())
    assert (line["auc"], line["log_loss"], line["train_loss"]) == (None, None, None)
    [point] = read_evals(tmp_path / "run")
    assert point.metrics == {"auc": None, "log_loss": None} and point.train_loss is None


@pytest.mark.parametrize("name", ["run.json", "evals.jsonl"])
def test_a_directory_that_holds_a_run_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(RecordsError, match="already holds a run"):
        Records(tmp_path)
    assert (tmp_path / name).read_text() == "precious"


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordsError, match="cannot be written: Not a directory"):
        Records(tmp_path / "file" / "run")


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    whole = json.dumps(encode(POINT)) + "\n"
    (tmp_path / "evals.jsonl").write_text(whole + whole[:20])
    assert read_evals(tmp_path) == [POINT]


@pytest.mark.parametrize("line", ["not json", "{}", '{"step": 1, "surprise": 2}', "[]"])
def test_a_line_that_is_no_evaluation_is_an_error_with_its_number(
    tmp_path: Path, line: str
) -> None:
    (tmp_path / "evals.jsonl").write_text(json.dumps(encode(POINT)) + "\n" + line + "\n")
    with pytest.raises(RecordsError, match="line 2"):
        read_evals(tmp_path)


def _without(key: str) -> dict[str, Any]:
    return {k: v for k, v in msgspec.to_builtins(RUN).items() if k != key}


def _with(**fields: Any) -> dict[str, Any]:
    return {**msgspec.to_builtins(RUN), **fields}


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (None, "holds no run.json"),
        ("{", "cannot be read"),
        ("[]", "is not a JSON object"),
        ("{}", "format_version None"),
        (json.dumps(msgspec.to_builtins(RUN)).replace("0.7", "NaN"), "cannot be read"),
        (json.dumps({**msgspec.to_builtins(RUN), "format_version": 99}), "format_version 99"),
        (json.dumps(_without("status")), "missing required field `status`"),
        (json.dumps(_with(gpus="8")), r"Expected `int`, got `str` - at `\$.gpus`"),
        (json.dumps(_with(samples_seen=-1)), r">= 0 - at `\$.samples_seen`"),
        (json.dumps(_with(status="gone")), r"'gone' - at `\$.status`"),
    ],
)
def test_a_run_that_cannot_be_read_says_why(tmp_path: Path, data: str | None, fact: str) -> None:
    if data is not None:
        (tmp_path / "run.json").write_text(data)
    with pytest.raises(RecordsError, match=fact):
        read_run(tmp_path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"new": object()})
    assert json.loads((tmp_path / "x.json").read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_evaluations_that_are_no_text_are_an_error_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "evals.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(RecordsError, match="is not an evaluation"):
        read_evals(tmp_path)


def test_what_a_later_version_adds_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(_with(carbon_kg=0.1)))
    assert read_run(tmp_path) == RUN
    line = {**encode(POINT), "accuracy": 0.8, "note": "odd"}
    (tmp_path / "evals.jsonl").write_text(json.dumps(line) + "\n")
    [point] = read_evals(tmp_path)
    assert point == replace(POINT, metrics={**POINT.metrics, "accuracy": 0.8})


def test_evaluations_whose_samples_do_not_rise_are_an_error(tmp_path: Path) -> None:
    line = json.dumps(encode(POINT)) + "\n"
    (tmp_path / "evals.jsonl").write_text(line + line)
    with pytest.raises(RecordsError, match=r"line 2 .* 128 samples follow 128"):
        read_evals(tmp_path)


@pytest.mark.parametrize("name", ["auc", "log_loss", "noise_scale"])
def test_a_metric_that_is_no_number_is_an_error_by_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "evals.jsonl").write_text(json.dumps({**encode(POINT), name: "0.5"}) + "\n")
    with pytest.raises(RecordsError, match=rf"`str` - at `\$.{name}`"):
        read_evals(tmp_path)


def test_a_run_that_reached_its_target_says_where(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(_with(status="reached")))
    with pytest.raises(RecordsError, match="samples_to_target_interval"):
        read_run(tmp_path)


def test_the_environment_names_the_commit_of_the_checkout() -> None:
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        pytest.skip("the tests do not run from a git checkout")
    git = ["git", "-C", str(root), "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    assert describe_environment("cpu")["git_commit"] == head


def test_files_follow_the_umask(tmp_path: Path) -> None:
    for mask in (0o022, 0o077):
        before = os.umask(mask)
        try:
            directory = tmp_path / oct(mask)
            with Records(directory) as records:
                records.finish(RUN)
            arrays = {"a": np.zeros(3)}
            write_checked(directory / "a.safetensors", arrays, "")
            write_checked(directory / "a.safetensors", arrays, "")
        finally:
            os.umask(before)
        files = [each for each in directory.iterdir() if each.is_file()]
        assert len(files) == 3
        assert {each.stat().st_mode & 0o777 for each in files} == {0o666 & ~mask}


def test_what_a_killed_start_was_writing_is_removed_by_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    left = [
        tmp_path / ".run.json.0a1b2c3d.part",
        tmp_path / ".model.safetensors.part",
        tmp_path / "checkpoints" / ".step-000000100.safetensors.part",
    ]
    for path in left:
        path.write_text("half of it")
    (tmp_path / "mine.part").write_text("not a file of ours")
    Records(tmp_path).close()
    assert not any(path.exists() for path in left)
    assert (tmp_path / "mine.part").exists()


def test_no_record_holds_a_secret(tmp_path: Path, bsscale: Callable[..., Finished]) -> None:
    secret = "hunter2-and-more"
    done = bsscale(
        *SMALL[4:8], "dataset=custom", "dataset._target_=tests.test_records.behind_a_password",
        "+dataset.url=db://me:${oc.env:DB_PASSWORD}@host/clicks", "hydra.run.dir=run",
        "tracker=wandb", "tracker.mode=offline", DB_PASSWORD=secret,
    )  # fmt: skip
    assert done.code == 0, done.text
    assert secret not in done.text
    holding = [
        str(path)
        for path in tmp_path.rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert holding == []
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert config["dataset"]["url"] == "db://me:${oc.env:DB_PASSWORD}@host/clicks"


def behind_a_password(url: str) -> Dataset:
    assert url == "db://me:hunter2-and-more@host/clicks"
    return load_dataset({**SYNTHETIC, "samples_per_pass": 2000})


def test_a_secret_that_begins_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "abcdefgh")
    monkeypatch.setenv("B_TOKEN", "abcdefgh1234")
    found = without_secrets({"x": ["abcdefgh1234", "abcdefgh", "ab"]})
    assert found == {"x": ["${oc.env:B_TOKEN}", "${oc.env:A_KEY}", "ab"]}
