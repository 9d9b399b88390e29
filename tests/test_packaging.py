"""The wheel holds all that a run needs, wherever it is run."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bsscale.records.run_record import read_run
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
    assert {"bsscale/py.typed", "bsscale/planning/baselines.json"} <= names
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
    check = "import bsscale, bsscale.cli.store as c; print(bsscale.__file__, c.CONFIG_DIRECTORY)"
    where = subprocess.run(
        [sys.executable, "-c", check],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert where.stdout.count(str(site)) == 2


class Installed:
    """The wheel in an empty virtual environment, without extras, and an empty directory."""

    def __init__(self, wheel: Path, tmp_path: Path) -> None:
        self.here = tmp_path / "my work"
        self.here.mkdir()
        self._bin = tmp_path / "venv" / "bin"
        venv = [sys.executable, "-m", "venv", str(self._bin.parent)]
        subprocess.run(venv, check=True, capture_output=True)
        pip = ["pip", "--disable-pip-version-check"]
        probe = self.run(*pip, "download", "--no-deps", "--dest", str(tmp_path), "hydra-core")
        if probe.returncode:
            pytest.skip(f"pip reaches no index: {probe.stderr.strip().splitlines()[-1]}")
        constraints = str(ROOT / "constraints.txt")
        done = self.run(*pip, "install", "-c", constraints, str(wheel))
        assert done.returncode == 0, done.stdout + done.stderr
        done = self.run(*pip, "check")
        assert done.returncode == 0, done.stdout

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of the environment, which sees nothing of the checkout."""
        environment = {
            k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        return subprocess.run(
            [str(self._bin / name), *arguments],
            cwd=self.here,
            env={**environment, "PATH": f"{self._bin}{os.pathsep}{environment['PATH']}"},
            capture_output=True,
            text=True,
        )

    def bsscale(self, *arguments: str, code: int = 0) -> str:
        done = self.run("bsscale", *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_wheel_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    user = Installed(wheel, tmp_path)
    assert user.run(
        "python", "-c", "import bsscale.cli.store as c; print(c.CONFIG_DIRECTORY)"
    ).stdout == (f"{next(tmp_path.glob('venv/lib/*'))}/site-packages/bsscale/conf\n")
    # The main job: the data that ship, W&B offline without an account.
    assert "reached" in user.bsscale("schedule=onecycle", "gpus=8", "hydra.run.dir=run")
    record = read_run(user.here / "run")
    assert record.status == "reached" and record.environment["git_commit"] is None
    assert list((user.here / "run" / "wandb").glob("offline-run-*"))
    user.bsscale("task=report", "task.runs=run", "hydra.run.dir=report")
    assert "AUC" in (user.here / "report" / "report.html").read_text(encoding="utf-8")
    user.bsscale("task=show_schedule", "schedule=onecycle", "gpus=8", "hydra.run.dir=drawn")
    assert (user.here / "drawn" / "schedule.png").read_bytes().startswith(b"\x89PNG")
    sweep = "hydra.sweeper.params={gpus:'1,2',schedule:'fixed,onecycle',seed:'0,1'}"
    user.bsscale(*SMALL, "+sweeps=gpus", sweep, "hydra.sweep.dir=sweep")
    assert len(list(user.here.glob("sweep/*/run.json"))) == 8
    assert (user.here / "sweep" / "comparison.json").exists()
    assert "bsscale[dashboard]" in user.bsscale("task=dashboard", code=1)
    # Completion, which only an installed command has.
    completed = """
        eval "$(bsscale -sc install=bash)"
        COMP_LINE="bsscale schedule=one" COMP_POINT=20
        COMP_WORDS=(bsscale schedule=one) COMP_CWORD=1
        hydra_bash_completion
        echo "${COMPREPLY[*]}"
    """
    (tmp_path / "venv" / "bin" / "complete").write_text(f"#!/bin/bash\n{completed}")
    (tmp_path / "venv" / "bin" / "complete").chmod(0o755)
    assert user.run("complete").stdout == "schedule=onecycle schedule=onecycle_torch\n"
