"""The gradient noise scale of a script: `run.noise_scale`, its records, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bsscale.bridge import Run, join
from bsscale.critical_batch.noise_scale import moments, noise_scale
from bsscale.errors import ScriptError
from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import read_run
from tests.bridge.scripts import python, spec, train
from tests.bridge.test_join import RUN

UNTARGETED: dict[str, Any] = {**RUN, "target": None}
# The squared norms of two replicas' gradients, and of their average, at twelve updates.
NORMS = [((5.0 + k % 3, 6.0 + k % 2), 4.0 + 0.1 * (k % 4)) for k in range(12)]
EXPECTED = noise_scale([moments(sum(pair) / 2, large, 10, 20) for pair, large in NORMS])


def measure(run: Run, reports: Sequence[int]) -> None:
    """Two windows before each report, at multiples of 200 samples."""
    for k in reports:
        for pair, large in NORMS[2 * k - 2 : 2 * k]:
            run.noise_scale(pair, large)
        run.report(200 * k, auc=0.6)


def test_a_script_of_its_own_records_what_it_measures(tmp_path: Path) -> None:
    with join(**UNTARGETED, directory=tmp_path) as run:
        measure(run, range(1, 7))
        run.report(1400, auc=0.6)
    record = read_run(tmp_path)
    assert record.noise_scale == pytest.approx(EXPECTED.samples)
    assert record.noise_scale_interval == pytest.approx(EXPECTED.interval)
    assert (record.noise_scale_windows, record.noise_scale_note) == (12, None)
    assert record.noise_scale_groups is None
    values = [point.noise_scale for point in read_evals(tmp_path)]
    assert values[0] == pytest.approx(
        noise_scale([moments(5.5, 4.0, 10, 20), moments(6.5, 4.1, 10, 20)]).samples
    )
    assert [value is None for value in values] == [False] * 6 + [True]


def test_a_script_that_goes_back_takes_windows_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), join(**UNTARGETED, directory=tmp_path) as run:
        measure(run, range(1, 5))
        _ = 1 / 0
    (tmp_path / "run.json").unlink()
    with join(**UNTARGETED, directory=tmp_path) as run:
        assert run.resumed
        measure(run, range(3, 7))
    record = read_run(tmp_path)
    assert record.noise_scale == pytest.approx(EXPECTED.samples)
    assert record.noise_scale_windows == 12


def test_a_script_that_bsscale_has_started_measures_too(tmp_path: Path) -> None:
    code = (
        "from bsscale.bridge import join\n"
        "run = join()\n"
        f"for k, (pair, large) in enumerate({NORMS[:7]}):\n"
        "    run.noise_scale(pair, large, small_batch=10, large_batch=20)\n"
        "    run.report(200 * (k + 1), auc=0.6)\n"
    )
    [record] = train([spec(tmp_path / "run", python(code), {}, target=None)])
    assert not isinstance(record, Exception)
    assert record.noise_scale_windows == 7
    assert record.noise_scale_note == "only 7 windows: from 10 on, the interval can be relied on"
    assert all(point.noise_scale is not None for point in read_evals(tmp_path / "run"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((5.0, 6.0), 4.0, 20, 20), "the second is larger"),
        (((5.0, 6.0), 4.0, 20, 10), "the second is larger"),
        (((5.0, -6.0), 4.0), "squared L2 norms"),
        (((), 4.0), "squared L2 norms"),
    ],
)
def test_what_no_noise_scale_follows_from(
    tmp_path: Path, arguments: tuple[Any, ...], words: str
) -> None:
    run = join(**UNTARGETED, directory=tmp_path)
    with pytest.raises(ScriptError, match=words):
        run.noise_scale(*arguments)
    run.noise_scale(math.nan, 1.0)  # (of a run that diverges: it says nothing)
    run.noise_scale((3.0, math.inf), 1.0)
    run.report(200, auc=0.6)
    run.close()
    assert read_run(tmp_path).noise_scale_windows is None
    assert not (tmp_path / "noise_scale.jsonl").exists()
