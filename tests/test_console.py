"""Whatever the terminal's encoding and width, what is printed is printed, and readable."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bsscale.records.run_record import read_run
from bsscale.report.figures import draw_lines
from bsscale.terminal.console import LogFileHandler, make_output_safe
from bsscale.terminal.progress import Progress
from bsscale.terminal.tables import render_table
from tests.conftest import SMALL

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("encoding", "errors", "expected"),
    [
        ("ascii", "strict", rb"\u250c a\xfc " + b"\xc3"),
        ("ascii", "surrogateescape", rb"\u250c a\xfc " + b"\xc3"),
        ("latin-1", "strict", rb"\u250c a" + b"\xfc \xc3"),
        ("utf-8", "strict", "┌ aü ".encode() + b"\xc3"),
    ],
)
def test_every_character_can_be_printed(
    monkeypatch: pytest.MonkeyPatch, encoding: str, errors: str, expected: bytes
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, errors))
    make_output_safe()
    print("┌ aü \udcc3", end="", flush=True)  # the last: a byte of a file name that is no UTF-8
    assert written.getvalue() == expected


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def terminal_of_60_columns(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard output and error (set within the test: pytest has its own for each phase)."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "60")
    return stream


def test_a_table_loses_nothing_where_it_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal_of_60_columns(monkeypatch)
    header = ["arm", "reached", "median samples to target", "best AUC"]
    row = ["onecycle gpus=8 schedule.cycle_max_lr=0.3", "10/10", "361,397", "0.7812"]
    folded = render_table("", header, [row])
    assert max(map(len, folded.splitlines())) <= 60
    for cell in ("reached", "samples", "10/10", "361,397", "0.7812"):  # none is cut or folded
        assert cell in folded
    wide = [*header, "range", "ratio to schedule=fixed,gpus=1", "diverged"]
    blocks = render_table("", wide, [[*row, "1 - 2", "1.7", "0/10"]] * 2)
    assert "ratio to schedule=fixed,gpus=1  1.7\n" in blocks and "best AUC  0.7812\n" in blocks
    assert blocks.count("\n\n") == 1


def test_a_figure_fits_and_its_labels_are_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    label = "onecycle gpus=8 " + "schedule.cycle_first_stair_count=100 " * 3
    figure = draw_lines("rate", {label: ([0, 1, 2], [0.0, 1.0, 0.25]), "b": ([0, 2], [0.5, 0.5])})
    lines = figure.splitlines()
    assert max(map(len, lines)) <= 60
    assert figure.count("first_stair_count=100") == 3
    # Top, middle and bottom of the axis; uniplot's own would be 0 and 1 for 0.25 and 0.75.
    numbers = [float(line.split()[-1]) for line in lines if "│ " in line and line[-1].isdigit()]
    assert numbers == [1, 0.5, 0]


def test_the_end_of_a_run_is_not_written_behind_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of_60_columns(monkeypatch)
    progress = Progress([("fixed gpus=8", 100), ("fixed gpus=8", 100)])
    progress.advance(0, 50)
    with progress.printing():
        cleared = len(terminal.getvalue())
        progress.ended(0, "reached")
        assert len(terminal.getvalue()) == cleared
    progress.close()


def test_who_stops_reading_stops_no_training(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "bsscale", *SMALL, "hydra.run.dir=run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_run(tmp_path / "run").status == "exhausted"


def test_ctrl_c_while_modules_are_imported_is_one_word(tmp_path: Path) -> None:
    (tmp_path / "hydra.py").write_text("exec('raise KeyboardInterrupt')\n")
    done = subprocess.run(
        [sys.executable, "-m", "bsscale"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr, done.stdout) == (130, "interrupted\n", "")


def test_a_log_that_cannot_be_written_is_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    handler = LogFileHandler("/dev/full", delay=True)
    logger = logging.getLogger("tests.full")
    logger.addHandler(handler)
    try:
        for _ in range(3):
            logger.warning("a message")
    finally:
        logger.removeHandler(handler)
    out, err = capfd.readouterr()
    assert out.count("the log /dev/full cannot be written: No space left on device") == 1
    assert "Traceback" not in out + err
