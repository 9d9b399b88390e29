"""Every file of sweeps/ is a question: it composes, runs, and is the same question to W&B."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

from bsscale.cli.jobs import Job, cached_dataset_loader
from bsscale.cli.store import SWEEPS_DIRECTORY
from bsscale.records.run_record import read_run
from bsscale.report.summarize import compare
from bsscale.schedules import OneCycle
from tests import composing
from tests.composing import expanded, hydra
from tests.conftest import Finished

__all__ = ["hydra"]
pytestmark = pytest.mark.usefixtures("hydra")

SWEEPS = sorted(path.stem for path in SWEEPS_DIRECTORY.glob("*.yaml"))
QUICK = (
    "dataset.samples_per_pass=4000", "dataset.validation_samples=2000",
    "dataset.test_samples=1000", "eval_interval_samples=4096", "base_lr=0.1", "target=0.99",
    "tracker=none", "hydra.sweep.dir=out",
)  # fmt: skip


def text_of(name: str) -> str:
    return (SWEEPS_DIRECTORY / f"{name}.yaml").read_text(encoding="utf-8")


def axes_of(name: str) -> dict[str, list[str]]:
    """What Hydra makes of the file's hydra.sweeper.params: a key's values as overrides."""
    params: dict[str, Any] = yaml.safe_load(text_of(name))["hydra"]["sweeper"]["params"]
    return {key: [job for [job] in expanded([f"{key}={v}"])] for key, v in params.items()}


def jobs_of(name: str) -> list[tuple[str, ...]]:
    return list(itertools.product(*axes_of(name).values()))


def composed(*overrides: str) -> dict[str, Any]:
    config = OmegaConf.to_container(composing.composed(*overrides), resolve=True)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def test_there_is_a_file_for_every_question() -> None:
    assert {"stair_counts", "schedules", "gpus", "peak_and_length", "momentum"} < set(SWEEPS)


@pytest.mark.parametrize("name", SWEEPS)
def test_a_file_begins_with_its_command_and_says_how_large_it_is(name: str) -> None:
    lines = text_of(name).splitlines()
    assert lines[:3] == ["# @package _global_", f"# python -m bsscale -m +sweeps={name}", "#"]
    [(arms, seeds)] = re.findall(r"^# (\d+) arms x (\d+) seeds, the same for every arm",
                                 text_of(name), flags=re.MULTILINE)  # fmt: skip
    axes = axes_of(name)
    assert len(axes["seed"]) == int(seeds)
    assert len(jobs_of(name)) == int(arms) * int(seeds)


def check(name: str, jobs: list[tuple[str, ...]]) -> None:
    load = cached_dataset_loader()
    for job in jobs:
        cfg = composing.composed(*job, f"+sweeps={name}", "tracker=none")
        assert Job(cfg, cfg.get("hydra"), load).plan.steps > 0


@pytest.mark.parametrize("name", SWEEPS)
def test_the_first_and_the_last_job_can_be_trained(name: str) -> None:
    check(name, [jobs_of(name)[0], jobs_of(name)[-1]])


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEEPS)
def test_every_arm_can_be_trained(name: str) -> None:
    check(name, [job for job in jobs_of(name) if "seed=0" in job])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "arms"),
    [
        ("stair_counts", ("experiment=onecycle_synthetic",), 25),
        ("schedules", ("dataset=synthetic", "model=logistic"), 8),
    ],
)
def test_from_the_file_to_the_comparison(
    bsscale: Callable[..., Finished], tmp_path: Path, name: str, changes: tuple[str, ...], arms: int
) -> None:
    # (Without -m: the file says that it is a sweep.)
    one_seed = "hydra.sweeper.params.seed='range(7,8)'"
    done = bsscale(f"+sweeps={name}", *changes, *QUICK, "budget_samples=8192", one_seed)
    assert done.code == 0, done.text
    comparison = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert len(comparison["arms"]) == arms
    assert {seed["seed"] for arm in comparison["arms"] for seed in arm["seeds"]} == {7}
    # A label says what sets an arm apart, and not what all have in common.
    shorts = [arm.short for arm in compare(sorted((tmp_path / "out").glob("[0-9]*"))).arms]
    assert len(set(shorts)) == arms and not any("sweeps" in short for short in shorts)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onecycle_flights", "onecycle_adam"])
def test_an_experiment_reaches_its_target(
    bsscale: Callable[..., Finished], tmp_path: Path, name: str
) -> None:
    done = bsscale(f"experiment={name}", "tracker=none", "hydra.run.dir=run")
    assert done.code == 0, done.text
    record = read_run(tmp_path / "run")
    assert (record.status, record.gpus, record.schedule) == ("reached", 8, "onecycle")


def test_as_many_stairs_as_steps_are_the_continuous_cycle() -> None:
    """What sweeps/stair_counts.yaml says of the counts that it leaves out, and of one stair."""

    def rates(up: int, down: int) -> np.ndarray[Any, Any]:
        cycle = OneCycle(
            cycle_min_lr=0.22, cycle_max_lr=2.2, cycle_first_step_size=77,
            cycle_second_step_size=179, cycle_first_stair_count=up, cycle_second_stair_count=down,
        )  # fmt: skip
        return np.asarray(cycle.lr(np.arange(257)))

    np.testing.assert_allclose(rates(77, 179), rates(0, 0), rtol=1e-14)
    assert np.flatnonzero(rates(1, 1) > 0.22).tolist() == [77]
    for count in (2, 5, 20):
        below = (rates(0, 0) - rates(count, count)).mean() / (2.2 - 0.22)
        assert below == pytest.approx(0.5 / count, rel=0.15)


# --- the same question, asked by W&B ----------------------------------------------------------


def wandb_file(name: str) -> dict[str, Any]:
    path = SWEEPS_DIRECTORY / "wandb" / f"{name}.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def wandb_overrides(point: dict[str, Any]) -> list[str]:
    """What W&B's agent makes of ${args_no_hyphens}."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    args = {key: {"value": value} for key, value in point.items()}
    return list(create_sweep_command_args({"args": args})["args_no_hyphens"])


