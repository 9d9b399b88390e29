"""The predicted time of a pass, in the plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bsscale.config import Config, ExecutorOptions
from bsscale.data import load_dataset
from bsscale.optimizers import AdamConfig, LambConfig, OptimizerConfig, SGDConfig
from bsscale.planning.derive import make_plan
from bsscale.planning.description import describe_plan
from bsscale.planning.devices import Devices
from bsscale.planning.memory import count
from tests.engines.runs import LARGE
from tests.helpers import MODELS, small_config


def shown(config: Config) -> str:
    dataset = load_dataset(config.dataset)
    counts = count(config.model, dataset)
    plan = make_plan(config, dataset.samples_per_pass, Devices(cuda=0), counts=counts)
    return " ".join(describe_plan(plan, dataset, "arm").split())


def large(optimizer: OptimizerConfig, ids: int = 200_000) -> Config:
    return small_config(
        model=MODELS["dlrm"], dataset={**LARGE, "cardinality": ids}, optimizer=optimizer
    )


def test_a_plan_says_how_long_a_pass_takes_and_what_is_much_faster() -> None:
    text = shown(large(SGDConfig()))
    assert "a pass of" in text and "on one core" in text
    assert "optimizer.sparse=true about" in text and "results differ" in text


@pytest.mark.parametrize(
    "config",
    [
        large(SGDConfig(momentum=0.0)),  # (touched rows already)
        large(SGDConfig(sparse=True)),
        large(AdamConfig(), ids=50),  # (hardly faster)
        large(LambConfig()),  # (has no such form)
    ],
    ids=["exact", "asked for", "small tables", "lamb"],
)
def test_it_recommends_nothing_else_where_that_is_not_faster(config: Config) -> None:
    assert "a pass of" in shown(config) and "optimizer.sparse=true" not in shown(config)


def test_there_is_no_rule_for_other_steps() -> None:
    config = large(SGDConfig())
    text = shown(replace(config, executor=ExecutorOptions("virtual", "cpu", compile=True)))
    assert "on one core" not in text
