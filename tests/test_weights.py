"""Weights of samples: in the loss, in log loss and normalized entropy, and nowhere else."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits

from bsscale.config import Config
from bsscale.data import ArrayStream, Dataset, Samples, Schema, load_dataset, table
from bsscale.engines.eager import EagerEngine
from bsscale.errors import BsscaleError, DataError
from bsscale.models import build_model
from bsscale.objectives import Binary
from bsscale.objectives.torch_form import MetricsOfRuns
from bsscale.optimizers import AdagradConfig, SGDConfig
from bsscale.planning.checks import check_labels
from bsscale.planning.description import describe_plan
from bsscale.records.run_record import read_run
from tests.conftest import Finished
from tests.engines.ranks import ddp
from tests.engines.runs import (
    Parameters,
    advance,
    all_at_once,
    by_torch,
    compiles,
    relative_distance,
    stacked,
)  # fmt: skip
from tests.helpers import MODELS, changed, prepare, small_config

ROWS = 2000


def clicks(rows: int = ROWS, ids: int = 40) -> Dataset:
    """Clicks whose negatives were sampled at different rates."""
    rng = np.random.default_rng(3)
    label = (rng.random(rows) < 0.4).astype(np.float32)
    weight = np.where(label == 1, 1.0, rng.choice([2.0, 5.0, 0.0], rows)).astype(np.float32)
    categorical = rng.integers(0, ids, (rows, 3), dtype=np.int32)
    numeric = rng.standard_normal((rows, 2)).astype(np.float32) + label[:, None]
    every = Samples(categorical, numeric, label, weight / weight.mean())
    cuts = int(0.7 * rows), int(0.85 * rows)
    schema = Schema(("a", "b", "c"), (ids,) * 3, ("x", "y"))
    parts = (every[: cuts[0]], every[cuts[0] : cuts[1]], every[cuts[1] :])
    return Dataset.from_arrays(schema, *parts)


CLICKS: dict[str, Any] = {"_target_": "tests.test_weights.clicks", "name": "clicks"}


def config(**changes: Any) -> Config:
    base: dict[str, Any] = {"dataset": CLICKS, "precision": "fp64", "budget_samples": 3200}
    return small_config(**{**base, **changes})


def by_hand(config: Config, dataset: Dataset, updates: int, rate: float = 0.1) -> Parameters:
    """Plain SGD on the mean of weight times loss."""
    torch.manual_seed(config.seed)
    model = build_model(config.model, dataset.schema).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    batch = config.micro_batch * (config.gpus or 1) * config.grad_accum
    for step in range(updates):
        some = dataset.train.read(config.seed, step * batch, (step + 1) * batch)
        assert some.weight is not None
        logit = model(torch.from_numpy(some.categorical), torch.from_numpy(some.numeric).double())
        loss = binary_cross_entropy_with_logits(
            logit.reshape(-1), torch.from_numpy(some.label).double(), reduction="none"
        )
        optimizer.zero_grad()
        ((loss * torch.from_numpy(some.weight).double()).sum() / batch).backward()
        optimizer.step()
    return {name: value.detach() for name, value in model.named_parameters()}


@pytest.mark.parametrize("model", ["dlrm", "logistic"])
@pytest.mark.parametrize("engine", ["layers", "eager"])
def test_each_engine_trains_on_the_weighted_loss(model: str, engine: str) -> None:
    wanted = config(model=MODELS[model], optimizer=SGDConfig(momentum=0.0), base_lr=0.1, gpus=2)
    plan, dataset = prepare(wanted)
    plans = [changed(plan, seed=seed) for seed in (0, 1)]
    trained = (
        all_at_once(plans, dataset, updates=20)
        if engine == "layers"
        else [by_torch(each, dataset, 20) for each in plans]
    )
    unweighted = replace(dataset, train=ArrayStream(without_weights(dataset)))
    for seed, ours in enumerate(trained):
        assert relative_distance(ours, by_hand(replace(wanted, seed=seed), dataset, 20)) < 1e-10
    other = all_at_once(plans[:1], unweighted, updates=20)[0]
    assert relative_distance(trained[0], other) > 1e-3


def without_weights(dataset: Dataset) -> Samples:
    assert isinstance(dataset.train, ArrayStream)
    return replace(dataset.train.samples, weight=None)


@compiles
@pytest.mark.slow
def test_a_compiled_step_trains_on_the_weighted_loss() -> None:
    wanted = config(model=MODELS["mlp"], optimizer=SGDConfig(momentum=0.0), base_lr=0.1)
    plan, dataset = prepare(wanted)
    [ours] = all_at_once([plan], dataset, "compiled", updates=20)
    assert relative_distance(ours, by_hand(wanted, dataset, 20)) < 1e-10


def test_ranks_and_accumulation_train_on_the_weighted_loss(tmp_path: Path) -> None:
    wanted = config(
        model=MODELS["mlp"], optimizer=SGDConfig(momentum=0.0), base_lr=0.1,
        gpus=2, micro_batch=8, grad_accum=2,
    )  # fmt: skip
    expected = by_hand(wanted, clicks(), 20)
    for rank in ddp(wanted, 20, tmp_path):
        assert relative_distance({name: rank[name] for name in expected}, expected) < 1e-10


@pytest.mark.parametrize("optimizer", [AdagradConfig(), AdagradConfig(sparse=True)])
def test_the_training_loss_and_the_noise_scale_are_of_the_weighted_loss(
    optimizer: AdagradConfig,
) -> None:
    plan, dataset = prepare(config(model=MODELS["dlrm"], optimizer=optimizer))
    engine = stacked([plan], dataset, width=2)
    alone = EagerEngine(plan, dataset)
    alone.begin(0, plan)
    for group, norms in alone.squared_norms(0).items():
        assert engine.squared_norms(0)[group] == pytest.approx(norms, rel=1e-9)
    advance(engine, 1)
    some = dataset.train.read(plan.config.seed, 0, plan.global_batch)
    torch.manual_seed(plan.config.seed)
    model = build_model(plan.config.model, dataset.schema).double()
    logit = model(torch.from_numpy(some.categorical), torch.from_numpy(some.numeric).double())
    z, w = logit.detach().numpy().reshape(-1), some.weight
    assert w is not None
    expected = np.mean(w * (np.logaddexp(0, z) - some.label * z))
    assert engine.take_train_loss(0) == pytest.approx(expected, rel=1e-12)


def test_the_metrics_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    label = (rng.random(500) < 0.3).astype(np.float32)
    output, weight = rng.standard_normal(500), rng.random(500).astype(np.float32) * 4
    probability = 1 / (1 + np.exp(-output))
    share = np.average(label, weights=weight)
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    expected = log_loss(label, probability, sample_weight=weight)

    found = Binary().evaluate(label, output, weight)
    assert found["log_loss"] == pytest.approx(expected, rel=1e-6)
    assert found["normalized_entropy"] == pytest.approx(expected / entropy, rel=1e-6)
    assert found["auc"] == pytest.approx(roc_auc_score(label, output), rel=1e-12)
    assert found["accuracy"] == np.mean((output > 0) == label)
    assert Binary().loss_at_chance(label, weight) == pytest.approx(entropy)
    on_device = MetricsOfRuns(Binary(), torch.from_numpy(label), torch.from_numpy(weight))
    for name, values in on_device(torch.from_numpy(output)[None]).items():
        assert values == [pytest.approx(found[name], rel=1e-12)]
    assert Binary().evaluate(label, output, 3 * np.ones(500)) == pytest.approx(
        Binary().evaluate(label, output)
    )


def write(folder: Path, weights: list[str], label: list[int] | None = None) -> Path:
    rng = np.random.default_rng(1)
    rows = len(weights)
    labels = label or rng.integers(0, 2, rows).tolist()
    lines = [
        f"{y},{price:.3f},c{city},{w}\n"
        for y, price, city, w in zip(
            labels, rng.random(rows), rng.integers(0, 5, rows), weights, strict=True
        )
    ]
    path = folder / "clicks.csv"
    path.write_text("click,price,city,w\n" + "".join(lines))
    return path


def test_a_column_of_a_table_is_the_weight(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path, [str(1 + row % 4) for row in range(200)])
    for _ in ("prepared", "from the cache"):
        weighted = table.load(str(path), "click", weight="w")
        assert isinstance(weighted.train, ArrayStream)
        train = weighted.train.samples
        assert train.weight is not None and weighted.test.weight is not None
        assert train.weight.mean() == pytest.approx(1, rel=1e-6)
        assert weighted.schema.numeric == ("price",)
        assert {c.name: c.role for c in weighted.columns}["w"] == "weight"
        assert any("AUC and accuracy count all rows alike" in note for note in weighted.notes)
    plain = table.load(str(path), "click", drop=["w"])
    assert isinstance(plain.train, ArrayStream)
    np.testing.assert_array_equal(plain.train.samples.label, train.label)
    assert weighted.key != plain.key
    ratio = train.weight * (sum(range(1, 5)) / 4)
    assert set(np.unique(np.round(ratio / ratio.min(), 3))) == {1, 2, 3, 4}
    assert pickle.loads(pickle.dumps(weighted)).is_weighted


@pytest.mark.parametrize(
    ("weights", "fact"),
    [
        (["1"] * 199 + [""], "1 of 200 rows have no weight 'w'"),
        (["1"] * 199 + ["-2"], "the weight 'w' has the value -2"),
        (["0"] * 200, "all training rows have the weight 0"),
        (["1"] * 199 + ["much"], "'much'.*; it has the weights"),
        (["1"] * 199 + ["inf"], "inf.*; it has the weights"),
    ],
)
def test_impossible_weights_are_refused(
    weights: list[str], fact: str, tmp_path: Path, cache: Path
) -> None:
    with pytest.raises(DataError, match=fact) as caught:
        table.load(str(write(tmp_path, weights)), "click", weight="w")
    assert caught.value.remedy.startswith("give") and "categorical" not in caught.value.remedy


def test_a_weight_has_one_role(tmp_path: Path, cache: Path) -> None:
    path = str(write(tmp_path, ["1"] * 200))
    for options in ({"weight": "click"}, {"weight": "w", "numeric": ["w"]}, {"weight": "wt"}):
        with pytest.raises(DataError):
            table.load(path, "click", **options)  # type: ignore[arg-type]


def test_weights_are_refused_where_they_do_not_apply() -> None:
    regression = {"_target_": "bsscale.objectives.Regression", "name": "regression"}
    with pytest.raises(BsscaleError, match="objective=regression takes none"):
        check_labels(config(objective=regression), clicks())


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_of_a_table_without_any_weight_is_refused(
    split: str, tmp_path: Path, cache: Path
) -> None:
    paths = [tmp_path / name for name in ("train", "validation", "test")]
    for each in paths:
        each.mkdir()
    files = [write(each, ["0" if each.name == split else "2"] * 200) for each in paths]
    dataset = table.load(
        str(files[0]), "click", weight="w",
        validation_path=str(files[1]), test_path=str(files[2]),
    )  # fmt: skip
    with pytest.raises(DataError, match=f"all 200 rows of the {split} split have the weight 0"):
        check_labels(config(), dataset)


def bad(weight: str) -> Dataset:
    dataset = clicks()
    assert isinstance(dataset.train, ArrayStream) and dataset.test.weight is not None
    if weight == "missing":
        return replace(dataset, test=replace(dataset.test, weight=None))
    return replace(dataset, test=replace(dataset.test, weight=-dataset.test.weight))


@pytest.mark.parametrize(("weight", "fact"), [("missing", "weights"), ("negative", "are from")])
def test_weights_of_a_loader_are_checked(weight: str, fact: str) -> None:
    with pytest.raises(DataError, match=fact):
        load_dataset({"_target_": "tests.test_weights.bad", "weight": weight})


def test_the_plan_says_which_metrics_are_weighted() -> None:
    plan, dataset = prepare(config())
    shown = " ".join(describe_plan(plan, dataset, "arm").split())
    assert "weights in the loss, log loss and normalized entropy, not in AUC or accuracy" in shown


def test_a_run_from_the_command_line(bsscale: Callable[..., Finished], tmp_path: Path) -> None:
    path = write(tmp_path, [str(1 + row % 4) for row in range(600)])
    options = [
        "dataset=table", f"dataset.path={path}", "dataset.label=click", "dataset.weight=w",
        "model=logistic", "base_lr=0.1", "budget_samples=960", "micro_batch=32", "tracker=none",
        f"hydra.run.dir={tmp_path / 'run'}", "metric=log_loss",
    ]  # fmt: skip
    done = bsscale(*options)
    assert done.code == 0, done.text
    roles = [column.role for column in read_run(tmp_path / "run").columns or ()]
    assert roles == ["label", "numeric", "categorical", "weight"]
