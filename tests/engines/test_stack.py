"""A stack equals its runs, one at a time."""

from __future__ import annotations

import pytest

from bsscale.data import Dataset
from bsscale.optimizers import SGDConfig
from tests.engines.runs import (
    OPTIMIZERS,
    SHORT,
    UPDATES,
    advance,
    all_at_once,
    by_torch,
    parameters,
    relative_distance,
    six_runs,
    stacked,
    update,
    with_refills,
)
from tests.helpers import MODELS

# Every update rule and every model once; slow: each with each.
QUICK = [
    *(("mlp", name) for name in ("sgd", "momentum", "adam decayed", "adagrad decayed", "lamb")),
    ("mlp", "lars nesterov"),
    ("dlrm", "adamw"),
    ("deepfm", "nesterov decayed"),
    ("dcnv2", "momentum"),
    ("logistic", "sgd decayed"),
    ("logistic", "adam"),
]
ALL = [(model, optimizer) for model in MODELS for optimizer in OPTIMIZERS]
EACH_WITH_EACH = [
    pytest.param(*pair, marks=[] if pair in QUICK else pytest.mark.slow) for pair in ALL
]


@pytest.mark.parametrize(("model", "optimizer"), EACH_WITH_EACH)
def test_six_runs_at_once_are_what_each_is_by_torch_and_alone(model: str, optimizer: str) -> None:
    plans, dataset = six_runs(OPTIMIZERS[optimizer], model=MODELS[model])
    together = all_at_once(plans, dataset)
    refilled = with_refills(plans, dataset)
    for number, plan in enumerate(plans):
        of_torch = by_torch(plan, dataset)
        [alone] = all_at_once([plan], dataset)
        for others in (together[number], refilled[number], alone):
            assert relative_distance(others, of_torch) < 1e-10
        # (the runs do differ: else the wrong slot would do as well)
        assert relative_distance(together[number], together[number - 1]) > 1e-4


@pytest.mark.parametrize(("model", "optimizer"), EACH_WITH_EACH)
def test_one_float32_update_is_torchs(model: str, optimizer: str) -> None:
    plans, dataset = six_runs(OPTIMIZERS[optimizer], model=MODELS[model], precision="fp32")
    together = all_at_once(plans, dataset, updates=1)
    for plan, trained in zip(plans, together, strict=True):
        before, after = (by_torch(plan, dataset, updates) for updates in (0, 1))
        # Adam's and Adagrad's first update is lr x sign(gradient): where a gradient is zero up to
        # rounding the sign is noise, so the update is compared where SGD's is. LARS moves a tensor
        # by about a thousandth of its norm, of which the difference in float32 has few digits.
        if type(plan.config.optimizer) is SGDConfig:
            assert relative_distance(update(trained, before), update(after, before)) < 1e-5
        assert relative_distance(trained, after) < 1e-5


def test_cross_layers_of_low_rank_are_stacked_too() -> None:
    model = {**MODELS["dcnv2"], "cross_rank": 3, "cross_layers": 2}
    plans, dataset = six_runs(OPTIMIZERS["adam"], model=model)
    together = all_at_once(plans, dataset)
    for number in (0, 5):
        assert relative_distance(together[number], by_torch(plans[number], dataset)) < 1e-10


def finite(dataset: Dataset) -> Dataset:
    """2,000 samples of a stream as a data set of arrays."""
    samples = dataset.train.read(0, 0, 2000)
    return Dataset.from_arrays(dataset.schema, samples, dataset.validation, dataset.test)


@pytest.mark.parametrize("optimizer", ["adam", "lamb"])
@pytest.mark.parametrize("arrays", [False, True], ids=["stream", "arrays"])
@pytest.mark.parametrize(
    ("model", "fields"),
    [
        *((model, "numeric_fields") for model in MODELS),
        *((model, "categorical_fields") for model in ("mlp", "logistic")),
        ("mlp", ""),
    ],
)
def test_data_without_one_kind_of_field(
    model: str, fields: str, arrays: bool, optimizer: str
) -> None:
    """No numbers, or no categories, or both there; from a stream, and from arrays."""
    without = {fields: 0} if fields else {}
    plans, dataset = six_runs(
        OPTIMIZERS[optimizer], model=MODELS[model], dataset={**SHORT, **without}
    )
    if arrays:
        dataset = finite(dataset)
    refilled = with_refills(plans, dataset)
    for number in (0, 5):
        assert relative_distance(refilled[number], by_torch(plans[number], dataset)) < 1e-10


def test_more_updates_than_are_gathered_at_once_cross_passes_over_the_arrays() -> None:
    """Chunks of updates end within a pass, and passes within chunks."""
    plans, dataset = six_runs(SGDConfig(), model=MODELS["mlp"])
    dataset = finite(dataset)
    engine = stacked(plans, dataset)
    engine.updates_at_once = 7
    advance(engine, UPDATES)
    for slot, plan in enumerate(plans):
        assert relative_distance(parameters(engine, slot), by_torch(plan, dataset)) < 1e-10
