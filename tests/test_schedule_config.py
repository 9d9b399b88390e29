"""Schedules as they are configured: rules, lengths, files, and what only the run can check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from bsscale.cli.jobs import Job
from bsscale.cli.launchers.register import register_launchers
from bsscale.cli.store import CONFIG_DIRECTORY, register_schemas
from bsscale.config import Config, ExecutorOptions
from bsscale.config.schedules import resolve
from bsscale.errors import ConfigError
from bsscale.optimizers import AdagradConfig, AdamConfig, OptimizerConfig, SGDConfig
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from bsscale.schedules import (
    WSD,
    Constant,
    Cosine,
    ExponentialRangeTest,
    LateDrop,
    LinearWarmup,
    OneCycle,
    OneCycleTorch,
    RangeTest,
    Sequence,
    WarmupCosineLR,
)
from bsscale.schedules.options import (
    SCHEDULES,
    CosineConfig,
    DeepSpeedConfig,
    FixedConfig,
    LateDropConfig,
    LinearScalingConfig,
    LinearWarmupConfig,
    OneCycleConfig,
    OneCycleTorchConfig,
    RangeTestConfig,
    ScaledConfig,
    ScheduleConfig,
    ScheduleContext,
    SequenceConfig,
    SqrtScalingConfig,
    WSDConfig,
)
from bsscale.study.arms import make_arms
from bsscale.study.options import StudyOptions

# 4 replicas of 25 samples, 100 steps a pass.
CONTEXT = ScheduleContext(
    base_lr=0.5, gpus=4, global_batch=100, samples_per_pass=10_000, momentum=0.9
)


@pytest.fixture
def hydra() -> Iterator[None]:
    register_schemas()
    register_launchers()
    with initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        yield


def configured(*overrides: str) -> ScheduleConfig:
    """The schedule's options as the command line gives them."""
    return Job(compose("config", overrides=list(overrides)), hydra=None).config.schedule


def refused(config: ScheduleConfig, message: str, context: ScheduleContext = CONTEXT) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        resolve(config).build(context)
    assert error.value.remedy
    assert str(error.value).isascii()


def test_every_schedule_has_a_file_that_builds_it(hydra: None) -> None:
    files = {path.stem for path in (CONFIG_DIRECTORY / "schedule").glob("*.yaml")}
    assert files == set(SCHEDULES)
    extra = {
        "scaled": ["schedule.factor=4"],
        "deepspeed": ["schedule.config={type: WarmupLR, params: {}}"],
        "custom": ["schedule._target_=tests.own_parts.Wave"],
    }
    for name, config_type in SCHEDULES.items():
        config = configured(f"schedule={name}", *extra.get(name, []))
        assert type(config) is config_type
        built = config.build(CONTEXT)
        assert built.lr(0) >= 0
        assert built.notes() == ()
        # What the file writes out is what the class has.
        if name not in extra:
            assert config == config_type()


# --- Rules ---


@pytest.mark.parametrize(
    ("config", "rate"),
    [
        (FixedConfig(), 0.5),
        (LinearScalingConfig(), 2.0),
        (SqrtScalingConfig(), 1.0),
        (ScaledConfig(factor=3.0), 1.5),
    ],
)
def test_constant_rates(config: ScheduleConfig, rate: float) -> None:
    assert config.build(CONTEXT) == Constant(rate)


SCALED: list[Any] = [
    LinearWarmupConfig, CosineConfig, WSDConfig, LateDropConfig, OneCycleConfig,
    OneCycleTorchConfig,
]  # fmt: skip


@pytest.mark.parametrize("shape", SCALED)
def test_any_shape_takes_its_peak_from_any_rule(shape: Any) -> None:
    for rule, peak in (("none", 0.5), ("linear", 2.0), ("sqrt", 1.0)):
        assert shape(scaling=rule).build(CONTEXT).peak == peak
    assert shape(scaling="factor", factor=3.0).build(CONTEXT).peak == 1.5
    default = 2.5 if shape is OneCycleConfig else 2.0
    assert shape().build(CONTEXT).peak == default


