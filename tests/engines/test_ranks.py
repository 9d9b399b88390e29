"""One training step: the same for one process and for many, whatever carries the replicas."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bsscale.config import ExecutorOptions
from bsscale.errors import RankError
from bsscale.models import build_model
from bsscale.planning.world import World
from bsscale.schedules.options import OneCycleConfig
from bsscale.training.processes import launch
from bsscale.training.run import run
from bsscale.training.spec import RunSpec
from tests.engines.modules import BrokenOnRank1, custom
from tests.engines.ranks import DDP, ddp, virtual
from tests.engines.runs import DEFAULTS, advance, by_torch, eager, relative_distance, update
from tests.helpers import MODELS, prepare, small_config


@pytest.mark.parametrize("model", MODELS)
def test_virtual_equals_ddp_in_float64_after_100_steps(model: str, tmp_path: Path) -> None:
    config = small_config(gpus=2, model=MODELS[model], precision="fp64", schedule=OneCycleConfig())
    ranks = ddp(config, 100, tmp_path)
    expected = virtual(config, 100)
    for rank in ranks:
        assert relative_distance({name: rank[name] for name in expected}, expected) < 1e-10


# Every model with every optimizer; how many ranks share a batch is nothing to the optimizer.
OVER_RANKS = [
    *((model, optimizer, 2) for model in MODELS for optimizer in DEFAULTS),
    ("dlrm", "sgd", 4),
    ("mlp", "adam", 8),
]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "optimizer", "ranks"), OVER_RANKS)
def test_every_model_and_optimizer_over_more_ranks(
    model: str, optimizer: str, ranks: int, tmp_path: Path
) -> None:
    config = small_config(
        gpus=ranks,
        micro_batch=16,
        model=MODELS[model],
        optimizer=DEFAULTS[optimizer],
        precision="fp64",
        base_lr=0.01,
    )
    trained = ddp(config, 100, tmp_path)
    expected = virtual(config, 100)
    for rank in trained:
        assert relative_distance({name: rank[name] for name in expected}, expected) < 1e-10
        assert torch.equal(rank["scores"], trained[0]["scores"])


@pytest.mark.parametrize("optimizer", DEFAULTS)
def test_one_float32_update_of_ddp_equals_virtual(optimizer: str, tmp_path: Path) -> None:
    config = small_config(gpus=2, model=MODELS["mlp"], optimizer=DEFAULTS[optimizer])
    before = by_torch(*prepare(config), 0)
    [first, second] = ddp(config, 1, tmp_path)
    one = virtual(config, 1)
    of_ddp = {name: first[name] for name in one}
    # Adam's and Adagrad's first update is lr x sign(gradient): where a gradient is zero up to
    # rounding the sign is noise, so the update is compared where SGD's is.
    if optimizer == "sgd":
        assert relative_distance(update(of_ddp, before), update(one, before)) < 1e-5
    assert relative_distance(of_ddp, one) < 1e-5
    assert all(torch.equal(first[name], second[name]) for name in one)


def test_every_way_to_a_global_batch_trains_the_same(tmp_path: Path) -> None:
    base = small_config(model=MODELS["mlp"], precision="fp64")
    one = virtual(replace(base, gpus=1, micro_batch=64), 50)
    two = virtual(replace(base, gpus=2, micro_batch=32), 50)
    accumulated = virtual(replace(base, gpus=1, micro_batch=32, grad_accum=2), 50)
    ranks = ddp(replace(base, gpus=2, micro_batch=16, grad_accum=2), 50, tmp_path)
    for other in (two, accumulated, {name: ranks[0][name] for name in one}):
        assert relative_distance(other, one) < 1e-10


def test_ranks_read_the_stream_in_order_and_nothing_twice(tmp_path: Path) -> None:
    config = small_config(gpus=2, micro_batch=16, grad_accum=2)
    ranks = ddp(config, 3, tmp_path)
    read = [tuple(pair) for rank in ranks for pair in rank["positions"].tolist()]
    assert sorted(read) == [(start, start + 16) for start in range(0, 3 * 64, 16)]
    # In the order of the stream within each rank, and rank after rank within each forward pass.
    assert [tuple(p) for p in ranks[0]["positions"].tolist()] == [
        (start, start + 16) for start in range(0, 3 * 64, 32)
    ]


def test_all_ranks_see_every_score_once_though_the_rows_do_not_divide(tmp_path: Path) -> None:
    config = small_config(gpus=2, model=MODELS["mlp"], precision="fp64")
    first, second = ddp(config, 5, tmp_path)
    plan, dataset = prepare(config)
    assert len(dataset.validation) % 2 == 1
    engine = eager(plan, dataset)
    advance(engine, 5)
    expected = engine.score(dataset.validation)[0]
    np.testing.assert_allclose(first["scores"].numpy(), expected, rtol=1e-9)
    assert torch.equal(first["scores"], second["scores"])
    assert torch.equal(first["train_loss"], second["train_loss"])
    assert float(first["train_loss"]) == pytest.approx(engine.take_train_loss(0), rel=1e-9)


def test_virtual_equals_a_hand_written_torch_loop() -> None:
    config = small_config(gpus=2, model=MODELS["mlp"], schedule=OneCycleConfig())
    plan, dataset = prepare(config)
    trained = virtual(config, 20)

    torch.manual_seed(config.seed)
    model = build_model(config.model, dataset.schema)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for step in range(20):
        batch = dataset.train.read(config.seed, step * 64, (step + 1) * 64)
        optimizer.param_groups[0]["lr"] = plan.schedule.lr(step)
        optimizer.param_groups[0]["momentum"] = plan.schedule.momentum(step)
        optimizer.zero_grad()
        logit = model(torch.from_numpy(batch.categorical), torch.from_numpy(batch.numeric))
        label = torch.from_numpy(batch.label)
        torch.nn.functional.binary_cross_entropy_with_logits(logit, label).backward()
        optimizer.step()
    assert relative_distance(dict(model.named_parameters()), trained) < 1e-6


def test_ranks_judge_a_run_as_one_process_does(tmp_path: Path) -> None:
    """Where it reaches its target, and its test value there, while training goes on."""
    records = []
    for executor in (ExecutorOptions("virtual", "cpu"), DDP):
        config = small_config(
            gpus=2, model=MODELS["mlp"], precision="fp64", target=0.6, stop_at_target=False,
            executor=executor,
        )  # fmt: skip
        plan, dataset = prepare(config)
        record = run(RunSpec(plan, tmp_path / executor.name, arm="an arm"), dataset)
        assert record is not None and record.status == "reached"
        records.append(record)
    one, ranks = records
    assert ranks.executor == "ddp" and ranks.samples_seen == one.samples_seen == 20_480
    assert ranks.samples_to_target_interval == one.samples_to_target_interval
    assert ranks.test_value == pytest.approx(one.test_value, rel=1e-9)


def fail(world: World, _: None) -> None:
    if world.rank == 1:
        raise ValueError("the disk of rank 1 is on fire")
    torch.distributed.barrier()


def die(world: World, _: None) -> None:
    if world.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    torch.distributed.barrier()


def hang(world: World, folder: str) -> None:
    Path(folder, str(os.getpid())).touch()
    if world.rank == 1:
        while len(list(Path(folder).iterdir())) < 2:
            time.sleep(0.01)
        raise ValueError("rank 1 gives up")
    time.sleep(600)


@pytest.mark.parametrize(
    ("function", "message"),
    [(fail, "rank 1 of 2 failed: ValueError: the disk of rank 1 is on fire"), (die, "signal 9")],
)
def test_the_error_of_the_rank_that_died_first_is_the_one_shown(
    function: Any, message: str
) -> None:
    plan, _ = prepare(small_config(gpus=2, executor=DDP))
    with pytest.raises(RankError, match=message):
        launch(function, None, plan)


def test_no_process_is_left_when_one_fails_and_another_hangs(tmp_path: Path) -> None:
    plan, _ = prepare(small_config(gpus=2, executor=DDP))
    with pytest.raises(RankError, match="rank 1 gives up"):
        launch(hang, str(tmp_path), plan)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.slow
def test_a_non_finite_gradient_on_one_rank_ends_all_alike(tmp_path: Path) -> None:
    plan, dataset = prepare(small_config(gpus=2, executor=DDP, model=custom(BrokenOnRank1)))
    record = run(RunSpec(plan, tmp_path, arm="an arm"), dataset)
    assert record is not None
    assert (record.status, record.reason) == ("diverged", "non-finite training loss")
    assert 100 < record.steps < plan.steps
