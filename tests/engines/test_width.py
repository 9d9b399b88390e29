"""On a CPU the bits of a run do not depend on how many runs its stack has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bsscale.data import load_dataset
from bsscale.engines import mkl_mode
from bsscale.engines.stacked import StackedEngine
from bsscale.engines.stacked.products import add_product, baddbmm, bmm
from bsscale.optimizers import AdamConfig
from tests.conftest import python_path
from tests.engines.runs import DEFAULTS, LARGE, OPTIMIZERS, SHORT, equal, parameters, six_runs
from tests.helpers import MODELS

RUNS, UPDATES = 4, 20
USUAL: dict[str, Any] = {"micro_batch": 32}
# Batches that no vector divides, clipped; large tables, of which touched rows are updated; and
# matrices with a side of 1 in more places.
ODD: dict[str, dict[str, Any]] = {
    "odd batch, clipped": {"micro_batch": 37, "clip_grad_norm": 0.5},
    "one sample": {"micro_batch": 1},
    "large batch": {"micro_batch": 200},
    "large tables": {"micro_batch": 32, "dataset": LARGE},
    "one number": {"micro_batch": 100, "dataset": {**SHORT, "numeric_fields": 1}},
    "no numbers": {"micro_batch": 64, "dataset": {**SHORT, "numeric_fields": 0}},
    "float64": {"micro_batch": 33, "precision": "fp64"},
    "rows left over": {"micro_batch": 32, "dataset": {**SHORT, "validation_samples": 2049}},
    "a loss of the user": {
        "micro_batch": 37,
        "objective": {"_target_": "tests.objectives_of_users.Softplus", "name": "softplus"},
    },
}


def assert_equal_bits(optimizer: str, model: dict[str, Any], changes: dict[str, Any]) -> None:
    batch = changes["micro_batch"]
    plans, dataset = six_runs(
        OPTIMIZERS.get(optimizer) or DEFAULTS[optimizer],
        **{"model": model, "precision": "fp32", "budget_samples": max(4000, 100 * batch)} | changes,
    )
    # Cut at other places as well: that is decided by the evaluations of all runs.
    cuts = {1: [1, 1, 1, 17], 2: [20], 3: [7, 13], 4: [10, 10]}

    def train(first: int, width: int) -> list[tuple[Any, float | None, Any]]:
        engine = StackedEngine(plans[first], dataset, width)
        for slot in range(width):
            engine.begin(slot, plans[first + slot])
        for updates in cuts[width]:
            engine.advance(updates)
        scores = engine.score(dataset.validation)
        return [
            (parameters(engine, slot), engine.take_train_loss(slot), scores[slot])
            for slot in range(width)
        ]

    expected = train(0, RUNS)
    for width in (1, 2, 3):
        for first in range(0, RUNS - width + 1):
            for number, (trained, loss, scores) in enumerate(train(first, width), start=first):
                assert equal(trained, expected[number][0]), (width, number)
                assert loss == expected[number][1], (width, number)
                assert np.array_equal(scores, expected[number][2]), (width, number)


@pytest.mark.parametrize("optimizer", DEFAULTS)
@pytest.mark.parametrize("model", MODELS)
def test_widths_1_to_4_give_equal_bits(model: str, optimizer: str) -> None:
    assert_equal_bits(optimizer, MODELS[model], USUAL)


@pytest.mark.parametrize(
    ("model", "optimizer", "case"),
    [
        pytest.param(model, optimizer, case, marks=[] if quick else pytest.mark.slow)
        for first, model in enumerate(MODELS)
        for second, optimizer in enumerate(OPTIMIZERS)
        for third, case in enumerate(ODD)
        for quick in [optimizer in ("momentum", "lamb") and model in ("deepfm", "logistic")]
        # Every model, optimizer and case, and a third of what they combine to.
        if quick or (first + second + third) % 3 == 0
        if not (model == "dlrm" and case == "no numbers")
    ],
)
def test_so_do_unusual_shapes(model: str, optimizer: str, case: str) -> None:
    assert_equal_bits(optimizer, MODELS[model], ODD[case])


@pytest.mark.parametrize(
    "model",
    [
        {**MODELS["mlp"], "hidden": [1, 64]},
        {**MODELS["mlp"], "hidden": [33, 1]},
        {**MODELS["dlrm"], "embedding_dim": 1, "bottom_hidden": [16], "top_hidden": [1]},
    ],
)
def test_so_do_narrow_layers(model: dict[str, Any]) -> None:
    assert_equal_bits("momentum", model, {"micro_batch": 200})


@pytest.mark.parametrize("rows", [1, 2, 100, 256])
@pytest.mark.parametrize("inner", [1, 3, 64])
@pytest.mark.parametrize("columns", [1, 2, 64])
def test_products_of_one_run_are_those_of_several(rows: int, inner: int, columns: int) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(3, rows, inner), torch.randn(3, inner, columns)
    bias, total = torch.randn(3, 1, columns), torch.randn(3, 2 * rows * columns)
    shared = total[:, : rows * columns].view(3, rows, columns)
    for k in range(3):
        one = slice(k, k + 1)
        assert torch.equal(baddbmm(bias[one], a[one], b[one])[0], baddbmm(bias, a, b)[k])
        assert torch.equal(bmm(a[one], b[one])[0], bmm(a, b)[k])
        of_all, alone = shared.contiguous(), shared[one].clone()
        add_product(of_all, a, b)
        add_product(alone, a[one], b[one])
        assert torch.equal(alone[0], of_all[k])


@pytest.mark.parametrize("given", [None, "AVX2"])
def test_mkl_adds_alike_at_every_address_unless_the_user_says_otherwise(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(on processors whose products do not depend on the address, no other test would notice)"""
    assert mkl_mode("vendor_id\t: AuthenticAMD\n") == "AUTO,STRICT"
    assert mkl_mode("Intel64 Family 6 Model 85 Stepping 7, GenuineIntel") is None
    monkeypatch.delenv("MKL_CBWR", raising=False)
    if given is not None:
        monkeypatch.setenv("MKL_CBWR", given)
    code = "import bsscale.engines.stacked.engine, os; print(os.environ.get('MKL_CBWR'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": python_path()},
    )  # fmt: skip
    here = mkl_mode(Path("/proc/cpuinfo").read_text())
    assert done.stdout.strip() == str(given or here)


def test_a_stack_still_learns() -> None:
    """(the same bits everywhere could be those of runs that stand still)"""
    plans, _ = six_runs(AdamConfig(), model=MODELS["mlp"], precision="fp32")
    engine = StackedEngine(plans[0], load_dataset(plans[0].config.dataset), 1)
    engine.begin(0, plans[0])
    before = parameters(engine)
    engine.advance(5)
    assert not any(torch.equal(before[name], value) for name, value in parameters(engine).items())