@pytest.mark.parametrize("shape", SCALED)
def test_wrong_rules(shape: Any) -> None:
    refused(shape(scaling="cubic"), "scaling=cubic is not a rule")
    refused(shape(scaling="sqrt", factor=3.0), "factor=3.0 does nothing with schedule.scaling=sqrt")
    refused(shape(factor=3.0), "factor=3.0 does nothing with")
    refused(shape(scaling="factor"), "scaling=factor without a factor")
    refused(shape(scaling="factor", factor=0.0), "factor=0.0 is not a finite number above 0")


def test_a_factor_must_be_given() -> None:
    refused(ScaledConfig(), "schedule=scaled without a factor")
    refused(ScaledConfig(factor=-1.0), "factor=-1.0 is not a finite number above 0")


def test_a_peak_and_a_rule_exclude_each_other() -> None:
    refused(OneCycleConfig(cycle_max_lr=1.0, scaling="sqrt"), "cycle_max_lr=1.0 and .*scaling=sqrt")
    refused(OneCycleTorchConfig(max_lr=1.0, factor=2.0), "max_lr=1.0 and schedule.factor=2.0")
    assert OneCycleTorchConfig(max_lr=7.0).build(CONTEXT).peak == 7.0


# --- Shapes and lengths ---


def test_defaults() -> None:
    assert LinearWarmupConfig().build(CONTEXT) == LinearWarmup(2.0, 33, 0.5)
    assert CosineConfig().build(CONTEXT) == Cosine(2.0, 100, 0.05)
    assert WSDConfig().build(CONTEXT) == WSD(2.0, 33, 33, 33, 0.5, 0.05)
    assert LateDropConfig().build(CONTEXT) == LateDrop(2.0, 80, 75.0)
    assert RangeTestConfig().build(CONTEXT) == RangeTest(0.05, 1, 5.0, False)
    assert RangeTestConfig(mode="exponential").build(CONTEXT) == ExponentialRangeTest(
        0.05, 20.0, 100
    )
    assert OneCycleTorchConfig().build(CONTEXT) == OneCycleTorch(2.0, 100)
    assert OneCycleConfig().build(CONTEXT) == OneCycle(
        0.5, 2.5, 33, decay_step_size=33, decay_lr_rate=0.001
    )


def test_the_remaining_options_arrive() -> None:
    warmup = LinearWarmupConfig(start_lr=0.25, warmup_steps=5)
    assert warmup.build(CONTEXT) == LinearWarmup(2.0, 5, 0.25)
    assert CosineConfig(final_lr=0.0, decay_steps=5).build(CONTEXT) == Cosine(2.0, 5, 0.0)
    wsd = WSDConfig(
        start_lr=0.1, final_lr=0.2, warmup_steps=1, stable_samples=200, decay_fraction=0.03
    )
    assert wsd.build(CONTEXT) == WSD(2.0, 1, 2, 3, 0.1, 0.2)
    drop = LateDropConfig(divisor=4.0, drop_steps=5)
    assert drop.build(CONTEXT) == LateDrop(2.0, 5, 4.0)
    linear = RangeTestConfig(
        lr_range_test_min_lr=0.1, lr_range_test_step_size=7, lr_range_test_step_rate=3.0,
        lr_range_test_staircase=True,
    )  # fmt: skip
    assert linear.build(CONTEXT) == RangeTest(0.1, 7, 3.0, True)
    exponential = RangeTestConfig(
        mode="exponential", lr_range_test_max_lr=9.0, lr_range_test_samples=700
    )
    assert exponential.build(CONTEXT) == ExponentialRangeTest(0.05, 9.0, 7)
    torch_cycle = OneCycleTorchConfig(
        total_steps=50, pct_start=0.5, anneal_strategy="linear", base_momentum=0.1,
        max_momentum=0.2, div_factor=5.0, final_div_factor=7.0, three_phase=True,
    )  # fmt: skip
    assert torch_cycle.build(CONTEXT) == OneCycleTorch(
        2.0, 50, 0.5, "linear", True, 0.1, 0.2, 5.0, 7.0, True
    )
    cycle = OneCycleConfig(
        cycle_min_lr=0.1, cycle_max_lr=1.0, cycle_first_step_size=5, cycle_second_samples=700,
        cycle_first_stair_count=2, cycle_second_stair_count=3, post_cycle_decay_step_size=9,
        decay_lr_rate=0.5, cycle_min_mom=0.1, cycle_max_mom=0.2, decay_mom_rate=0.3,
    )  # fmt: skip
    assert cycle.build(CONTEXT) == OneCycle(0.1, 1.0, 5, 7, 2, 3, 9, 0.5, True, 0.1, 0.2, 0.3)


