"""Models that cannot be stacked are trained run by run, and the reason is said."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bsscale.config import ExecutorOptions
from bsscale.engines.eager import EagerEngine
from bsscale.engines.stacked import StackedEngine
from bsscale.planning.stacks import make_stacks
from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import RunRecord
from bsscale.training.run import make_engine, run_together
from bsscale.training.spec import RunSpec
from tests.engines.modules import (
    WithACountingBuffer,
    WithAGraphBreak,
    WithANewBuffer,
    WithARandomBuffer,
    WithBatchNorm,
    WithControlFlow,
    WithDropout,
    WithFrozenParameters,
    Wrapped,
    custom,
)
from tests.engines.runs import SHORT, advance, by_torch, equal, parameters
from tests.helpers import changed, prepare, small_config


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="bsscale"):
        yield caplog


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (WithBatchNorm, "running_mean|in-place|inplace"),
        (WithDropout, "random"),
        (WithControlFlow, "control flow"),
        (WithACountingBuffer, "in-place operation"),
        (WithANewBuffer, "its buffers change while it trains"),
        (WithARandomBuffer, "its buffers depend on the seed"),
        (WithFrozenParameters, "some of its parameters are frozen"),
        (WithAGraphBreak, r"torch\.compile failed on it"),
    ],
)
def test_what_cannot_be_stacked_is_trained_run_by_run_and_the_reason_said(
    module: type[nn.Module], reason: str, tmp_path: Path, messages: pytest.LogCaptureFixture
) -> None:
    config = small_config(
        model=custom(module),
        dataset=SHORT,
        executor=ExecutorOptions("virtual", "cpu", compile=True),
        budget_samples=2048,
    )
    plan, dataset = prepare(config)
    specs = [RunSpec(changed(plan, seed=seed), tmp_path / str(seed), "arm") for seed in range(2)]
    [stack] = make_stacks([spec.plan for spec in specs])
    assert (stack.training_step, stack.width) == ("compiled", 2)
    assert isinstance(make_engine(plan, dataset, stack), EagerEngine)
    [note] = [text for text in messages.messages if "is trained run by run: " in text]
    assert note.startswith("model=custom is trained run by run: ")
    assert re.search(reason, note)

    results = run_together(specs, dataset)
    for spec, result in zip(specs, results, strict=True):
        assert isinstance(result, RunRecord)
        assert (result.status, result.seed) == ("exhausted", spec.plan.config.seed)
        assert result.environment["stack_width"] == 1
        assert read_evals(spec.directory)[-1].samples == 2048
        assert (spec.directory / "model.safetensors").exists()


def test_a_compiler_that_computes_something_else_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, messages: pytest.LogCaptureFixture
) -> None:
    def miscompile(update: Callable[..., Tensor], **_: Any) -> Callable[..., Tensor]:
        return lambda categorical, numeric, label, rates: update(
            categorical, numeric, 1 - label, rates
        )

    config = small_config(
        model=custom(Wrapped),
        dataset=SHORT,
        executor=ExecutorOptions("virtual", "cpu", compile=True),
    )
    plan, dataset = prepare(config)
    [stack] = make_stacks([plan])
    monkeypatch.setattr(torch, "compile", lambda update, **_: update)
    assert isinstance(make_engine(plan, dataset, stack), StackedEngine)
    monkeypatch.setattr(torch, "compile", miscompile)
    assert isinstance(make_engine(plan, dataset, stack), EagerEngine)
    assert "run by run: torch.compile computes other gradients" in messages.messages[-1]


def test_a_model_run_by_run_is_torchs() -> None:
    """Dropout: every run has its own random numbers, whatever ran before it."""
    config = small_config(model=custom(WithDropout), dataset=SHORT, budget_samples=2048)
    plan, dataset = prepare(config)
    engine = EagerEngine(plan, dataset)
    for one in (changed(plan, seed=seed) for seed in range(2)):
        engine.begin(0, one)
        advance(engine, 20)
        trained = parameters(engine)
        engine.end(0)
        assert equal(trained, by_torch(one, dataset, 20))
