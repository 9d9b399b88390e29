"""A study and a range test that are judged by a loss: the best is the lowest, in every word."""

from __future__ import annotations

import csv
import json
import logging
import math
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from bsscale.cli.jobs import Job
from bsscale.data import ArrayStream, Dataset, Samples, load_dataset
from bsscale.objectives import Criterion
from bsscale.objectives.target import crossing
from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import RunRecord, read_run
from bsscale.records.study_record import StudyRecord
from bsscale.report.answer import answers, in_words
from bsscale.report.charts import figures
from bsscale.report.charts.curves import convergence_figures
from bsscale.report.charts.range_test import limits_of
from bsscale.report.drawing import NARROW
from bsscale.report.read import Sources, find
from bsscale.report.summarize import summarize
from bsscale.study.protocol import study
from bsscale.terminal.numbers import metric_number
from tests.composing import composed, hydra
from tests.helpers import SMALL_STUDY, SYNTHETIC
from tests.report_records import write_study

__all__ = ["hydra"]  # (a fixture)

STUDY = (
    *SMALL_STUDY,
    "executor.device=cpu",
    "task.trials=3",
    "task.lowest_lr=0.01",
    "task.highest_lr=1",
    "~task.arms.tuned_onecycle",
)
ROWS = {"train": 8000, "validation": 2000, "test": 1000}


def data(regression: bool) -> Dataset:
    """Some of the synthetic samples; for a regression the label is a number that they determine."""
    made = load_dataset({**SYNTHETIC, "samples_per_pass": ROWS["train"]})
    stream = made.train.read(0, 0, sum(ROWS.values()))
    if regression:
        weights = np.array([0.5, -0.4, 0.3], dtype=np.float32)
        noise = 0.3 * np.random.default_rng(0).standard_normal(len(stream)).astype(np.float32)
        stream = replace(stream, label=stream.numeric @ weights + noise)
    ends = np.cumsum(list(ROWS.values()))
    parts: list[Samples] = [
        stream[np.arange(b - n, b)] for b, n in zip(ends, ROWS.values(), strict=True)
    ]
    return Dataset(made.schema, ArrayStream(parts[0]), parts[1], parts[2])


@dataclass
class Done:
    """A study, and what it printed."""

    metric: str
    title: str
    directory: Path
    record: StudyRecord
    printed: str

    def runs(self, where: str) -> list[RunRecord]:
        return [read_run(path.parent) for path in sorted(self.directory.glob(f"{where}/run.json"))]


@pytest.fixture(scope="module", params=["log_loss", "mse"])
def done(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Done]:
    """Studies that are judged by a loss; tests only read them."""
    metric = request.param
    objective = "regression" if metric == "mse" else "binary"
    directory = tmp_path_factory.mktemp(metric) / "study"
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("bsscale")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    chosen = [] if metric == "mse" else [f"metric={metric}"]  # (the objective's first)
    words = [*STUDY, *chosen, f"objective={objective}", f"task.directory={directory}"]
    generator = hydra.__wrapped__()  # type: ignore[attr-defined]
    next(generator)
    try:
        job = Job(composed(*words), None, lambda _: data(metric == "mse"))
        record = study(job.config, job.dataset)
    finally:
        next(generator, None)
        log.removeHandler(handler)
        log.setLevel(level)
    title = {"log_loss": "log loss", "mse": "MSE"}[metric]
    return Done(metric, title, directory, record, "\n".join(lines))


def test_it_is_registered_with_its_metric_and_direction(done: Done) -> None:
    registered = done.record.registered
    assert (registered.metric, registered.direction) == (done.metric, "min")
    assert registered.target_rule.startswith(f"median best validation {done.title} of 2 runs")
    assert "plus 2% of its distance to the value at chance" in registered.target_rule


