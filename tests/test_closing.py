"""What a multirun, a study and a report end with, as it is printed."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import msgspec
import pytest

from bsscale.records.run_record import RunRecord
from bsscale.report.answer import Answer
from bsscale.report.closing import closing_lines, closing_table
from bsscale.report.comparison import Comparison
from bsscale.report.next_step import NextStep
from bsscale.report.settings import title_of
from bsscale.report.tables import intervals_table, seeds_table
from bsscale.report.use import Use
from tests.test_report import compared, run

LONG = "onecycle gpus=8 schedule.cycle_first_stair_count=20 schedule.cycle_max_lr=2.2"


@pytest.fixture
def made(tmp_path: Path) -> Comparison:
    """Three arms on two seeds: a fast one, the baseline, and one that missed its target."""
    return compared(tmp_path, [
        *seeded("fixed gpus=1", 1, [100_000.0, 120_000.0]),
        *seeded(LONG, 8, [80_000.0, 90_000.0]),
        *seeded("fixed gpus=8", 8, [None, None]),
    ])  # fmt: skip


def seeded(arm: str, gpus: int, samples: list[float | None]) -> list[RunRecord]:
    return [
        msgspec.structs.replace(
            run(arm, each), seed=seed, gpus=gpus, samples_seen=523_000, dataset="flights",
            model="dlrm",
        )
        for seed, each in enumerate(samples)
    ]  # fmt: skip


@pytest.mark.parametrize("columns", [80, 100])
def test_the_closing_table_is_sorted_and_fits_80_columns(
    columns: int, made: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = closing_table(made).splitlines()
    assert lines == [
        "arm                           reached    median samples  samples, x fixed gpus=1",
        "onecycle gpus=8                   2/2            85,000                    0.77x",
        "cycle_first_stair_count=20",
        "cycle_max_lr=2.2",
        "fixed gpus=1 (baseline)           2/2           110,000                       1x",
        "fixed gpus=8                      0/2  missed in 2 of 2                   missed",
    ]


def test_it_is_the_same_where_it_is_piped(made: Comparison) -> None:
    assert max(map(len, closing_table(made).splitlines())) <= 80


def test_the_lines_at_the_end_say_what_the_page_says() -> None:
    command = "python -m bsscale gpus=8 schedule=onecycle"
    use, more = Use("onecycle", command, None, None), "python -m bsscale task=study task.seeds=20"
    said = ("It needs 0.77x the samples of 1 GPU (95%: 0.70 to 0.90; 10 seeds). So it is.",)
    won = Answer("use", "Use onecycle", said, use, None)
    assert closing_lines([won], Path("r.html")).splitlines() == [
        "answer  Use onecycle.",
        "  sure  It needs 0.77x the samples of 1 GPU (95%: 0.70 to 0.90; 10 seeds). So it",
        "        is.",
        "   use  Train as onecycle did:",
        f"        {command}",
        "  page  open r.html",
    ]
    # A tie says what to do next, and what to use until then; a missed target, only the former.
    step = NextStep("Add seeds", (more,))
    tie = closing_lines([Answer("tie", "Tie", said, use, step)], Path("r.html")).splitlines()
    assert tie[3:-1] == [
        "  next  Add seeds:", f"        {more}", "   use  Train as onecycle did:",
        f"        {command}",
    ]  # fmt: skip
    elsewhere = NextStep("Add seeds to your curves", ())
    missed = closing_lines([Answer("missed", "None", said, None, elsewhere)], Path("r.html"))
    assert missed.splitlines()[3:-1] == ["  next  Add seeds to your curves."]


def test_a_missed_target_is_said_so(made: Comparison) -> None:
    missed = "missed the target (budget spent)"
    rows = seeds_table(made).rows
    assert [row[2:] for row in rows if row[0] == "fixed gpus=8"] == [[missed, "> 523,000"]] * 2
    assert [row[2] for row in intervals_table(made).rows if row[0] == "fixed gpus=8"] == [
        "missed in 2 of 2"
    ]
    text = closing_table(made) + str(rows) + str(intervals_table(made).rows)
    assert "censored" not in text and "inf" not in text and "exhausted" not in text


def test_a_report_of_runs_has_a_title_that_names_them(made: Comparison) -> None:
    assert title_of(made) == "flights, dlrm, 1 and 8 GPUs"