def test_every_question_is_there_for_wandb() -> None:
    files = [path.stem for path in (SWEEPS_DIRECTORY / "wandb").glob("*.yaml")]
    assert sorted(files) == SWEEPS


@pytest.mark.parametrize("name", SWEEPS)
def test_wandb_takes_the_file(name: str) -> None:
    # (Its schema is in its package `sweeps`, whose code pydantic 2 warns of.)
    spec = importlib.util.find_spec("sweeps")
    assert spec is not None and spec.origin is not None
    schema = json.loads(Path(spec.origin).with_name("config").joinpath("schema.json").read_text())
    jsonschema.Draft7Validator(schema).validate(wandb_file(name))
    broken = {**wandb_file(name), "method": "gird"}
    assert not jsonschema.Draft7Validator(schema).is_valid(broken)


@pytest.mark.parametrize("name", SWEEPS)
def test_wandb_asks_what_hydra_asks(name: str) -> None:
    sweep = wandb_file(name)
    assert sweep["method"] == "grid" and sweep["name"] == name
    assert sweep["command"][2:] == ["-m", "bsscale", "tracker.mode=online", "${args_no_hyphens}"]
    parameters: dict[str, Any] = sweep["parameters"]
    pinned = {key: each["value"] for key, each in parameters.items() if "value" in each}
    axes = {
        key: [override for value in each["values"] for override in wandb_overrides({key: value})]
        for key, each in parameters.items()
        if "values" in each
    }
    assert axes == axes_of(name)
    first, last = jobs_of(name)[0], jobs_of(name)[-1]
    for job in (first, last):
        ours = composed(*job, f"+sweeps={name}")
        assert composed(*wandb_overrides(pinned), *job) == ours
