"""Without a network: the same commands in a network namespace that has a loopback and no more."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bsscale.records.run_record import read_run
from tests.conftest import SMALL

LOOPBACK_UP = (
    "import fcntl, socket, struct, sys, os; s = socket.socket(); "
    "fcntl.ioctl(s, 0x8914, struct.pack('16sh', b'lo', 0x1 | 0x40)); "  # SIOCSIFFLAGS, UP|RUNNING
    "os.execvp(sys.argv[1], sys.argv[1:])"
)
UNSHARE = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--net", "--map-root-user"]


def namespaces_work() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(
    not namespaces_work(), reason="this kernel lets no network namespace be made"
)


def offline(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*UNSHARE, sys.executable, "-c", LOOPBACK_UP, sys.executable, "-m", "bsscale", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("executor", ["virtual", pytest.param("ddp", marks=pytest.mark.slow)])
def test_a_run_with_wandb_needs_no_network(tmp_path: Path, executor: str) -> None:
    small = [argument for argument in SMALL if argument != "tracker=none"]
    done = offline(tmp_path, *small, "gpus=2", f"executor={executor}", "hydra.run.dir=run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_run(tmp_path / "run").status == "exhausted"
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert "W&B failed" not in done.stdout


def test_flights_are_prepared_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BSSCALE_CACHE_DIR", str(tmp_path / "cache"))
    done = offline(tmp_path, "base_lr=0.1", "budget_passes=0.1", "tracker=none")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9,430 of 336,776" in done.stdout