LENGTHS = [
    (LinearWarmupConfig, "warmup", "steps"),
    (CosineConfig, "decay", "steps"),
    (WSDConfig, "warmup", "steps"),
    (WSDConfig, "stable", "steps"),
    (WSDConfig, "decay", "steps"),
    (LateDropConfig, "drop", "steps"),
    (RangeTestConfig, "lr_range_test", "step_size"),
    (OneCycleTorchConfig, "total", "steps"),
    (OneCycleConfig, "cycle_first", "step_size"),
    (OneCycleConfig, "cycle_second", "step_size"),
    (OneCycleConfig, "decay", "step_size"),
]


@pytest.mark.parametrize(("config", "key", "unit"), LENGTHS)
def test_a_length_has_three_names_of_which_one_is_given(config: Any, key: str, unit: str) -> None:
    built = [
        config(**{f"{key}_{name}": value}).build(CONTEXT)
        for name, value in ((unit, 20), ("samples", 2000), ("fraction", 0.2))
    ]
    assert built[0] == built[1] == built[2] != config().build(CONTEXT)
    both = {f"{key}_{unit}": 20, f"{key}_samples": 2000}
    refused(config(**both), f"{key}_{unit}=20 and schedule.{key}_samples=2000 are both given")
    refused(config(**{f"{key}_fraction": -0.5}), f"{key}_fraction=-0.5 is not a length")
    refused(config(**{f"{key}_fraction": float("inf")}), "fraction=inf is not a length")


def test_the_modes_of_the_range_test_have_options_of_their_own() -> None:
    refused(RangeTestConfig(mode="log"), "mode=log is not one of its values")
    refused(RangeTestConfig(lr_range_test_max_lr=1.0), "max_lr=1.0 does nothing with .*mode=linear")
    for option in ({"lr_range_test_step_rate": 2.0}, {"lr_range_test_staircase": True}):
        wrong = RangeTestConfig(mode="exponential", **option)
        refused(wrong, "does nothing with schedule.mode=exponential")


# --- Momentum ---


@pytest.mark.parametrize("config", [OneCycleConfig, OneCycleTorchConfig])
def test_momentum_is_cycled_where_there_is_one(config: Any) -> None:
    without = replace(CONTEXT, momentum=None)
    assert config().build(CONTEXT).momentum(0) is not None
    assert config().build(without).momentum(0) is None
    assert config(cycle_momentum=False).build(CONTEXT).momentum(0) is None
    bound = "cycle_min_mom" if config is OneCycleConfig else "base_momentum"
    refused(
        config(cycle_momentum=False, **{bound: 0.5}),
        f"{bound}=0.5 does nothing with schedule.cycle_momentum=false",
    )
    refused(config(**{bound: 0.5}), "with an optimizer that has no momentum", without)


# --- Presets ---


@pytest.fixture
def preset(tmp_path: Path) -> str:
    path = tmp_path / "preset.yaml"
    path.write_text(
        "# from a range test\ncycle_min_lr: 0.25\ncycle_max_lr: 1e0\ncycle_first_samples: 500\n"
        "cycle_second_samples: 1500\ndecay_samples: 2000\ndecay_lr_rate: 0.5\n"
    )
    return str(path)


