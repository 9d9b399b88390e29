"""The script that measures on a GPU runs from end to end on a CPU, and on a bare image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PHASES = ["env", "smoke", "time", "eval", "tests", "bench", "study"]


def bare(tmp_path: Path, **environment: str) -> dict[str, str]:
    """The environment of a process that finds only the packages of an image with a GPU."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT / "tests" / "bare_image"),
        "OUT": str(tmp_path / "results"),
        "DEVICE": "cpu",
        "PYTHON": sys.executable,
        **environment,
    }


def measure(tmp_path: Path, *arguments: str) -> tuple[str, list[dict[str, object]], str]:
    """Carry the script out; gives its summary, the lines of its results, and what it printed."""
    done = subprocess.run(
        ["bash", str(ROOT / "tests" / "benchmarks" / "gpu.sh"), *arguments],
        cwd=tmp_path,
        env=bare(tmp_path),
        capture_output=True,
        text=True,
    )
    results = tmp_path / "results" / "results.jsonl"
    lines = results.read_text().splitlines() if results.exists() else []
    summary = (tmp_path / "results" / "summary.txt").read_text()
    return summary, [json.loads(line) for line in lines], done.stdout + done.stderr


@pytest.mark.slow
def test_every_phase_runs_on_a_bare_image(tmp_path: Path) -> None:
    summary, lines, text = measure(tmp_path, "250", *PHASES)
    assert [line.split(",")[0] for line in summary.splitlines()] == [
        f"{phase}: exit code 0" for phase in PHASES
    ], text
    assert {line["phase"] for line in lines} == {"smoke", "time", "eval", "study"}
    assert all(line.get("ok", True) for line in lines), lines
    assert sum("goal" in line for line in lines) == 4
    bench = json.loads((tmp_path / "results" / "bench.json").read_text())
    assert [row["contestant"] for row in bench["steps"]] == ["bsscale R=1"]
    # What comes back from a machine is a few files.
    assert len(list((tmp_path / "results").iterdir())) <= 8


def test_a_phase_that_is_not_there_or_has_no_time_left_stops_no_other(tmp_path: Path) -> None:
    summary, lines, _ = measure(tmp_path, "5", "nothing", "smoke")
    assert summary.splitlines() == [
        "nothing: there is no such phase",
        "smoke: left out, 5 s were left",
    ]
    assert lines == []
