"""Commands that are killed with signal 9 while they write: the same command ends as undisturbed.

``BSSCALE_TEST_KILLS=50 python -m pytest -m slow -o addopts= tests/test_kills.py`` kills 50 of them
at random file operations: runs, sweeps, range tests and studies in turn.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import SMALL
from tests.test_study import STUDY, environment, outcome

KILLS = int(os.environ.get("BSSCALE_TEST_KILLS", "4"))

RUN = (*SMALL, "checkpoint_interval_samples=4096", "schedule=onecycle", "optimizer=adam")
SHORT = tuple(each for each in SMALL if not each.startswith(("base_lr", "budget")))
KINDS = {
    "run": (*RUN, "hydra.run.dir=run"),
    "sweep": ("-m", *RUN, "seed=0,1", "gpus=1,2", "hydra.sweep.dir=sweep"),
    "range_test": (
        "task=range_test", *SHORT, "task.seeds=2", "task.evaluations=40", "gpus=2",
        "checkpoint_interval_samples=4096", "hydra.run.dir=test",
    ),
    "study": (
        *STUDY, "dataset.samples_per_pass=6000", "budget_samples=12288", "task.trials=3",
        "~task.arms.tuned_constant",
        "checkpoint_interval_samples=2048", "hydra.run.dir=command",
    ),
}  # fmt: skip


def started(
    kind: str, directory: Path, cache: Path, **watched: str
) -> subprocess.CompletedProcess[str]:
    """Let the command of a kind end in a directory, by itself or killed."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.killed_at", *KINDS[kind]],
        cwd=directory, env={**environment(cache), **watched}, capture_output=True, text=True,
    )  # fmt: skip


def left_in(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


Undisturbed = Callable[[str], tuple[Path, list[str]]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Undisturbed:
    """What a kind leaves that nothing disturbs, and its file operations, when first asked for."""
    made: dict[str, tuple[Path, list[str]]] = {}

    def make(kind: str) -> tuple[Path, list[str]]:
        if kind not in made:
            directory, listed = tmp_path_factory.mktemp(kind), tmp_path_factory.mktemp("listed")
            done = started(kind, directory, session_cache, OPERATIONS=str(listed / "operations"))
            assert done.returncode == 0, done.stdout + done.stderr
            made[kind] = directory, (listed / "operations").read_text().splitlines()
        return made[kind]

    return make


def check_killed_at(
    moments: list[int], kind: str, directory: Path, cache: Path, undisturbed: Undisturbed
) -> None:
    """Kill a command at file operations, start after start; then let it end."""
    expected, operations = undisturbed(kind)
    for number, moment in enumerate(moments):
        killed = started(kind, directory, cache, KILL_AT=str(moment))
        # (A later start may have fewer operations left than that.)
        ends = (-9,) if number == 0 else (-9, 0)
        assert killed.returncode in ends, killed.stdout + killed.stderr
    where = [operations[moment - 1] for moment in moments]
    done = started(kind, directory, cache)
    assert done.returncode == 0, f"killed at {where}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr
    assert left_in(directory) == left_in(expected), where
    assert outcome(directory) == outcome(expected), where


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        ("run", "os.chmod run/checkpoints/.step-000000256.safetensors.part"),
        ("run", "os.remove run/checkpoints/plan.json"),
        pytest.param(
            "sweep",
            "os.rename sweep/3/checkpoints/.step-000000192.safetensors.part",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_killed_while_it_writes_or_clears_away(
    kind: str, operation: str, tmp_path: Path, session_cache: Path, undisturbed: Undisturbed
) -> None:
    operations = undisturbed(kind)[1]
    assert operation in operations, "\n".join(operations)
    moment = operations.index(operation) + 1
    check_killed_at([moment], kind, tmp_path, session_cache, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_a_random_file_operation(
    number: int, tmp_path: Path, session_cache: Path, undisturbed: Undisturbed
) -> None:
    kind = list(KINDS)[number % len(KINDS)]
    operations = undisturbed(kind)[1]
    chance = random.Random(number)
    # Half of them within the writing of a checkpoint, the others anywhere; some are killed twice.
    moments = [*range(1, len(operations) + 1)]
    if number % 8 < 4:
        moments = [at for at in moments if "/checkpoints/.step-" in operations[at - 1]]
    chosen = [chance.choice(moments) for _ in range(1 + (number % 3 == 0))]
    check_killed_at(chosen, kind, tmp_path, session_cache, undisturbed)