def test_a_preset_fills_the_options_that_are_null(preset: str) -> None:
    settled = resolve(OneCycleConfig(preset=preset))
    assert settled.build(CONTEXT) == OneCycle(
        0.25, 1.0, 5, 15, decay_step_size=20, decay_lr_rate=0.5
    )
    assert isinstance(settled, OneCycleConfig)
    assert settled.preset is None
    assert (settled.cycle_max_lr, settled.cycle_first_samples) == (1.0, 500)
    assert resolve(settled) is settled


def test_a_file_is_read_before_a_schedule_is_built(preset: str) -> None:
    config = OneCycleConfig(preset=preset)
    assert plan(config).config.schedule == resolve(config)
    for unread, option in (
        (config, "preset"),
        (DeepSpeedConfig(config="ds_config.json"), "config"),
        (SequenceConfig(parts=[{"name": "onecycle", "preset": preset}]), "preset"),
    ):
        with pytest.raises(ConfigError, match=f"schedule.{option}=.* has not been read") as error:
            unread.build(CONTEXT)
        assert "bsscale.config.schedules.resolve" in error.value.remedy


def test_explicit_options_win_over_a_preset(preset: str) -> None:
    config = OneCycleConfig(
        preset=preset, cycle_min_lr=0.125, scaling="linear", cycle_first_step_size=7,
        cycle_second_fraction=0.5, post_cycle_decay_step_size=3, decay_lr_rate=0.001,
    )  # fmt: skip
    assert resolve(config).build(CONTEXT) == OneCycle(
        0.125, 2.0, 7, 50, decay_step_size=3, decay_lr_rate=0.001
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cycle_max: 1\n", "'cycle_max' is not known in the preset(.|\n)*did you mean cycle_max_"),
        ("cycle_max_lr: fast\n", "in the preset .*Value 'fast' of type 'str' could not"),
        ("name: fixed\n", "'name' is not known in the preset"),
        ("preset: x.yaml\n", "'preset' is not known in the preset"),
        ("cycle_min_mom: 0.7\n", "'cycle_min_mom' is not known in the preset"),
        ("- 1\n", "holds no options"),
        ("a: [\n", "is not YAML"),
    ],
)
def test_wrong_presets(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "preset.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        resolve(OneCycleConfig(preset=str(path)))


def test_a_preset_that_is_not_there() -> None:
    refused(OneCycleConfig(preset="no.yaml"), "schedule.preset=no.yaml cannot be read")


def test_a_study_registers_what_a_preset_says(preset: str) -> None:
    cycle = {"name": "onecycle", "preset": preset}
    task = StudyOptions(
        arms={
            "fixed": {"schedule": {"name": "fixed"}, "role": "baseline"},
            "cycle": {"schedule": cycle},
        }
    )
    _, arm = make_arms(task, gpus=4)
    assert arm.schedule == resolve(OneCycleConfig(preset=preset))


# --- DeepSpeed ---

COSINE = {"type": "WarmupCosineLR", "params": {"total_num_steps": 90, "warmup_num_steps": 10}}


def test_a_deepspeed_file(tmp_path: Path) -> None:
    path = tmp_path / "ds_config.json"
    expected = WarmupCosineLR(base_lr=0.5, total_num_steps=90, warmup_num_steps=10)
    for content in (COSINE, {"train_batch_size": 8, "scheduler": COSINE}):
        path.write_text(json.dumps(content))
        settled = resolve(DeepSpeedConfig(config=str(path)))
        assert settled == DeepSpeedConfig(config=COSINE)
        assert settled.build(CONTEXT) == expected
    cycle = {"type": "OneCycle", "params": {"cycle_min_lr": 0.1, "cycle_max_lr": 1.0}}
    assert DeepSpeedConfig(config=cycle).build(CONTEXT) == OneCycle(0.1, 1.0, 2000)


def test_wrong_deepspeed_files(tmp_path: Path) -> None:
    path = tmp_path / "ds_config.json"
    for text, message in (
        ("{", "is not JSON"),
        ("[1]", "holds no options"),
        ("{}", "there is no scheduler"),
        ('{"scheduler": 1}', "there is no scheduler"),
        ('{"type": "OneCycle", "params": {"cycle_min": 1}}', "'cycle_min' is not known"),
    ):
        path.write_text(text)
        refused(DeepSpeedConfig(config=str(path)), message)
    refused(DeepSpeedConfig(), "schedule=deepspeed without a configuration")
    refused(DeepSpeedConfig(config="no.json"), "schedule.config=no.json cannot be read")


# --- Sequences ---


def test_a_sequence_of_parts() -> None:
    config = SequenceConfig(
        parts=[
            {"name": "linear_warmup", "length_fraction": 0.1, "warmup_fraction": 0.1},
            {"name": "scaled", "length_steps": 7, "factor": 3},
            {"name": "cosine", "scaling": "sqrt", "length_samples": 10_000},
            {"name": "fixed"},
        ]
    )
    assert config.build(CONTEXT) == Sequence(
        (LinearWarmup(2.0, 10, 0.5), Constant(1.5), Cosine(1.0, 100, 0.05), Constant(0.5)),
        (10, 7, 100),
    )
    assert resolve(config) is config


def test_the_values_of_parts_are_converted_as_those_of_the_command_line() -> None:
    parts = [{"name": "scaled", "length_steps": "7", "factor": "3"}, {"name": "fixed"}]
    settled = resolve(SequenceConfig(parts=parts))
    assert settled == SequenceConfig(
        parts=[{"name": "scaled", "length_steps": 7, "factor": 3.0}, {"name": "fixed"}]
    )
    assert settled.build(CONTEXT) == Sequence((Constant(1.5), Constant(0.5)), (7,))


def test_a_sequence_from_the_command_line(hydra: None) -> None:
    parts = "schedule.parts=[{name: fixed, length_steps: 3}, {name: linear_scaling}]"
    built = configured("schedule=sequence", parts).build(CONTEXT)
    assert built == Sequence((Constant(0.5), Constant(2.0)), (3,))


def test_a_part_may_name_a_file(preset: str) -> None:
    first = {"name": "onecycle", "preset": preset, "length_steps": 20}
    config = SequenceConfig(parts=[first, {"name": "fixed"}])
    settled = resolve(config)
    assert isinstance(settled, SequenceConfig)
    assert settled.parts[0]["length_steps"] == 20
    assert settled.parts[0]["cycle_max_lr"] == 1.0
    assert settled.parts[0]["preset"] is None
    refused(
        SequenceConfig(parts=[first | {"cycle_min_mom": 0.5}, {"name": "fixed"}]),
        "part 0 of the sequence: .*cycle_min_mom=0.5 does nothing",
        replace(CONTEXT, momentum=None),
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], r"the sequence has 0 part\(s\)"),
        ([{"name": "cosine"}], r"the sequence has 1 part\(s\)"),
        ([{"name": "cosine"}, {"name": "fixed"}], "part 0 of the sequence: it has no length"),
        ([{"name": "cosin", "length_steps": 1}], "part 0 of the sequence: its name is 'cosin'"),
        ([{"length_steps": 1}], "its name is None"),
        ([{"name": "sequence"}], "its name is 'sequence'"),
        ([{"name": "cosine", "length_pass": 1}, {"name": "fixed"}], "'length_pass' is not known"),
        ([{"name": "cosine", "length_steps": "x"}, {"name": "fixed"}], "Value 'x'"),
        ([{"name": "cosine", "decay": 1, "length_steps": 1}], "'decay' is not known in"),
        (
            [{"name": "fixed", "length_steps": 1}, {"name": "fixed", "length_steps": 1}],
            "part 1 of the sequence: length_steps of the last part does nothing",
        ),
        (
            [{"name": "fixed", "length_steps": 1}, {"name": "onecycle"}],
            r"part 1 of the sequence \(OneCycle\) sets the momentum",
        ),
    ],
)  # fmt: skip
def test_wrong_sequences(parts: list[dict[str, Any]], message: str) -> None:
    refused(SequenceConfig(parts=parts), message)


