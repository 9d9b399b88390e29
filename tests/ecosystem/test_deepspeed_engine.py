"""DeepSpeed's engine on a CPU, configured by the ds_config that bsscale writes.

The extra ``bench`` installs it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bsscale.bridge import Run
from bsscale.report.read import find
from bsscale.report.summarize import summarize
from bsscale.report.use import use_of
from tests.ecosystem.rates import BATCH, PEAK, STEPS, a_model, a_run, rows

os.environ.setdefault("DS_ACCELERATOR", "cpu")
deepspeed = pytest.importorskip("deepspeed")
pytestmark = [pytest.mark.ecosystem, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {
        "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29567",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def written_config(directory: Path) -> tuple[Run, dict[str, Any]]:
    """A run of a script, and the ds_config that its report offers to copy."""
    run = a_run(directory)
    # (the momentum of an update tells a reader of the records that the cycle moves it)
    last = {"lr": run.schedule.lr(STEPS - 1), "momentum": run.schedule.momentum(STEPS - 1)}
    run.report(run.global_batch * STEPS, mse=1.0, **last)
    [arm] = summarize(find([directory])).arms
    use = use_of(arm)
    assert use is not None and use.deepspeed is not None
    return run, json.loads(use.deepspeed)


def an_engine(config: dict[str, Any]) -> Any:
    model = a_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=9.0, betas=(0.5, 0.999))
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=dict(config))
    return engine


def train(engine: Any, first: int, last: int) -> list[tuple[float, float]]:
    """The rate and beta1 of each update."""
    seen = []
    inputs, labels = rows()
    for step in range(first, last):
        batch = slice(step * BATCH, (step + 1) * BATCH)
        loss = torch.nn.functional.mse_loss(engine(inputs[batch]), labels[batch])
        engine.backward(loss)
        group = engine.optimizer.param_groups[0]
        seen.append((float(group["lr"]), float(group["betas"][0])))
        engine.step()
    return seen


def assert_follows(run: Run, seen: list[tuple[float, float]], first: int = 0) -> None:
    cycle = 17 + 13
    for step, (lr, momentum) in enumerate(seen, start=first):
        assert abs(lr - run.schedule.lr(step)) <= 1e-12 * PEAK, step
        # Known: DeepSpeed leaves the momentum of the first update to the optimizer, and decays it
        # after the cycle by a rule of its own.
        if 0 < step <= cycle:
            assert abs(momentum - run.schedule.momentum(step)) <= 1e-12, step


def test_every_update_has_the_rate_of_the_schedule_and_resumes_with_it(tmp_path: Path) -> None:
    run, config = written_config(tmp_path / "run")
    assert config["train_micro_batch_size_per_gpu"] == BATCH
    engine = an_engine(config)
    seen = train(engine, 0, 25)
    engine.save_checkpoint(str(tmp_path / "checkpoint"))
    seen += train(engine, 25, STEPS)
    assert len(seen) == STEPS
    assert_follows(run, seen)
    resumed = an_engine(config)
    resumed.load_checkpoint(str(tmp_path / "checkpoint"))
    again = train(resumed, 25, STEPS)
    assert_follows(run, again, first=25)
    assert again == seen[25:]
