"""Mixed precision: float32 weights under torch.autocast to bfloat16."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from bsscale.models import build_model
from bsscale.optimizers import AdamConfig
from bsscale.planning.stacks import make_stacks
from bsscale.training.loop import train
from bsscale.training.run import make_engine
from tests.engines.ranks import ddp
from tests.engines.runs import by_torch, eager, relative_distance
from tests.helpers import MODELS, Watched, prepare, small_config

BF16 = small_config(model=MODELS["mlp"], precision="bf16")


def test_it_reaches_nearly_what_float32_reaches() -> None:
    aucs = {}
    for precision in ("fp32", "bf16"):
        plan, dataset = prepare(replace(BF16, precision=precision))
        [stack] = make_stacks([plan])
        job = Watched(plan)
        engine = make_engine(plan, dataset, stack)
        train([[job]], engine, dataset.validation, dataset.test)
        assert job.outcome is not None and job.outcome.status == "exhausted"
        aucs[precision] = job.outcome.test_value
    assert aucs["bf16"] != aucs["fp32"]
    assert aucs["bf16"] == pytest.approx(aucs["fp32"], abs=0.01)
    assert aucs["fp32"] is not None and aucs["fp32"] > 0.6


def test_it_is_a_hand_written_autocast_loop() -> None:
    config = replace(BF16, optimizer=AdamConfig(), base_lr=0.01, clip_grad_norm=0.3)
    plan, dataset = prepare(config)
    engine = eager(plan, dataset)
    engine.advance(20)

    torch.manual_seed(config.seed)
    model = build_model(config.model, dataset.schema)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(20):
        batch = dataset.train.read(config.seed, step * 32, (step + 1) * 32)
        with torch.autocast("cpu", torch.bfloat16):
            logit = model(torch.from_numpy(batch.categorical), torch.from_numpy(batch.numeric))
        assert logit.dtype == torch.bfloat16
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(logit.float(), torch.from_numpy(batch.label)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        optimizer.step()
    for ours, theirs in zip(engine.model(0).parameters(), model.parameters(), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    states = engine.optimizer.state.values()
    assert {state["exp_avg"].dtype for state in states} == {torch.float32}


def test_scores_are_bfloat16s_as_float64() -> None:
    plan, dataset = prepare(BF16)
    engine = eager(plan, dataset)
    engine.advance(5)
    scores = engine.score(dataset.validation)
    assert scores.shape == (1, len(dataset.validation)) and scores.dtype == np.float64
    rounded = torch.from_numpy(scores).bfloat16().double().numpy()
    np.testing.assert_array_equal(scores, rounded)


def test_ranks_train_it_together(tmp_path: Path) -> None:
    config = replace(BF16, gpus=2, clip_grad_norm=1.0)
    first, second = ddp(config, 40, tmp_path)
    one = by_torch(*prepare(config), 40)
    for rank in (first, second):
        assert all(rank[name].dtype == torch.float32 for name in one)
        # Each rank rounds the gradient of its own half of the batch.
        assert 0 < relative_distance({name: rank[name] for name in one}, one) < 0.01
    assert all(torch.equal(first[name], second[name]) for name in one)
    assert torch.equal(first["scores"], second["scores"])