# --- What only the run knows ---


def plan(schedule: ScheduleConfig, **changes: Any) -> Plan:
    optimizer: OptimizerConfig = changes.pop("optimizer", SGDConfig())
    config = Config(
        dataset={"name": "x"},
        model={"name": "y"},
        optimizer=optimizer,
        schedule=schedule,
        executor=ExecutorOptions("virtual", "cpu"),
        base_lr=0.5,
        gpus=4,
        micro_batch=25,
        eval_interval_samples=100,
        **{"budget_samples": 10_000, **changes},
    )
    return make_plan(config, 10_000, Devices(cuda=0))


@pytest.mark.parametrize(
    ("fits", "too_long"),
    [
        (OneCycleConfig(cycle_first_fraction=0.5), OneCycleConfig(cycle_first_step_size=51)),
        (LinearWarmupConfig(warmup_steps=100), LinearWarmupConfig(warmup_steps=101)),
        (CosineConfig(decay_steps=100), CosineConfig(decay_steps=101)),
        (WSDConfig(decay_steps=34), WSDConfig(decay_steps=35)),
        (OneCycleTorchConfig(), OneCycleTorchConfig(total_fraction=1.01)),
        (LateDropConfig(drop_steps=99), LateDropConfig(drop_steps=100)),
        (DeepSpeedConfig(config=COSINE), DeepSpeedConfig(config={"type": "WarmupLR"})),
    ],
)
def test_a_schedule_longer_than_the_budget(fits: ScheduleConfig, too_long: ScheduleConfig) -> None:
    assert plan(fits).steps == 100
    with pytest.raises(ConfigError) as error:
        plan(too_long)
    assert "steps of 100 samples, but the budget ends after 100" in error.value.fact
    needed = int(error.value.remedy.split("budget_samples=")[1].split()[0])
    assert plan(too_long, budget_samples=needed).budget_samples == needed