def test_the_best_rate_is_that_of_the_lowest_loss(done: Done) -> None:
    [tuning] = [t for t in done.record.tunings if t.gpus == 1]
    lowest = {
        trial.lr: read_run(path).best_value
        for trial in tuning.trials
        for path in (done.directory / "tuning" / "one_gpu" / f"lr-{trial.lr:g}").glob("seed-*")
    }
    values = [value for value in lowest.values() if value is not None]
    assert len(set(values)) > 1 and tuning.provisional is not None
    assert lowest[tuning.provisional] == min(values)
    # Once there is a target, it is the one with the fewest samples to it.
    samples = {trial.lr: trial.samples_to_target or math.inf for trial in tuning.trials}
    assert samples[tuning.best] == min(samples.values())
    assert done.record.base_lr == tuning.best


def test_the_target_lies_above_the_lowest_losses_and_is_reached_from_above(done: Done) -> None:
    best = [run.best_value for run in done.runs("target/*")]
    target = done.record.target
    assert target is not None
    middle = statistics.median(value for value in best if value is not None)
    label = data(done.metric == "mse").validation.label.astype(np.float64)
    share = label.mean()
    chance = (
        label.var()
        if done.metric == "mse"
        else -share * np.log(share) - (1 - share) * np.log(1 - share)
    )
    assert target == pytest.approx(middle + 0.02 * (chance - middle))
    reached = [run for run in done.runs("runs/*/*") if run.status == "reached"]
    assert reached
    for path in done.directory.glob("runs/*/*"):
        run, points = read_run(path), read_evals(path)
        values = [point.metrics[done.metric] for point in points]
        assert run.best_value == min(value for value in values if value is not None)
        if run.status == "reached":
            found = crossing([p.samples for p in points], values, target, "min")
            assert found is not None and run.samples_to_target == found.samples
            assert all(value <= target for value in values[-2:] if value is not None)


def test_the_range_test_says_what_it_was_judged_by(done: Done) -> None:
    found = json.loads((done.directory / "range_test" / "range_test.json").read_text())
    assert (found["metric"], found["direction"], found["loss"]) == (done.metric, "min", done.metric)
    assert f"validation {done.title} over learning rate" in done.printed
    # The metric is the loss: one curve of it.
    figure = (done.directory / "range_test" / "range_test.svg").read_text()
    assert f"validation {done.title}" in figure and "validation loss" not in figure


def test_the_report_has_the_lowest_loss_of_every_arm(done: Done) -> None:
    report = json.loads((done.directory / "report" / "report.json").read_text())
    with (done.directory / "report" / "report.csv").open() as file:
        rows = {row["arm"]: row for row in csv.DictReader(file)}
    for arm in report["arms"]:
        lowest = [r.best_value for r in done.runs("runs/*/*") if r.arm == arm["arm"]]
        median = statistics.median(value for value in lowest if value is not None)
        assert (arm["metric"], arm["direction"]) == (done.metric, "min")
        assert arm["median_best_value"] == median
        row = rows[arm["arm"]]
        assert (row["metric"], row["direction"]) == (done.metric, "min")
        assert float(row["median_best_value"]) == median
        curve = report["curves"][arm["arm"]]
        assert curve[-1]["median"] < curve[0]["median"]
        assert curve[-1]["low"] <= curve[-1]["median"] <= curve[-1]["high"]
    figures = {path.stem for path in (done.directory / "report" / "figures").iterdir()}
    assert {"convergence", "tuning_samples", "range_test"} <= figures
    page = (done.directory / "report" / "report.md").read_text()
    assert f"validation {done.title}, the median over" in page
    assert f"{done.title} {done.record.target:.4g}" in report["verdict"]


def test_the_axis_of_the_curves_is_cut_off_above(done: Done) -> None:
    [shown] = convergence_figures(summarize(find([done.directory])))
    curves, _ = shown.draw(NARROW).to_dict()["vconcat"]
    scales = [layer["encoding"]["y"].get("scale", {}) for layer in curves["layer"]]
    [(_, cut)] = {tuple(scale["domain"]) for scale in scales if "domain" in scale}
    report = json.loads((done.directory / "report" / "report.json").read_text())
    ends = [curve[-1]["high"] for curve in report["curves"].values()]
    starts = [curve[0]["median"] for curve in report["curves"].values()]
    assert max(ends) < cut < max(starts)


