"""Runs that are interrupted end as undisturbed ones; what cannot go on is refused or begun anew."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bsscale.config import Config, ExecutorOptions, TaskOptions
from bsscale.engines.eager import EagerEngine
from bsscale.engines.stacked import StackedEngine
from bsscale.errors import BsscaleError, ConfigError, RecordsError
from bsscale.models import MLP
from bsscale.optimizers import AdamConfig, OptimizerConfig, SGDConfig
from bsscale.planning.plan import Plan
from bsscale.records.checkpoints import (
    Checkpoint,
    newest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import RunRecord
from bsscale.schedules.options import LinearScalingConfig, OneCycleConfig
from bsscale.study.options import RangeTestOptions, StudyOptions
from bsscale.terminal.progress import Progress
from bsscale.training.loop import train
from bsscale.training.outcome import record_failure
from bsscale.training.recorded_run import RunSpec
from bsscale.training.resume import find_start
from bsscale.training.run import run, run_together
from tests.engines.runs import DEFAULTS
from tests.helpers import MODELS, Bomb, Watched, damaged, prepare, small_config

ONECYCLE = OneCycleConfig(cycle_first_step_size=60, cycle_second_step_size=60)
OPTIMIZERS: dict[str, OptimizerConfig] = {
    **DEFAULTS,
    "decayed sgd": SGDConfig(weight_decay=1e-4),
    "nesterov": SGDConfig(nesterov=True),
    "sparse adam": AdamConfig(sparse=True),
}


class Noisy(MLP):
    """A module with buffers that change and random numbers of its own."""

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__(cardinalities, numeric_fields)
        self.norm = nn.BatchNorm1d(numeric_fields)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        noisy = nn.functional.dropout(self.norm(numeric), 0.2, training=self.training)
        return super().forward(categorical, noisy)


NOISY = {"_target_": "tests.test_resume.Noisy", "name": "noisy"}


@pytest.fixture(autouse=True)
def terminated() -> Iterator[None]:
    """SIGTERM ends this process as it ends bsscale."""
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    yield
    signal.signal(signal.SIGTERM, previous)


class Interrupted(Watched):
    """A job that is told to end after so many updates."""

    def __init__(self, plan: Plan, after: int | None = None) -> None:
        super().__init__(plan)
        self._after = after
        self.weights: dict[str, torch.Tensor] = {}

    def on_step(self, step: int) -> None:
        super().on_step(step)
        if self._after is not None and step >= self._after:
            self._after = None
            signal.raise_signal(signal.SIGTERM)

    def end(self, outcome: Any, model: Any) -> None:
        super().end(outcome, model)
        self.weights = {name: value.clone() for name, value in model.state_dict().items()}


def make(kind: str, plan: Plan, dataset: Any) -> Any:
    engine: EagerEngine | StackedEngine = (
        EagerEngine(plan, dataset) if kind == "eager" else StackedEngine(plan, dataset, width=2)
    )
    engine.updates_at_once = 9
    return engine


def numbers(job: Watched) -> list[dict[str, Any]]:
    return [{**asdict(point), "wall_s": None} for point in job.points]


@pytest.mark.parametrize(
    ("engine", "optimizer"),
    [
        pytest.param(
            engine,
            name,
            marks=() if name in ("sgd", "adam", "lamb", "sparse adam") else pytest.mark.slow,
        )
        for engine in ("stacked", "eager")
        for name in OPTIMIZERS
        if not (engine == "eager" and OPTIMIZERS[name].sparse is True)
    ],
)
def test_a_run_goes_on_to_the_bit(engine: str, optimizer: str) -> None:
    config = small_config(
        model=NOISY if engine == "eager" else MODELS["dlrm"],
        optimizer=OPTIMIZERS[optimizer],
        schedule=ONECYCLE if OPTIMIZERS[optimizer].momentum_now else small_config().schedule,
        base_lr=0.01,
        budget_samples=3 * 2048,
    )
    plan, dataset = prepare(config)
    undisturbed = Interrupted(plan)
    train([[undisturbed]], make(engine, plan, dataset), dataset.validation, dataset.test)

    # Between two evaluations.
    first = Interrupted(plan, after=81)
    with pytest.raises(SystemExit):
        train([[first]], make(engine, plan, dataset), dataset.validation, dataset.test)
    torch.manual_seed(99)
    [checkpoint] = first.saved
    assert checkpoint.step >= 81 and checkpoint.step % 64 != 0
    second = Interrupted(plan)
    second.checkpoint = checkpoint
    train([[second]], make(engine, plan, dataset), dataset.validation, dataset.test)
    assert numbers(first) + numbers(second) == numbers(undisturbed)
    assert undisturbed.weights.keys() == second.weights.keys()
    for name, value in undisturbed.weights.items():
        assert torch.equal(value, second.weights[name])


@pytest.mark.parametrize("engine", ["stacked", "eager"])
def test_a_run_that_goes_on_measures_the_same_noise_scale(engine: str) -> None:
    config = small_config(
        model=NOISY if engine == "eager" else MODELS["dlrm"],
        optimizer=AdamConfig(),
        base_lr=0.01,
        budget_samples=400 * 32,
        eval_interval_samples=4096,
        noise_scale=True,
    )
    plan, dataset = prepare(config)
    assert plan.noise_scale_steps == (100, 300)
    undisturbed, first, second = Interrupted(plan), Interrupted(plan, after=110), Interrupted(plan)
    train([[undisturbed]], make(engine, plan, dataset), dataset.validation, dataset.test)
    with pytest.raises(SystemExit):
        train([[first]], make(engine, plan, dataset), dataset.validation, dataset.test)
    [second.checkpoint] = first.saved
    assert 100 < second.checkpoint.step < 128  # (before the evaluation that shows the window)
    assert [window.step for window in second.checkpoint.windows] == [100]
    train([[second]], make(engine, plan, dataset), dataset.validation, dataset.test)
    assert undisturbed.outcome is not None and second.outcome is not None
    assert second.outcome.noise == undisturbed.outcome.noise
    assert numbers(first) + numbers(second) == numbers(undisturbed)
    assert undisturbed.points[1].noise_scale is not None
    assert undisturbed.outcome.noise["noise_scale_windows"] == 2


@pytest.mark.parametrize("optimizer", DEFAULTS)
@pytest.mark.parametrize("engines", [("stacked", "eager"), ("eager", "stacked")])
def test_an_engine_goes_on_from_anothers_checkpoint(
    engines: tuple[str, str], optimizer: str
) -> None:
    config = small_config(
        model=MODELS["deepfm"],
        optimizer=OPTIMIZERS[optimizer],
        base_lr=0.01,
        precision="fp64",
        budget_samples=2 * 2048,
    )
    plan, dataset = prepare(config)
    undisturbed = Interrupted(plan)
    train([[undisturbed]], make("eager", plan, dataset), dataset.validation, dataset.test)
    first, second = Interrupted(plan, after=70), Interrupted(plan)
    with pytest.raises(SystemExit):
        train([[first]], make(engines[0], plan, dataset), dataset.validation, dataset.test)
    [second.checkpoint] = first.saved
    train([[second]], make(engines[1], plan, dataset), dataset.validation, dataset.test)
    assert second.error is None
    for name, value in undisturbed.weights.items():
        torch.testing.assert_close(value, second.weights[name], rtol=1e-10, atol=1e-12)
    last, expected = second.points[-1], undisturbed.points[-1]
    assert last.train_loss == pytest.approx(expected.train_loss, rel=1e-10)


def spec_of(config: Config, directory: Path) -> tuple[RunSpec, Any]:
    plan, dataset = prepare(config)
    return RunSpec(plan, directory, arm="an arm"), dataset


def interrupt_after(monkeypatch: pytest.MonkeyPatch, samples: int) -> None:
    """Have the process told to end once so many samples have been trained on."""
    left = [samples]
    advance = Progress.advance

    def counting(self: Progress, number: int, amount: int) -> None:
        advance(self, number, amount)
        left[0] -= amount
        if left[0] <= 0:
            left[0] = sys.maxsize
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Progress, "advance", counting)


def interrupted(config: Config, directory: Path, samples: int = 7000) -> None:
    """A run that has been told to end, in its directory."""
    spec, dataset = spec_of(config, directory)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        interrupt_after(patch, samples)
        run(spec, dataset)


def carried_out(config: Config, directory: Path) -> RunRecord:
    spec, dataset = spec_of(config, directory)
    record = run(spec, dataset)
    assert record is not None
    return record


def assert_same(one: Path, two: Path) -> None:
    a, b = ([{**asdict(p), "wall_s": None} for p in read_evals(each)] for each in (one, two))
    assert a == b
    weights = "model.safetensors"
    assert (one / weights).read_bytes() == (two / weights).read_bytes()


CONFIG = small_config(checkpoint_interval_samples=2048)


def checkpoints(directory: Path) -> list[Path]:
    return sorted((directory / "checkpoints").glob("step-*"))


def test_the_same_directory_goes_on_and_a_finished_one_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    carried_out(CONFIG, tmp_path / "undisturbed")
    interrupted(CONFIG, tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()
    assert len(checkpoints(tmp_path / "run")) == 2
    record = carried_out(CONFIG, tmp_path / "run")
    assert "going on after" in caplog.text
    assert_same(tmp_path / "undisturbed", tmp_path / "run")
    assert checkpoints(tmp_path / "run") == []
    before = (tmp_path / "run" / "run.json").stat().st_mtime_ns
    assert carried_out(CONFIG, tmp_path / "run") == record
    assert (tmp_path / "run" / "run.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("task", "weights", "kept"),
    [
        (TaskOptions("train"), "auto", True),
        (TaskOptions("train"), "none", False),
        (StudyOptions(), "auto", False),
        (StudyOptions(), "last", True),
        (RangeTestOptions(), "auto", False),
    ],
)
def test_a_run_keeps_the_weights_that_are_asked_for(
    task: TaskOptions, weights: str, kept: bool, tmp_path: Path
) -> None:
    config = small_config(task=task, weights=weights, budget_samples=2048)
    record = carried_out(config, tmp_path / "run")
    assert (tmp_path / "run" / "model.safetensors").exists() == kept
    # What is kept changes nothing else: the same run is found again.
    other = small_config(task=task, weights="last", budget_samples=2048)
    assert carried_out(other, tmp_path / "run") == record


def test_a_stack_goes_on_with_every_run_in_its_place(tmp_path: Path) -> None:
    configs = [
        replace(CONFIG, seed=seed, budget_samples=budget)
        for seed, budget in enumerate([20_480, 4096, 20_480, 8192, 20_480])
    ]
    plans = [prepare(config)[0] for config in configs]
    _, dataset = prepare(CONFIG)

    def specs(folder: str) -> list[RunSpec]:
        return [RunSpec(p, tmp_path / folder / str(k), arm="") for k, p in enumerate(plans)]

    assert len(run_together(specs("undisturbed"), dataset)) == 5
    # Three at a time: the second run of a slot is under way, and a short one has ended.
    for samples in (25_000, 20_000):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
            interrupt_after(patch, samples)
            run_together(specs("run"), dataset)
    results = run_together(specs("run"), dataset)
    assert [isinstance(result, RunRecord) for result in results] == [True] * 5
    for number in range(5):
        assert_same(tmp_path / "undisturbed" / str(number), tmp_path / "run" / str(number))


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"base_lr": 0.2}, ": 0.1 there, 0.2 here"),
        ({"seed": 1}, "seed: 0 there, 1 here"),
        ({"model": MODELS["mlp"]}, "model.name: logistic there, mlp here"),
        ({"optimizer": SGDConfig(momentum=0.5)}, "optimizer.momentum: 0.9 there, 0.5 here"),
        ({"gpus": 2}, "global_batch: 32 there, 64 here"),
        ({"clip_grad_norm": 1.0}, "clip_grad_norm: None there, 1.0 here"),
        ({"target": 0.7}, "target: None there, 0.7 here"),
        ({"schedule": LinearScalingConfig(), "gpus": 2, "micro_batch": 16}, "0.1 there, 0.2 here"),
    ],
)
def test_another_training_is_refused_with_the_difference(
    tmp_path: Path, change: dict[str, Any], difference: str
) -> None:
    interrupted(CONFIG, tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="another training") as error:
        carried_out(replace(CONFIG, **change), tmp_path)
    assert difference in str(error.value) and "hydra.run.dir=PATH" in str(error.value)
    assert files == {path: path.read_bytes() for path in files}


def test_a_finished_run_of_another_configuration_is_refused(tmp_path: Path) -> None:
    carried_out(CONFIG, tmp_path)
    with pytest.raises(ConfigError, match="finished run of another") as error:
        carried_out(replace(CONFIG, base_lr=0.2), tmp_path)
    assert "base_lr: 0.1 there, 0.2 here" in str(error.value)


def test_a_moved_file_of_equal_data_is_the_same_training(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{rng.integers(2)},{rng.random():.3f}\n" for _ in range(4000)]

    def carry_out(name: str, directory: str) -> None:
        table = {
            "name": "table", "_target_": "bsscale.data.table.load",
            "path": str(tmp_path / name), "label": "click",
        }  # fmt: skip
        spec, dataset = spec_of(replace(CONFIG, dataset=table), tmp_path / directory)
        run(replace(spec, plan=replace(spec.plan, data_key=dataset.key)), dataset)

    (tmp_path / "old.csv").write_text("click,price\n" + "".join(rows))
    carry_out("old.csv", "undisturbed")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        interrupt_after(patch, 7000)
        carry_out("old.csv", "run")
    (tmp_path / "old.csv").rename(tmp_path / "new.csv")
    carry_out("new.csv", "run")
    assert_same(tmp_path / "undisturbed", tmp_path / "run")
    carry_out("new.csv", "undisturbed")  # (it has ended)
    (tmp_path / "new.csv").write_text("click,price\n" + "".join(rows[1:]))
    with pytest.raises(ConfigError, match="data_key: ") as caught:
        carry_out("new.csv", "undisturbed")
    assert "dataset.path: " in str(caught.value)


def test_other_replicas_at_the_same_global_batch_go_on(tmp_path: Path) -> None:
    config = replace(CONFIG, gpus=2, micro_batch=32, eval_interval_samples=None)
    carried_out(config, tmp_path / "undisturbed")
    interrupted(config, tmp_path / "run")
    # The defaults of the evaluation grid and the budget follow micro_batch, and are kept.
    other = replace(config, gpus=4, micro_batch=16, executor=ExecutorOptions("auto", "cpu"))
    assert carried_out(other, tmp_path / "run").gpus == 4
    assert_same(tmp_path / "undisturbed", tmp_path / "run")


@pytest.mark.parametrize("named", ["file", "directory"])
def test_a_new_directory_goes_on_from_a_path(tmp_path: Path, named: str) -> None:
    carried_out(CONFIG, tmp_path / "undisturbed")
    interrupted(CONFIG, tmp_path / "old")
    path = checkpoints(tmp_path / "old")[0] if named == "file" else tmp_path / "old"
    carried_out(replace(CONFIG, resume=str(path)), tmp_path / "new")
    assert_same(tmp_path / "undisturbed", tmp_path / "new")
    assert len(checkpoints(tmp_path / "old")) == 2


def test_its_own_checkpoint_comes_before_a_path(tmp_path: Path) -> None:
    interrupted(CONFIG, tmp_path / "old", samples=3000)
    config = replace(CONFIG, resume=str(tmp_path / "old"))
    interrupted(config, tmp_path / "new", samples=9000)
    own = newest_checkpoint(tmp_path / "new")
    assert own is not None
    interrupted(config, tmp_path / "new", samples=2000)
    again = newest_checkpoint(tmp_path / "new")
    assert again is not None and read_checkpoint(again).step > read_checkpoint(own).step


@pytest.mark.parametrize(
    ("resume", "message"),
    [("nowhere", "no such file"), (".", "holds no checkpoint"), ("never", "already holds a run")],
)
def test_what_cannot_be_gone_on_from_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "run"
    if resume == "never":
        interrupted(CONFIG, directory)
    with pytest.raises(RecordsError, match=message):
        carried_out(replace(CONFIG, resume=resume), directory)


def test_only_one_process_writes_a_run(tmp_path: Path) -> None:
    from filelock import FileLock

    tmp_path.joinpath("run").mkdir()
    with (
        FileLock(tmp_path / "run" / ".lock"),
        pytest.raises(RecordsError, match="another process is writing"),
    ):
        carried_out(CONFIG, tmp_path / "run")


def test_a_checkpoint_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.joinpath("checkpoints").touch()  # (no directory can be made there)
    record = carried_out(CONFIG, tmp_path)
    assert record.status == "exhausted"
    assert caplog.text.count("the checkpoint could not be written") == 1


def test_no_corruption_goes_unnoticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    interrupted(CONFIG, tmp_path)
    before, newest = checkpoints(tmp_path)
    content = newest.read_bytes()
    rng, bomb = np.random.default_rng(0), Bomb(tmp_path / "exploded")
    for _ in range(100):
        caplog.clear()
        damage = damaged(content, rng, bomb)
        newest.write_bytes(damage)
        if damage == content:
            continue
        assert newest_checkpoint(tmp_path) == before
        assert caplog.text.count("is damaged") == 1 and str(newest) in caplog.text
    assert not (tmp_path / "exploded").exists()


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_then_to_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    carried_out(CONFIG, tmp_path / "undisturbed")
    for left_over in (1, 0):
        directory = tmp_path / str(left_over)
        interrupted(CONFIG, directory)
        files = checkpoints(directory)
        for path in files[left_over:]:
            path.write_bytes(path.read_bytes()[:-1])
        caplog.clear()
        carried_out(CONFIG, directory)
        said = f"from {files[0]}" if left_over else "it begins anew"
        assert said in caplog.text and str(files[1]) in caplog.text
        assert_same(tmp_path / "undisturbed", directory)


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"format_version": 2}', "null", "no json"],
)
def test_a_checksum_alone_makes_no_checkpoint(tmp_path: Path, text: str) -> None:
    from bsscale.files.checked import write_checked

    write_checked(tmp_path / "step-1.safetensors", {"x": np.zeros(3)}, text)
    with pytest.raises(RecordsError, match="damaged"):
        read_checkpoint(tmp_path / "step-1.safetensors")


def test_weights_of_another_model_do_not_fit(tmp_path: Path) -> None:
    """A custom model whose code has changed has the same configuration."""
    interrupted(CONFIG, tmp_path)
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    checkpoint: Checkpoint = read_checkpoint(newest)
    name = next(name for name in checkpoint.arrays if name.startswith("model."))
    write_checkpoint(
        tmp_path, replace(checkpoint, arrays={**checkpoint.arrays, name: np.zeros((1, 2, 3))})
    )
    with pytest.raises(BsscaleError, match="does not fit the model"):
        carried_out(CONFIG, tmp_path)


def test_a_failed_run_without_evaluations_is_not_replaced_by_another_one(tmp_path: Path) -> None:
    plan, dataset = prepare(small_config())
    record_failure(RunSpec(plan, tmp_path, arm="fixed"), "it broke", dataset)
    before = (tmp_path / "run.json").read_bytes()
    assert find_start(tmp_path, plan).checkpoint is None  # the same run begins again
    other, _ = prepare(small_config(base_lr=0.2))
    with pytest.raises(ConfigError, match="holds a failed run of another configuration"):
        find_start(tmp_path, other)
    assert (tmp_path / "run.json").read_bytes() == before
