"""Objectives as values: their metrics, their losses, and runs that are judged by them."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from bsscale.config import ExecutorOptions
from bsscale.config.objectives import build_objective
from bsscale.config.run import BINARY
from bsscale.engines.probe_objective import check_losses
from bsscale.errors import BsscaleError, ConfigError, MetricError
from bsscale.objectives import Binary, Criterion, Objective, Regression
from bsscale.objectives.divergence import DivergenceDetector
from bsscale.objectives.target import crossing
from bsscale.objectives.torch_form import error_of, losses_of
from bsscale.planning import baselines
from bsscale.planning.checks import check_config, check_labels
from bsscale.planning.devices import Devices
from bsscale.study.arms import make_arms
from bsscale.study.description import describe_study
from bsscale.study.options import StudyOptions
from bsscale.study.registered import to_register
from bsscale.study.registration import open_study
from tests.composing import hydra, typed
from tests.conftest import Finished
from tests.engines.ranks import ddp
from tests.engines.runs import (
    advance,
    all_at_once,
    by_torch,
    compiles,
    equal,
    parameters,
    relative_distance,
    stacked,
)
from tests.helpers import MODELS, prepare, small_config
from tests.objectives_of_users import Huber, WithoutAuc

__all__ = ["hydra"]
PARTS = "tests.objectives_of_users"
PRICES: dict[str, Any] = {"name": "prices", "_target_": f"{PARTS}.prices"}
REGRESSION = {"name": "regression", "_target_": "bsscale.objectives.Regression", "metrics": {}}
HUBER = {"name": "huber", "_target_": f"{PARTS}.Huber", "delta": 0.5}
Floats = np.ndarray[Any, Any]


@pytest.fixture
def labelled() -> tuple[Floats, Floats]:
    """Labels and logits that know something of them, with ties and large values."""
    rng = np.random.default_rng(0)
    label = (rng.random(2000) < 0.3).astype(np.float32)
    logit = np.round(rng.normal(size=2000) + label, 1) * 3
    return label, logit


# -- metrics and losses ---------------------------------------------------------------------------


def test_binary_metrics_are_scikit_learns(labelled: tuple[Floats, Floats]) -> None:
    label, logit = labelled
    found = Binary().evaluate(label, logit)
    probability = 1 / (1 + np.exp(-logit))
    loss = sklearn_metrics.log_loss(label, probability)
    rate = float(np.mean(label.astype(np.float64)))
    entropy = -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)
    assert found == pytest.approx(
        {
            "auc": sklearn_metrics.roc_auc_score(label, logit),
            "log_loss": loss,
            "normalized_entropy": loss / entropy,
            "accuracy": sklearn_metrics.accuracy_score(label, logit > 0),
        },
        rel=1e-12,
    )
    np.testing.assert_allclose(Binary().score(logit), probability, rtol=1e-12)
    assert Binary().score(np.array([-1e9, 1e9])).tolist() == [0.0, 1.0]


def test_regression_metrics_are_scikit_learns(labelled: tuple[Floats, Floats]) -> None:
    _, label = labelled
    output = label + np.random.default_rng(1).normal(size=len(label))
    found = Regression().evaluate(label, output)
    assert found == pytest.approx(
        {
            "mse": sklearn_metrics.mean_squared_error(label, output),
            "mae": sklearn_metrics.mean_absolute_error(label, output),
            "r2": sklearn_metrics.r2_score(label, output),
        },
        rel=1e-12,
    )


@pytest.mark.parametrize("objective", [Binary(), Regression()])
def test_values_at_chance_are_those_of_the_best_constant(
    objective: Objective, labelled: tuple[Floats, Floats]
) -> None:
    label, _ = labelled
    of_binary = isinstance(objective, Binary)
    grid = np.linspace(-6, 6, 2401) if of_binary else np.linspace(0, 1, 1001)
    for metric in objective.metrics.values():
        values = [
            metric.function(label, np.full(len(label), constant))
            for constant in (grid if len(grid) < 1500 or metric.name != "auc" else grid[:1])
        ]
        assert metric.chance(label) == pytest.approx(metric.best(values), abs=2e-5)


def test_outputs_that_are_not_finite_have_no_metrics(labelled: tuple[Floats, Floats]) -> None:
    label, logit = labelled
    logit[3] = np.nan
    assert set(Binary().evaluate(label, logit).values()) == {None}
    assert Binary().value(Binary().metric("log_loss"), label, logit) is None
    # One label only: r2 divides by nothing.
    assert Regression().evaluate(np.ones(3), np.zeros(3)) == {"mse": 1.0, "mae": 1.0, "r2": None}


@pytest.mark.parametrize("objective", [Binary(), Regression(), Huber(delta=0.3)])
def test_the_error_is_the_derivative_of_the_mean_loss(objective: Objective) -> None:
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(3, 50, dtype=torch.float64, generator=generator, requires_grad=True)
    label = (torch.rand(3, 50, dtype=torch.float64, generator=generator) < 0.5).double()
    losses_of(objective)(output, label).mean(dim=1).sum().backward()
    found = error_of(objective)(output.detach(), label, label.shape[-1])
    torch.testing.assert_close(found, output.grad, rtol=1e-12, atol=1e-15)


# -- directions -----------------------------------------------------------------------------------


def test_a_criterion_knows_what_is_better() -> None:
    high, low = Criterion("auc", "max"), Criterion("log_loss", "min")
    assert (high.title, low.title) == ("AUC", "log loss")
    assert high.best([0.6, None, 0.7, math.nan]) == 0.7 and low.best([0.6, None, 0.7]) == 0.6
    assert low.best([None]) is None
    assert high.reaches(0.7, 0.7) and low.reaches(0.7, 0.7)
    assert not high.reaches(math.nan, 0.7) and not low.reaches(math.nan, 0.7)
    assert not low.reaches(None, 0.7) and not low.reaches(0.1, None)
    assert high.target([0.7, 0.8, 0.9], 0.05) == pytest.approx(0.75)
    assert low.target([0.3, 0.4, 0.5], 0.05) == pytest.approx(0.45)


def test_default_margins() -> None:
    label = np.array([0.0, 1.0] * 50)
    assert Binary().metric("auc").default_margin([0.7], label) == 0.005
    # Only the AUC's noise is known: a range test says "back at chance" of no other metric.
    bounds = {name: metric.chance_bound(label) for name, metric in Binary().metrics.items()}
    assert bounds.pop("auc") > 0.5 and set(bounds.values()) == {None}
    # 2% of the way from the best value to the entropy of the labels.
    margin = Binary().metric("log_loss").default_margin([0.3, 0.4, 0.6], label)
    assert margin == pytest.approx(0.02 * (math.log(2) - 0.4))
    assert Regression().metric("r2").default_margin([0.5], label) == pytest.approx(0.01)


def test_a_curve_that_falls_reaches_its_target_from_above() -> None:
    found = crossing([0, 10, 20, 30, 40], [0.9, 0.5, 0.7, 0.4, 0.3], 0.5, "min")
    # (the hit at 10 is not confirmed; between 20 and 30 two thirds of the way are the target's)
    assert found is not None and found.interval == (20, 30)
    assert found.samples == pytest.approx(20 + 10 * 2 / 3)
    assert crossing([0, 10], [0.4, 0.4], 0.4, "min").interval == (0, 0)  # type: ignore[union-attr]
    assert crossing([0, 10, 20], [0.4, None, 0.3], 0.4, "min") is None


def test_a_regression_diverges_by_its_loss() -> None:
    detector = Regression().divergence(np.array([0.0, 2.0]))
    assert isinstance(detector, DivergenceDetector) and detector.loss_at_chance == 1.0

    def reasons(*values: float | None) -> list[str | None]:
        watching = Regression().divergence(np.array([0.0, 2.0]))
        return [watching.reason({"mse": v, "mae": None, "r2": None}, 1.0) for v in values]

    assert reasons(9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0) == [None] * 7  # it learns
    rising = reasons(2.0, 2.1, 2.2, 2.3, 2.4, 2.5)
    assert rising[:5] == [None] * 5
    assert rising[5] == "validation loss above the label's variance (1.0000) for 5 evaluations"
    assert reasons(0.5, None)[1] == "non-finite validation loss"


# -- training -------------------------------------------------------------------------------------


def regression(**changes: Any) -> Any:
    return small_config(**{
        "dataset": PRICES, "objective": REGRESSION, "precision": "fp64", "base_lr": 0.01,
        "model": MODELS["mlp"], **changes,
    })  # fmt: skip


@pytest.mark.parametrize("objective", [REGRESSION, HUBER])
@pytest.mark.parametrize("model", MODELS)
def test_layers_train_a_number_as_torch_does(objective: Any, model: str) -> None:
    plan, dataset = prepare(regression(objective=objective, model=MODELS[model]))
    [layers] = all_at_once([plan], dataset)
    assert relative_distance(layers, by_torch(plan, dataset)) < 1e-10


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("objective", [REGRESSION, HUBER])
def test_compiled_steps_train_a_number_as_torch_does(objective: Any) -> None:
    executor = ExecutorOptions("virtual", "cpu", compile=True)
    plan, dataset = prepare(regression(objective=objective, executor=executor))
    [compiled] = all_at_once([plan], dataset, "compiled")
    assert relative_distance(compiled, by_torch(plan, dataset)) < 1e-10


@pytest.mark.parametrize("objective", [REGRESSION, pytest.param(HUBER, marks=pytest.mark.slow)])
def test_two_ranks_train_a_number_as_one_process_does(objective: Any, tmp_path: Path) -> None:
    config = regression(objective=objective, gpus=2)
    plan, dataset = prepare(config)
    [expected] = all_at_once([plan], dataset)
    for rank in ddp(config, 100, tmp_path):
        assert relative_distance({name: rank[name] for name in expected}, expected) < 1e-10


def test_what_a_run_is_judged_by_does_not_change_its_training() -> None:
    config = small_config(model=MODELS["dlrm"])
    [by_auc], [by_loss] = (
        all_at_once([plan], dataset)
        for plan, dataset in (prepare(config), prepare(replace(config, metric="log_loss")))
    )
    assert equal(by_auc, by_loss)


def test_training_loss_is_the_objectives() -> None:
    plan, dataset = prepare(regression())
    engine = stacked([plan], dataset, width=1)
    rows = dataset.train.read(0, 0, 32)
    before = {name: value.clone() for name, value in parameters(engine).items()}
    module = engine.model(0)
    with torch.no_grad():
        output = module(torch.from_numpy(rows.categorical), torch.from_numpy(rows.numeric).double())
    advance(engine, 1)
    expected = float((output - torch.from_numpy(rows.label)).square().mean())
    assert engine.take_train_loss(0) == pytest.approx(expected, rel=1e-12)
    assert not equal(before, parameters(engine))


# -- the command line -----------------------------------------------------------------------------

Bsscale = Callable[..., Finished]
DATA = ["dataset=custom", f"dataset._target_={PARTS}.prices", "model=mlp", "tracker=none"]
SHORT = ["micro_batch=64", "budget_samples=16384", "eval_interval_samples=1024", "base_lr=0.02"]


def record(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return found


def test_an_objective_and_a_metric_of_the_users_train_by_the_command_line(
    bsscale: Bsscale, tmp_path: Path
) -> None:
    done = bsscale(
        *DATA, *SHORT, "objective=custom", f"objective._target_={PARTS}.Huber",
        "+objective.delta=0.5",
        f"+objective.metrics.close={{_target_: {PARTS}.within_one, direction: max, by: 0.5}}",
        "metric=close", "target=0.6", "hydra.run.dir=run",
    )  # fmt: skip
    assert done.code == 0, done.text
    found = record(tmp_path / "run")
    assert (found["metric"], found["direction"], found["status"]) == ("close", "max", "reached")
    lines = (tmp_path / "run" / "evals.jsonl").read_text().splitlines()
    assert {"mse", "mae", "r2", "close"} <= json.loads(lines[-1]).keys()
    assert "AUC" not in done.text


def test_log_loss_is_reached_from_above(bsscale: Bsscale, tmp_path: Path) -> None:
    done = bsscale(
        "dataset=synthetic", "dataset.samples_per_pass=8000", "model=logistic", "tracker=none",
        *SHORT, "metric=log_loss", "target=0.49", "hydra.run.dir=run",
    )  # fmt: skip
    assert done.code == 0, done.text
    found = record(tmp_path / "run")
    assert (found["metric"], found["direction"], found["status"]) == ("log_loss", "min", "reached")
    values = [
        json.loads(line)["log_loss"]
        for line in (tmp_path / "run" / "evals.jsonl").read_text().splitlines()
    ]
    assert found["best_value"] == min(values)
    assert found["best_possible"] is None  # (what is known is the best possible AUC)
    assert "AUC" not in done.text and "log loss" in done.text


def test_a_study_by_a_metric_of_the_users_is_continued(tmp_path: Path) -> None:
    """Whatever string object says the direction: only its value counts."""
    metric = {"_target_": f"{PARTS}.within_one", "direction": "".join(("m", "ax")), "margin": 0.1}
    config = small_config(
        gpus=2,
        task=StudyOptions(arms={"one_gpu": {"schedule": "fixed", "role": "baseline", "gpus": 1}}),
        objective={**BINARY, "metrics": {"mine": metric}},
        metric="mine",
    )
    arms = make_arms(config.task, 2)
    wanted = to_register(config, arms, [], "data")
    first = open_study(tmp_path, wanted, "the command")
    assert (first.registered.metric, first.registered.direction) == ("mine", "max")
    again = open_study(tmp_path, wanted, "the command")
    assert (again.hash, again.amendments) == (first.hash, [])


def test_a_study_without_a_target_needs_a_scale() -> None:
    metric = {"_target_": f"{PARTS}.within_one", "direction": "max"}
    arms = {"one_gpu": {"schedule": "fixed", "role": "baseline", "gpus": 1}}
    config = small_config(
        task=StudyOptions(arms=arms), objective={**BINARY, "metrics": {"mine": metric}},
        metric="mine", gpus=2,
    )  # fmt: skip
    dataset = prepare(small_config())[1]
    with pytest.raises(ConfigError, match="neither a margin nor a value at chance"):
        describe_study(config, dataset, Devices(cuda=0))
    assert describe_study(replace(config, target=0.5), dataset, Devices(cuda=0))


# -- what is refused ------------------------------------------------------------------------------


def refused(objective: dict[str, Any], **changes: Any) -> BsscaleError:
    config = small_config(objective=objective, **changes)
    with pytest.raises(BsscaleError) as caught:
        check_config(config)
        check_labels(config, prepare(replace(config, target=None))[1])
    return caught.value


@pytest.mark.parametrize(
    ("objective", "fact", "remedy"),
    [
        ("no.such.module.Thing", "cannot import", "importable"),
        (f"{PARTS}.Nothing", "cannot import", "importable"),
        (f"{PARTS}.NoObjective", "gives a NoObjective", "derive it from"),
        (f"{PARTS}.WithoutLosses", "has no method losses", "define it on torch tensors"),
        (f"{PARTS}.Misspelt", "has no method losses", "define it on torch tensors"),
        (f"{PARTS}.WithAnUnknownLoss", "loss='something'", "name the metric"),
        (f"{PARTS}.WithANameOfTheFormat", "'step' cannot be the name", "give a name of"),
        ("bsscale.objectives.Objective", "cannot be made", "its options are"),
    ],
)
def test_wrong_objectives(objective: str, fact: str, remedy: str) -> None:
    error = refused({"name": "custom", "_target_": objective})
    assert fact in error.fact and remedy in error.remedy


@pytest.mark.parametrize(
    ("objective", "fact"),
    [
        ("MeanLoss", r"gave shape \(\) for 16 samples"),
        ("WithoutGradient", "have no gradient"),
        ("OfTheWholeBatch", "change with the others of the batch"),
        ("ThatRaises", "failed with ValueError: no idea"),
    ],
)
def test_losses_that_cannot_be_trained(objective: str, fact: str) -> None:
    made = build_objective({"name": "mine", "_target_": f"{PARTS}.{objective}"})
    _, dataset = prepare(regression())
    with pytest.raises(ConfigError, match=fact):
        check_losses(made, dataset.validation)
    for fine in (Huber(), Regression(), Binary()):
        check_losses(fine, dataset.validation)


def test_an_unknown_option_of_an_objective() -> None:
    error = refused({**HUBER, "delat": 1})
    assert "delat" in error.fact and "delta" in error.remedy


@pytest.mark.parametrize(
    ("metric", "fact", "remedy"),
    [
        ("sklearn", "is not a mapping", "_target_"),
        ({"_target_": f"{PARTS}.within_one"}, "direction=None", "max where higher"),
        ({"_target_": f"{PARTS}.within_one", "direction": "up"}, "direction=up", "max where"),
        ({"_target_": f"{PARTS}.no", "direction": "max"}, "cannot import", "importable"),
        ({"_target_": f"{PARTS}.broken", "direction": "max"}, "three arguments", "returns a"),
        ({"_target_": f"{PARTS}.a_vector", "direction": "max"}, "fails on", "returns a number"),
        (
            {"_target_": f"{PARTS}.within_one", "direction": "max", "by": "far"},
            "fails on 3,001 labels",
            "returns a number",
        ),
        (
            {"_target_": f"{PARTS}.within_one", "direction": "max", "at_chance": "half"},
            "at_chance='half' is not a number",
            "give a number",
        ),
    ],
)
def test_wrong_metrics(metric: Any, fact: str, remedy: str) -> None:
    error = refused({**BINARY, "metrics": {"mine": metric}})
    assert fact in error.fact and remedy in error.remedy


def test_a_metric_that_has_the_name_of_another() -> None:
    metric = {"_target_": f"{PARTS}.within_one", "direction": "max"}
    assert "has the name of a metric" in refused({**BINARY, "metrics": {"auc": metric}}).fact


@pytest.mark.parametrize("name", ["step", "train_loss", "a b", "1st"])
def test_names_that_no_metric_can_have(name: str) -> None:
    metric = {"_target_": f"{PARTS}.within_one", "direction": "max"}
    assert "cannot be the name of a metric" in refused({**BINARY, "metrics": {name: metric}}).fact


@pytest.mark.parametrize(
    ("labels", "objective", "fact", "remedy"),
    [
        ("number", BINARY, "objective=binary takes 0 and 1", "objective=regression"),
        ("one_two", BINARY, "values 1, 2", "dataset.positive"),
        ("nan", REGRESSION, "is nan", "finite"),
        ("constant", REGRESSION, "every label is 1", "more rows"),
        ("constant", BINARY, "every label is 1", "both classes"),
    ],
)
def test_labels_that_do_not_fit(labels: str, objective: Any, fact: str, remedy: str) -> None:
    error = refused(objective, dataset={**PRICES, "labels": labels})
    assert isinstance(error, MetricError)
    assert fact in error.fact and remedy in error.remedy


@pytest.mark.parametrize(
    ("metric", "target", "fact"),
    [
        ("auc", 0.5, "not a possible AUC"),
        ("auc", 79, "not a possible AUC"),
        ("log_loss", -0.1, "not a possible log loss"),
        ("log_loss", 0.9, "no better than the log loss of a constant prediction, 0.5"),
        ("normalized_entropy", 1.0, "not a possible normalized entropy"),
        ("accuracy", 1.0, "not a possible accuracy"),
        ("accuracy", 0.6, "no better than the accuracy of a constant prediction, 0."),
        ("f1", 0.5, "metric=f1 is not a metric of objective=binary"),
    ],
)
def test_targets_that_are_impossible(metric: str, target: float, fact: str) -> None:
    assert fact in refused(BINARY, metric=metric, target=target).fact


def test_a_binary_objective_without_the_auc_is_watched_by_its_loss() -> None:
    label = np.array([0.0, 1.0] * 10)
    watching = WithoutAuc().divergence(label)
    reasons = [watching.reason({"log_loss": loss}, 1.0) for loss in (0.5, *[0.9] * 6)]
    assert reasons[:5] == [None] * 5 and reasons[5] is not None


@pytest.mark.parametrize(
    ("option", "value"), [("margin", -0.1), ("margin", math.inf), ("at_chance", math.nan)]
)
def test_numbers_of_a_metric_that_are_impossible(option: str, value: float) -> None:
    metric = {"_target_": f"{PARTS}.within_one", "direction": "max", option: value}
    assert f"mine.{option}=" in refused({**BINARY, "metrics": {"mine": metric}}).fact


@pytest.mark.usefixtures("hydra")
def test_further_metrics_keep_the_shipped_rate() -> None:
    metric = {"_target_": f"{PARTS}.within_one", "direction": "max"}
    config = typed("metric=mine", "target=0.5")
    objective = {**BINARY, "metrics": {"mine": metric}}
    found = baselines.find(replace(config, objective=objective)).baseline
    assert found is not None and found.base_lr == 0.1


def test_a_metric_without_a_scale_gives_no_default_target() -> None:
    metric = {"_target_": f"{PARTS}.within_one", "direction": "max"}
    objective = build_objective({**BINARY, "metrics": {"mine": metric}})
    with pytest.raises(MetricError, match="neither a margin nor a value at chance"):
        objective.metric("mine").default_margin([0.5], np.zeros(3))
    scaled = build_objective({**BINARY, "metrics": {"mine": {**metric, "margin": 0.1}}})
    assert scaled.metric("mine").default_margin([0.5], np.zeros(3)) == 0.1
    assert pickle.loads(pickle.dumps(scaled)) == scaled


def test_an_objective_of_the_users_that_no_process_can_be_sent() -> None:
    class Local(Huber):
        pass

    config = {"name": "local", "_target_": f"{PARTS}.Local"}
    import tests.objectives_of_users as parts

    parts.Local = Local  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="cannot be sent to other processes"):
        build_objective(config)