def test_a_decay_may_outlast_the_budget() -> None:
    assert plan(OneCycleConfig(cycle_first_fraction=0.5, decay_fraction=7.0)).steps == 100


@pytest.mark.parametrize("optimizer", [AdagradConfig(), SGDConfig(momentum=0.0)])
def test_a_momentum_that_the_optimizer_has_not(optimizer: OptimizerConfig) -> None:
    section = {"type": "OneCycle", "params": {
        "cycle_min_lr": 0.1, "cycle_max_lr": 1.0, "cycle_first_step_size": 10,
    }}  # fmt: skip
    for schedule in (
        OneCycleConfig(cycle_momentum=True),
        OneCycleTorchConfig(cycle_momentum=True),
        DeepSpeedConfig(config=section),
    ):
        with pytest.raises(ConfigError, match="has no momentum") as error:
            plan(schedule, optimizer=optimizer)
        assert "cycle_momentum=false" in error.value.remedy
        assert plan(schedule, optimizer=AdamConfig()).schedule.momentum(0) is not None


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (OneCycleConfig(cycle_max_lr=0.1), "cycle_min_lr is 0.5, above cycle_max_lr, which is 0.1"),
        (OneCycleConfig(cycle_max_mom=1.0), "cycle_max_mom is 1, outside"),
        (OneCycleConfig(decay_lr_rate=-1.0), "decay_lr_rate is -1, below 0"),
        (OneCycleConfig(cycle_first_fraction=5.0), "takes 1,000 steps of 100 samples"),
        (LinearWarmupConfig(start_lr=9.0), "start_lr is 9, above peak_lr, which is 2"),
        (WSDConfig(final_lr=-1.0), "final_lr is -1, below 0"),
        (LateDropConfig(divisor=0.5), "divisor is 0.5, which is no drop"),
    ],
)
def test_what_a_newcomer_gets_wrong(schedule: ScheduleConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        plan(schedule)
    assert error.value.remedy
