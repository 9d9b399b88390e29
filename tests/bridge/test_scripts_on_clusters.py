"""Studies and sweeps of scripts on a real SLURM and a real Ray end as they do in one process.

export SLURM_CONF=$(tests/clusters/slurm.sh start)
export BSSCALE_RAY_PYTHON=$(tests/clusters/ray.sh start)
python -m pytest -m slow -o addopts= tests/bridge/test_scripts_on_clusters.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bridge.small_studies import WORDS, a_script
from tests.conftest import python_path
from tests.helpers import require_slurm
from tests.test_study import outcome

pytestmark = pytest.mark.slow

RAY_ADDRESS = "127.0.0.1:26379"
STUDY = (
    *WORDS,
    "trainer.search_range=[0.01,1]",
    "task.directory=study",
    "task.seeds=2",
    "task.trials=4",
    "task.tuning_seeds=1",
    "task.finalist_seeds=1",
    "task.target_seeds=2",
    "+task.arms.tuned={schedule:fixed,rate:tuned}",
)
SWEEP = (
    *(word for word in WORDS if "task" not in word and not word.startswith("gpus")),
    "-m", "seed=0,1", "gpus=1,4", "base_lr=0.1", "budget_samples=2000", "target=0.7",
    "hydra.sweep.dir=sweep",
)  # fmt: skip


def carried_out(
    directory: Path, script: str, words: tuple[str, ...], launcher: str
) -> dict[str, Any]:
    """What a command leaves when a launcher's jobs train."""
    directory.mkdir()
    python, environment = sys.executable, {**os.environ, "PYTHONPATH": python_path()}
    if launcher == "submitit_slurm":
        require_slurm()
    if launcher == "ray":
        if "BSSCALE_RAY_PYTHON" not in os.environ:
            pytest.skip("no Ray: export BSSCALE_RAY_PYTHON=$(tests/clusters/ray.sh start)")
        python = os.environ["BSSCALE_RAY_PYTHON"]
        environment["RAY_ADDRESS"] = RAY_ADDRESS
        del environment["PYTHONPATH"]  # (the environment of this one's packages is not Ray's)
    done = subprocess.run(
        [python, "-m", "bsscale", *words, script, f"hydra/launcher={launcher}"],
        cwd=directory, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = outcome(directory / ("study" if words is STUDY else "sweep"))
    return {name: without_environment(each) for name, each in found.items()}


def without_environment(data: Any) -> Any:
    """A job may see other devices and other versions of libraries than this process."""
    if isinstance(data, dict):
        return {k: without_environment(v) for k, v in data.items() if k != "environment"}
    return data


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    return a_script(tmp_path_factory.mktemp("script"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, script: str) -> list[dict[str, Any]]:
    directory = tmp_path_factory.mktemp("undisturbed")
    return [
        carried_out(directory / "study", script, STUDY, "stacked"),
        carried_out(directory / "sweep", script, SWEEP, "stacked"),
    ]


@pytest.mark.parametrize("launcher", ["submitit_slurm", "ray", "submitit_local"])
def test_a_study_and_a_sweep_of_scripts(
    launcher: str, script: str, tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    study, sweep = undisturbed
    assert carried_out(tmp_path / "sweep", script, SWEEP, launcher) == sweep
    assert carried_out(tmp_path / "study", script, STUDY, launcher) == study
    works = list((tmp_path / "study" / "study" / "jobs").glob("[0-9]*/work.json"))
    assert len(works) >= 4  # (the rounds of the searches, the target, the arms)
