"""Whatever is typed or written into a ds_config.json: a plan, or an error that can be acted on.

``BSSCALE_EXAMPLES=5000 python -m pytest -o addopts= tests/test_hostile_options.py`` tries more.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bsscale.cli.arguments import check_arguments
from bsscale.cli.composed import check_composed
from bsscale.cli.explain import explained
from bsscale.cli.jobs import typed_config
from bsscale.cli.launchers.register import register_launchers
from bsscale.cli.store import CONFIG_DIRECTORY, choices, register_schemas
from bsscale.config.schedules import resolve
from bsscale.errors import BsscaleError, ConfigError
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.schedules.options import DeepSpeedConfig, ScheduleContext
from tests.test_hostile_records import HOSTILE

EXAMPLES = int(os.environ.get("BSSCALE_EXAMPLES", "200"))
many = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# --- Sections of a ds_config.json -----------------------------------------------------------------

KEYS = [
    "cycle_min_lr", "cycle_max_lr", "cycle_first_step_size", "cycle_second_step_size",
    "cycle_first_stair_count", "cycle_second_stair_count", "decay_step_size", "decay_lr_rate",
    "post_cycle_decay_step_size", "cycle_momentum", "cycle_min_mom", "cycle_max_mom",
    "decay_mom_rate", "last_batch_iteration", "lr_range_test_min_lr", "lr_range_test_step_size",
    "lr_range_test_step_rate", "lr_range_test_staircase", "warmup_min_lr", "warmup_max_lr",
    "warmup_num_steps", "warmup_type", "total_num_steps", "warmup_min_ratio", "cos_min_ratio",
]  # fmt: skip
USUAL = st.sampled_from([0, 1, 2, 10, 1000.0, 1e3, 0.1, 0.001, 0.9, True, "log", "linear"])
TYPES = st.sampled_from(["OneCycle", "LRRangeTest", "WarmupLR", "WarmupDecayLR", "WarmupCosineLR"])
SECTIONS = st.one_of(
    st.fixed_dictionaries(
        {
            "type": TYPES | HOSTILE,
            "params": st.dictionaries(st.sampled_from(KEYS), USUAL | HOSTILE, max_size=6) | HOSTILE,
        }
    ),
    HOSTILE,
)
CONTEXT = ScheduleContext(
    base_lr=0.5, gpus=4, global_batch=100, samples_per_pass=10_000, momentum=0.9
)


@many
@given(SECTIONS)
def test_a_deepspeed_section_is_a_schedule_or_refused(section: object) -> None:
    try:
        schedule = resolve(DeepSpeedConfig(config={"scheduler": section})).build(CONTEXT)
    except ConfigError as error:
        assert error.remedy
        return
    for step in (0, 1, 2, 1000, 10**6):
        assert math.isfinite(schedule.lr(step)) and schedule.lr(step) >= 0
        assert schedule.momentum(step) is None or 0 <= schedule.momentum(step) < 1


# --- Overrides ------------------------------------------------------------------------------------

OPTIONS = [
    "task", "dataset", "model", "optimizer", "schedule", "executor", "tracker", "experiment",
    "objective", "objective.name", "objective.metrics", "scaling", "scaling.name", "scaling.lr",
     "metric", "task.margin",
    "gpus", "micro_batch", "grad_accum", "base_lr", "target", "stop_at_target", "budget_samples",
    "budget_passes", "eval_interval_samples", "checkpoint_interval_samples", "resume", "precision",
    "clip_grad_norm", "seed", "dry_run", "executor.device", "executor.threads", "executor.compile",
    "optimizer.momentum", "optimizer.name", "optimizer.lr", "schedule.name", "schedule.preset",
    "schedule.cycle_max_lr", "schedule.cycle_first_step_size", "schedule.cycle_first_samples",
    "schedule.parts", "schedule.config", "tracker.mode", "tracker.project", "model.name",
    "model.hidden", "dataset.split", "dataset.name", "task.arms", "task.arms.fixed", "task.seeds",
    "task.ramp", "task.ramp.mode", "task.runs", "hydra.job.chdir", "hydra.run.dir", "foo", "",
]  # fmt: skip
NAMES = [
    "study", "range_test", "report", "onecycle", "cosine", "sequence", "deepspeed", "adam", "lamb",
    "synthetic", "mlp", "custom", "none", "wandb", "quick", "virtual", "ddp", "true", "no", "null",
    "0", "1", "-1", "8", "1.5", "1e308", "1e400", "nan", "inf", "1" + "0" * 400, "1" + "0" * 5000,
    "''", "${nope}", "${oc.env:NOPE_N}", "${seed}", "???", "[]", "[1,2]", "{}", "{a:1}",
    "{name:fixed}", "[{name:[1]}]", "{schedule:{name:cosine},preset:no}", "../../x", "1,2",
    "range(0,3)", "interval(0,1)", "a.b", "\ud800", "\x00", "=", "(", "'",
]  # fmt: skip
OVERRIDES = st.builds(
    lambda sign, key, value: f"{sign}{key}={value}" if sign != "~" else f"~{key}",
    st.sampled_from(["", "", "", "", "+", "++", "~"]),
    st.sampled_from(OPTIONS),
    st.sampled_from(NAMES) | st.text(max_size=6),
)


@pytest.fixture(scope="module")
def composing() -> Iterator[None]:
    register_schemas()
    register_launchers()
    with initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        yield


@pytest.mark.slow
@many
@given(st.lists(OVERRIDES, min_size=1, max_size=3))
def test_a_command_line_is_a_plan_or_refused(composing: None, overrides: list[str]) -> None:
    try:
        check_arguments(overrides, choices())
        cfg = compose("config", overrides=overrides)
        check_composed(cfg)
        plan = make_plan(typed_config(cfg), 100_000, Devices(cuda=0))
    except BsscaleError as error:
        assert error.fact and error.remedy
    except Exception as error:
        known = explained(error)
        if known is None:
            raise
        assert known.fact and known.remedy and "HYDRA_FULL_ERROR" not in str(known)
    else:
        assert plan.steps > 0 and math.isfinite(plan.schedule.lr(0))
