"""What every test runs with: nothing of the user's, no network, one thread."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import bsscale.engines  # (before the first product: it sets how MKL adds)
from tests.preloaded import Preloaded, at_start

# No test has a time limit of its own: machines are shared, and speed is measured in benchmarks.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


# One cache for the whole session: preparing flights takes seconds. Tests of the cache itself
# use their own.
@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def hermetic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, session_cache: Path) -> None:
    monkeypatch.setenv("BSSCALE_CACHE_DIR", str(session_cache))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # As in an active environment: a script that is started as "python" is this Python's.
    here = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", os.pathsep.join([here, os.environ["PATH"]]))
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb-home"))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)


def command() -> list[str]:
    """What starts bsscale; warnings are errors, unless BSSCALE_TEST_WARNINGS says otherwise."""
    warnings = os.environ.get("BSSCALE_TEST_WARNINGS", "error")
    return [sys.executable, "-W", warnings, "-m", "bsscale"]


def python_path() -> str:
    """PYTHONPATH of a process that finds this tree, and whatever this process finds."""
    root = Path(__file__).parent.parent
    return os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))


# What an interpreter finds when it starts, in a test that changes nothing of it.
USUAL = at_start({**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path()})


@dataclass(frozen=True)
class Finished:
    """A command that has run: exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


# Small and quick: two seconds of training at most.
SMALL = (
    "dataset=synthetic",
    "dataset.samples_per_pass=20000",
    "dataset.validation_samples=4000",
    "dataset.test_samples=2000",
    "model=logistic",
    "micro_batch=32",
    "base_lr=0.1",
    "budget_passes=1",
    "tracker=none",
)


@pytest.fixture(scope="session")
def preloaded() -> Iterator[Preloaded]:
    """What spares most commands the import of torch."""
    server = Preloaded(command()[:-2], {**os.environ, **USUAL})
    yield server
    server.close()


@pytest.fixture
def bsscale(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, preloaded: Preloaded
) -> Callable[..., Finished]:
    """Run ``python -m bsscale`` as a user would, in an empty directory."""

    def call(*arguments: str, cwd: Path = tmp_path, **environment: str) -> Finished:
        complete = {**os.environ, "PYTHONPATH": python_path(), **environment}
        if at_start(complete) == USUAL:
            out = tmp_path_factory.mktemp("command") / "text"
            code = preloaded.run(arguments, cwd, complete, out)
            return Finished(code, *(out.with_suffix(end).read_text() for end in (".out", ".err")))
        done = subprocess.run(
            [*command(), *arguments], cwd=cwd, env=complete, capture_output=True, text=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Finished(done.returncode, done.stdout, done.stderr)

    return call
