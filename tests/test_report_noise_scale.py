"""The gradient noise scale in a report: a table and a figure, where runs have measured it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bsscale.report.charts.noise_scale import noise_scale_figure
from bsscale.report.noise_scale import noise_scale_table
from bsscale.report.read import find
from bsscale.report.summarize import summarize
from bsscale.report.write import write_report
from tests.report_records import write_run_of


def measured_runs(directory: Path) -> None:
    """One arm with three seeds, one without measurements, and one with a short run."""
    groups = {"dense": 611.0, "embeddings": 8922.0}
    for seed, value in enumerate((900.0, None, 1500.0)):
        write_run_of(
            directory / f"many-{seed}", "1 GPU", seed, 200_000.0, gpus=1, noise_scale=value,
            noise_scale_groups=groups, noise_scale_windows=20 + seed,
        )  # fmt: skip
    write_run_of(directory / "none", "8 GPUs", 0, 300_000.0)
    write_run_of(
        directory / "short", "8 GPUs, short", 0, 100_000.0, noise_scale=700.0,
        noise_scale_interval=(300.0, None), noise_scale_windows=7, noise_scale_groups=groups,
        noise_scale_note="only 7 windows: from 10 on, the interval can be relied on",
    )  # fmt: skip


def test_the_table_has_medians_groups_and_notes(tmp_path: Path) -> None:
    measured_runs(tmp_path)
    comparison = summarize(find([tmp_path]))
    table = noise_scale_table(comparison)
    assert table.header[3:5] == ("dense", "embeddings")
    rows = {row[0]: list(row[1:]) for row in table.rows}
    assert rows == {
        "1 GPU": [
            "1,200 (not known in 1 of 3)", "900 - 1,500 over seeds", "611", "8,922", "128",
            "20 - 22",
        ],
        "8 GPUs, short": [
            "700", "300 or more", "611", "8,922", "1,024",
            "7: only 7 windows: from 10 on, the interval can be relied on",
        ],
    }  # fmt: skip
    figure = noise_scale_figure(comparison)
    assert figure is not None
    assert set(figure.keys) == {"1 GPU", "8 GPUs, short"}
    assert "not the same number" in figure.caption


def test_a_report_shows_it(tmp_path: Path) -> None:
    measured_runs(tmp_path / "runs")
    write_report([tmp_path / "runs" / "short"], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Gradient noise scale over samples" in page
    assert "is not the same number" in page
    assert (tmp_path / "out" / "figures" / "noise_scale.svg").exists()
    assert "8,922" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize("measured", [None, 0])
def test_no_measurement_no_figure(tmp_path: Path, measured: int | None) -> None:
    write_run_of(tmp_path / "0", "1 GPU", 0, 200_000.0, gpus=1, noise_scale_windows=measured)
    comparison = summarize(find([tmp_path]))
    assert noise_scale_table(comparison).rows == []
    assert noise_scale_figure(comparison) is None
