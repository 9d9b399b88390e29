"""Launchers of clusters: what they ask for, and what they refuse before anything starts."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose

from bsscale.cli.launchers.register import LAUNCHERS
from bsscale.cli.launchers.slurm import resources
from bsscale.cli.launchers.submitit_base import SHARED, Resources
from bsscale.errors import ConfigError
from tests.composing import hydra
from tests.conftest import SMALL, Finished

__all__ = ["hydra"]

Bsscale = Callable[..., Finished]


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    ("launcher", "option"),
    [
        ("submitit_slurm", "partition=gpu"),
        ("submitit_local", "gpus_per_node=2"),
        ("ray", "ray.init.address=auto"),
        ("joblib", "n_jobs=4"),
    ],
)
def test_every_launcher_composes_with_its_options(launcher: str, option: str) -> None:
    overrides = [f"hydra/launcher={launcher}", f"hydra.launcher.{option}"]
    config = compose("config", overrides=overrides, return_hydra_config=True)
    assert config.hydra.launcher._target_.startswith("hydra_plugins.bsscale.")
    assert launcher in LAUNCHERS


@pytest.mark.parametrize(
    ("processes", "gpus_per_node", "tasks_per_node", "expected"),
    [
        (1, None, None, Resources(1, 1, None, 1)),
        (8, None, None, Resources(1, 8, None, 1)),
        (8, None, 4, Resources(2, 4, None, 1)),
        (8, 8, None, Resources(1, 8, 8, 1)),
        (2, 8, None, Resources(1, 2, 2, 1)),
        (16, 8, None, Resources(2, 8, 8, 1)),
        (12, 8, None, Resources(2, 6, 6, 1)),
        (7, 4, None, Resources(7, 1, 1, 1)),
        (16, 8, 4, Resources(4, 4, 4, 1)),
    ],
)
def test_a_job_has_as_few_nodes_as_hold_it_evenly(
    processes: int, gpus_per_node: int | None, tasks_per_node: int | None, expected: Resources
) -> None:
    assert resources(processes, 1, gpus_per_node, tasks_per_node) == expected


def test_a_node_without_room_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"gpus_per_node=0"):
        resources(4, 1, 0, None)


def test_joblib_refuses_processes_before_anything_starts(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(
        "-m", *SMALL, "hydra/launcher=joblib", "executor=virtual,ddp", "gpus=2",
        "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert done.code == 1 and "Nothing was trained" in done.text and "Traceback" not in done.text
    assert "executor=virtual" in done.text and not (tmp_path / "sweep" / "0").exists()


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is not None, reason="Ray is installed, so nothing is missing"
)
def test_a_missing_plugin_is_named_with_what_installs_it(bsscale: Bsscale) -> None:
    done = bsscale("-m", *SMALL, "hydra/launcher=ray", "hydra.launcher.ray.remote.num_gpus=1")
    assert done.code == 1 and "pip install 'bsscale[ray]'" in done.text
    assert "Traceback" not in done.text


def test_a_launcher_without_a_sweep_is_refused(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(*SMALL, "hydra/launcher=submitit_slurm", "hydra.run.dir=run")
    assert done.code == 1 and "-m" in done.text and "Traceback" not in done.text
    assert not (tmp_path / "run" / "run.json").exists()


def test_submitit_takes_the_same_for_every_cluster() -> None:
    submitit = pytest.importorskip("submitit")
    assert set(SHARED) == submitit.AutoExecutor._valid_parameters()
