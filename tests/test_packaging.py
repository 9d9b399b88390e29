"""The wheel holds all that a run needs, wherever it is run."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bsscale.records import read_run
from tests.conftest import SMALL

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = folder.glob("*.whl")
    return path


def test_the_wheel_holds_every_configuration_file(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("conf", "sweeps"):
        wanted = {f"bsscale/{path.relative_to(ROOT)}" for path in (ROOT / folder).rglob("*.yaml")}
        assert wanted and wanted <= names
    assert {"bsscale/py.typed", "bsscale/baselines.json"} <= names
    assert {f"bsscale/report/page.{ending}" for ending in ("html.j2", "css", "js")} <= names
    assert not [name for name in names if name.startswith(("tests", "outputs"))]


def test_a_run_from_the_wheel_in_a_directory_with_a_space(wheel: Path, tmp_path: Path) -> None:
    site, here = tmp_path / "site", tmp_path / "my work"
    zipfile.ZipFile(wheel).extractall(site)
    here.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "bsscale", *SMALL, "schedule=onecycle", "gpus=8"],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [run] = (here / "outputs").glob("*/*")
    assert read_run(run).environment["git_commit"] is None
    sweep = subprocess.run(
        [sys.executable, "-m", "bsscale", "+sweeps=stair_counts", "--cfg=hydra"],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert "schedule.cycle_first_stair_count: 0,1" in sweep.stdout, sweep.stdout + sweep.stderr
    check = "import bsscale, bsscale.cli as c; print(bsscale.__file__, c.CONFIG_DIRECTORY)"
    where = subprocess.run(
        [sys.executable, "-c", check],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert where.stdout.count(str(site)) == 2