def words_of(path: Path) -> str:
    """The text of a file: of a page without its scripts' code, of evaluations nothing."""
    if path.suffix in (".png", ".safetensors", ".npy", ".npz") or path.name == "evals.jsonl":
        return ""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        text = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    return text


def test_no_text_names_another_metric(done: Done) -> None:
    files = [path for path in done.directory.rglob("*") if path.is_file() and path.stat().st_size]
    named = [
        str(path) for path in files if re.search(r"(?i)(?<![a-z])auc(?![a-z])", words_of(path))
    ]
    assert not named
    # An evaluation of objective=binary has every metric of it, each by its own name.
    said = [line for line in done.printed.splitlines() if "auc" in line.lower()]
    assert not [line for line in said if "log_loss" not in line]
    assert done.metric == "log_loss" or not said
    assert f"best {done.title}" in done.printed and f"target  {done.title}" in done.printed


def test_without_a_target_the_verdict_is_the_lowest_loss(done: Done) -> None:
    comparison = summarize(find([done.directory / "target"]))
    [arm] = comparison.arms
    assert in_words(answers(comparison, Sources())).endswith(
        f"The lowest median {done.title}, {arm.median_best_value:.4f}, is that of {arm.short}."
    )


def test_studies_of_several_metrics_have_a_curve_and_a_tuning_each(
    done: Done, tmp_path: Path
) -> None:
    other = write_study(tmp_path / "auc", seeds=range(2))
    found = find([done.directory, other])
    comparison = summarize(found)
    made = {each.name: each for each in figures(comparison, found.studies, ())}
    for title, name in ((done.title, done.metric), ("AUC", "auc")):
        curve = made[f"convergence_{name}"]
        assert curve.title == f"{title} and learning rate over samples"
        assert f"validation {title}, the median over" in curve.caption
    # The searches that had a target were chosen by the samples to it, whatever the metric.
    # Two searches of each study; one in which no rate reached the target is drawn by the metric.
    tuned = {name: each for name, each in made.items() if name.startswith("tuning")}
    assert len({row[0] for each in tuned.values() for row in each.table.rows}) == 4
    assert len(tuned["tuning_samples"].keys) >= 3
    assert set(made[f"convergence_{done.metric}"].keys).isdisjoint(made["convergence_auc"].keys)
    # Each arm is compared within its own study.
    baselines = {arm.study: arm.baseline for arm in comparison.arms}
    assert all(baseline and str(name) in baseline for name, baseline in baselines.items())


@pytest.mark.parametrize(
    ("criterion", "values", "bad_end"),
    [
        # From 0 at the start to 0.5: shown down to twice that below the start.
        (Criterion("r2", "max"), (0.0, 0.5, -3.0, -1e30), -1.0),
        (Criterion("auc", "max"), (0.5, 0.75, 0.5, 0.45), 0.45),
        # Up to three times the lowest, and at least up to the start.
        (Criterion("mae", "min"), (0.8, 0.4, 1.1, 1e30), 1.2),
        (Criterion("mae", "min"), (2.0, 0.4, 1.1, 1e30), 2.0),
        (Criterion("mae", "min"), (0.8, 0.4, 0.6), 0.8),
    ],
)
def test_a_curve_that_diverges_does_not_flatten_a_range_test(
    criterion: Criterion, values: tuple[float, ...], bad_end: float
) -> None:
    line = [(10.0**n, value) for n, value in enumerate(values)]
    low, high = limits_of({"0": line}, criterion.sign)
    bad, good = (low, high) if criterion.direction == "max" else (high, low)
    assert bad == pytest.approx(bad_end)
    best = criterion.best(values)
    assert best is not None and 0 < criterion.sign * (good - best) < 0.2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (0.75, "0.7500"), (0.0, "0.0000"), (-0.5, "-0.5000"),
        (0.00012345, "0.0001234"),
        (123456.7, "1.235e+05"), (9999.0, "9999.0000"), (math.inf, "inf"),
    ],
)  # fmt: skip
def test_a_value_is_shown_with_four_decimals_or_digits(value: float | None, text: str) -> None:
    assert metric_number(value) == text
