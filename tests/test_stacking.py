"""Which runs share a training step, how many at a time, and what that step is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bsscale.config import ExecutorOptions
from bsscale.errors import ConfigError
from bsscale.optimizers import AdagradConfig, AdamConfig, AdamWConfig, SGDConfig
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from bsscale.planning.stacks import Stack, make_stacks, split
from bsscale.planning.training_step import choose_training_step
from bsscale.schedules.options import LinearWarmupConfig, OneCycleConfig
from tests.helpers import MODELS, SYNTHETIC, small_config

CUSTOM = {"_target_": "some.Model", "name": "custom"}
# What 640,000 samples in updates of 32 save is not worth compiling; three times as many are.
LONG: dict[str, Any] = {"model": CUSTOM, "budget_samples": 640_000}


def planned(cuda: int = 0, device: str = "auto", **changes: Any) -> Plan:
    config = small_config(**{"executor": ExecutorOptions("auto", device), **changes})
    return make_plan(config, 1_000_000, Devices(cuda))


def stacks_of(*different: dict[str, Any], cuda: int = 0, **same: Any) -> list[Stack]:
    return make_stacks([planned(cuda, **{**same, **changes}) for changes in different])


def members(stacks: list[Stack]) -> list[tuple[int, ...]]:
    return [stack.members for stack in stacks]


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    return monkeypatch


@pytest.fixture
def with_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "some-compiler")


def test_what_each_run_has_of_its_own_it_may_differ_in() -> None:
    [stack] = stacks_of(
        {},
        {"seed": 1},
        {"schedule": OneCycleConfig(), "budget_samples": 1_000_000},
        {"schedule": LinearWarmupConfig(warmup_steps=3)},
        {"base_lr": 3.0},
        {"optimizer": SGDConfig(momentum=0.5)},
        {"target": 0.8, "stop_at_target": False},
        {"eval_interval_samples": 4096},
        {"gpus": 2, "micro_batch": 16},
        {"gpus": 1, "micro_batch": 8, "grad_accum": 4},
    )
    assert stack.members == tuple(range(10))
    assert stack.width == 4 and stack.training_step == "layers"


def test_beta1_is_a_runs_own_and_beta2_is_not() -> None:
    adam = [
        {"optimizer": AdamConfig(**options)}
        for options in ({}, {"beta1": 0.5}, {"beta1": 0.0}, {"beta2": 0.9})
    ]
    assert members(stacks_of(*adam)) == [(0, 1, 2), (3,)]


@pytest.mark.parametrize(
    "other",
    [
        {"micro_batch": 64},
        {"gpus": 2},
        {"grad_accum": 2},
        {"model": MODELS["mlp"]},
        {"model": {**MODELS["logistic"], "option": 1}},
        {"dataset": {**SYNTHETIC, "seed": 1}},
        {"optimizer": AdamConfig()},
        {"optimizer": SGDConfig(momentum=0.0)},  # another update rule, with no momentum buffer
        {"optimizer": SGDConfig(nesterov=True)},
        {"optimizer": SGDConfig(weight_decay=0.1)},
        {"optimizer": SGDConfig(sparse=True)},
        {"precision": "fp64"},
        {"precision": "bf16"},
        {"clip_grad_norm": 1.0},
        {"executor": ExecutorOptions("virtual", "cpu", threads=2)},
    ],
)
def test_what_the_step_is_made_of_has_to_be_equal(other: dict[str, Any]) -> None:
    assert members(stacks_of({}, other, {"seed": 1}, {**other, "seed": 1})) == [(0, 2), (1, 3)]


def test_adam_and_adamw_do_not_mix() -> None:
    optimizers = (AdamConfig(), AdamWConfig(), AdagradConfig(), AdamWConfig(beta1=0.8))
    stacks = stacks_of(*({"optimizer": optimizer} for optimizer in optimizers))
    assert members(stacks) == [(0,), (1, 3), (2,)]


def test_a_run_over_processes_is_alone() -> None:
    ddp = {"executor": ExecutorOptions("ddp", "cpu")}
    stacks = stacks_of(ddp, {**ddp, "seed": 1}, {}, {**ddp, "seed": 2}, {"seed": 1})
    assert members(stacks) == [(0,), (1,), (2, 4), (3,)]
    assert [(stack.width, stack.training_step) for stack in stacks] == [
        (1, "eager"),
        (1, "eager"),
        (2, "layers"),
        (1, "eager"),
    ]


@pytest.mark.parametrize(
    ("runs", "batch", "width"),
    [
        (1, 32, 1),
        (3, 32, 3),
        (4, 32, 4),
        (5, 32, 3),  # three and two, not four and one
        (9, 32, 3),
        (12, 32, 4),
        (13, 32, 4),
        (6, 256, 3),
        (6, 512, 2),
        (6, 513, 1),
        (6, 100_000, 1),
    ],
)
def test_how_many_at_a_time_on_a_cpu(runs: int, batch: int, width: int) -> None:
    [stack] = stacks_of(*({"seed": seed} for seed in range(runs)), micro_batch=batch)
    assert stack.width == width and len(stack.members) == runs


@pytest.mark.parametrize(
    ("runs", "batch", "width"), [(1, 32, 1), (64, 32, 64), (65, 32, 33), (6, 100_000, 6)]
)
def test_how_many_at_a_time_on_a_gpu(runs: int, batch: int, width: int) -> None:
    [stack] = stacks_of(*({"seed": seed} for seed in range(runs)), cuda=1, micro_batch=batch)
    assert stack.width == width


def test_a_gpu_and_a_cpu_are_two_stacks() -> None:
    stacks = stacks_of({"device": "cuda"}, {"device": "cpu"}, {"device": "auto"}, cuda=1)
    assert members(stacks) == [(0, 2), (1,)]


def test_runs_by_torchs_autograd_are_trained_one_by_one() -> None:
    [stack] = stacks_of({"seed": 0}, {"seed": 1}, model=CUSTOM)
    assert (stack.members, stack.width, stack.training_step) == ((0, 1), 1, "eager")


@pytest.mark.parametrize(("items", "slots"), [(7, [[0, 3, 6], [1, 4], [2, 5]]), (1, [[0], [], []])])
def test_a_runs_slot_follows_from_its_number(items: int, slots: list[list[int]]) -> None:
    assert split(range(items), 3) == slots


PREDICTED = r"compiling would take about 25 s and save about {} s"


@pytest.mark.usefixtures("with_compiler")
@pytest.mark.parametrize(
    ("model", "compiles", "updates", "step", "reason"),
    [
        (MODELS["mlp"], "auto", 10**9, "layers", "not compiled: the shipped models' layers"),
        (MODELS["mlp"], False, 10**9, "layers", "not compiled"),
        (MODELS["mlp"], True, 1, "compiled", "asked for"),
        (CUSTOM, "auto", 1000, "eager", PREDICTED.format(1)),
        (CUSTOM, "auto", 100_000, "compiled", PREDICTED.format(52)),
        (CUSTOM, False, 100_000, "eager", "executor.compile=false, and the model is not"),
        (CUSTOM, True, 1, "compiled", "asked for"),
    ],
)
def test_which_step_a_model_is_trained_by(
    model: dict[str, Any], compiles: bool | str, updates: int, step: str, reason: str
) -> None:
    config = small_config(model=model, executor=ExecutorOptions("virtual", "cpu", compile=compiles))
    chosen, why = choose_training_step(config, "virtual", "cpu", updates, 32)
    assert chosen == step and reason in why


@pytest.mark.usefixtures("with_compiler")
def test_many_runs_are_worth_compiling_for_where_one_is_not() -> None:
    [one] = stacks_of({}, **LONG)
    [three] = stacks_of({"seed": 0}, {"seed": 1}, {"seed": 2}, **LONG)
    assert one.training_step == "eager" and "save about 10 s" in one.training_step_reason
    assert (three.training_step, three.width) == ("compiled", 3)
    assert "save about 31 s" in three.training_step_reason
    # What a plan of one run says is of that run.
    assert planned(**LONG).training_step == "eager"


@pytest.mark.parametrize("cxx", [None, "/somewhere/c++"])
def test_without_a_compiler_nothing_is_compiled(
    without_compiler: pytest.MonkeyPatch, cxx: str | None
) -> None:
    if cxx is not None:  # (what CXX names is taken, wherever it is)
        without_compiler.setenv("CXX", cxx)
    choices = {
        model["name"]: choose_training_step(small_config(model=model), "virtual", "cpu", 10**9, 32)
        for model in (MODELS["mlp"], CUSTOM)
    }
    assert choices["mlp"][0] == "layers"
    if cxx is None:
        assert choices["custom"] == ("eager", "no C++ compiler to compile the step with")
    else:
        assert choices["custom"][0] == "compiled"


def test_compiling_without_a_compiler_is_refused(without_compiler: pytest.MonkeyPatch) -> None:
    executor = ExecutorOptions("virtual", "cpu", compile=True)
    for model in (MODELS["mlp"], CUSTOM):
        with pytest.raises(ConfigError, match=r"without a C\+\+ compiler(.|\n)*apt-get.*CXX"):
            planned(executor=executor, model=model)


def test_compiling_over_processes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"compile=true with executor=ddp(.|\n)*virtual"):
        planned(executor=ExecutorOptions("ddp", "cpu", compile=True))
    assert planned(executor=ExecutorOptions("ddp", "cpu")).training_step_reason == "ddp"


def test_bf16_is_trained_by_torch_run_by_run() -> None:
    for model in (MODELS["mlp"], CUSTOM):
        plan = planned(precision="bf16", model=model, budget_samples=10**9)
        assert plan.training_step == "eager" and "bf16" in plan.training_step_reason
    assert planned(precision="bf16", executor=ExecutorOptions("ddp", "cpu")).executor == "ddp"
    with pytest.raises(ConfigError, match=r"compile=true with precision=bf16(.|\n)*compile=auto"):
        planned(precision="bf16", executor=ExecutorOptions("virtual", "cpu", compile=True))
    with pytest.raises(ConfigError, match=r"sparse=true(.|\n)*bf16(.|\n)*precision=fp32"):
        planned(precision="bf16", optimizer=SGDConfig(sparse=True))


# (text that says true is not true, and must not pass for auto)
@pytest.mark.parametrize("value", ["never", "true", "false"])
def test_compile_is_a_choice_of_three(value: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"executor\.compile='{value}'(.|\n)*auto, true or false"
    ):
        planned(executor=ExecutorOptions("virtual", "cpu", compile=value))
