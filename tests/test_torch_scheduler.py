"""A schedule in anyone's loop: plain PyTorch and DistributedDataParallel, saved and resumed."""

from __future__ import annotations

import gc
import io
import multiprocessing
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from bsscale.errors import ConfigError
from bsscale.schedules import (
    Constant,
    Cosine,
    LinearWarmup,
    OneCycle,
    OneCycleTorch,
    RangeTest,
    Schedule,
)
from bsscale.schedules.torch_form import ScheduleLR, apply_rates, attach

CYCLE = OneCycle(0.01, 0.1, 6, 5, decay_step_size=4, decay_lr_rate=0.5, decay_mom_rate=0.1)
STEPS = 20


def model_of(seed: int) -> nn.Sequential:
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    torch.set_rng_state(generator_state)
    return model


def sgd(model: nn.Module) -> Optimizer:
    return SGD(model.parameters(), lr=1.0, momentum=0.9)


def adam(model: nn.Module) -> Optimizer:
    return AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.98))


def batch(step: int, rank: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng((step, rank)).normal(size=(4, 3))).float()


def train(
    model: nn.Module, optimizer: Optimizer, scheduler: ScheduleLR, first: int, last: int,
    rank: int = 0,
) -> None:  # fmt: skip
    """The loop that anyone writes."""
    for step in range(first, last):
        loss = model(batch(step, rank)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()


def held(optimizer: Optimizer) -> tuple[float, float]:
    group = optimizer.param_groups[0]
    return group["lr"], group["betas"][0] if "betas" in group else group["momentum"]


# --- What the optimizer holds ---


@pytest.mark.parametrize("make", [sgd, adam])
def test_the_optimizer_holds_the_values_of_the_next_update(
    make: Callable[[nn.Module], Optimizer],
) -> None:
    model = model_of(0)
    optimizer = make(model)
    scheduler = attach(optimizer, CYCLE)
    assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
    for step in range(STEPS):
        assert held(optimizer) == (CYCLE.lr(step), CYCLE.momentum(step))
        assert scheduler.get_last_lr() == [CYCLE.lr(step)]
        train(model, optimizer, scheduler, step, step + 1)
    if make is adam:
        assert optimizer.param_groups[0]["betas"][1] == 0.98


def test_a_schedule_without_momentum_leaves_it_alone() -> None:
    for optimizer in (sgd(model_of(0)), adam(model_of(0))):
        scheduler = attach(optimizer, Cosine(0.1, 10))
        optimizer.step()
        scheduler.step()
        assert held(optimizer) == (Cosine(0.1, 10).lr(1), 0.9)


def test_apply_rates_sets_the_same_without_a_scheduler() -> None:
    for make in (sgd, adam):
        optimizer = make(model_of(0))
        apply_rates(optimizer, 0.25, 0.5)
        assert held(optimizer) == (0.25, 0.5)
        apply_rates(optimizer, 0.125, None)
        assert held(optimizer) == (0.125, 0.5)


def test_a_rate_that_is_a_tensor_stays_that_tensor() -> None:
    optimizer = Adam(model_of(0).parameters(), lr=torch.tensor(1.0))
    own = optimizer.param_groups[0]["lr"]
    scheduler = attach(optimizer, LinearWarmup(0.5, 4))
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is own
    assert float(own) == 0.125
    apply_rates(optimizer, 0.25, None)
    assert optimizer.param_groups[0]["lr"] is own
    scheduler.load_state_dict(scheduler.state_dict() | {"last_epoch": 2, "_last_lr": [0.25]})
    assert float(own) == 0.25


def test_the_state_of_another_schedule_is_refused() -> None:
    saved = attach(one_group(), OneCycle(0.1, 0.8, 10))
    for _ in range(3):
        saved.optimizer.step()
        saved.step()
    other = attach(one_group(), OneCycle(0.1, 0.4, 10))
    with pytest.raises(ConfigError, match="the state is that of another schedule: after 3 updates"):
        other.load_state_dict(saved.state_dict())
    assert other.last_epoch == 0 and other.get_last_lr() == [0.1]


# --- Parameter groups ---


def one_group() -> Optimizer:
    return SGD(model_of(0).parameters(), lr=0.1, momentum=0.9)


def test_a_group_that_is_added_later_follows_the_schedule() -> None:
    optimizer = one_group()
    scheduler = attach(optimizer, CYCLE)
    optimizer.add_param_group({"params": model_of(1).parameters(), "lr": 0.5})
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [CYCLE.lr(1)] * 2
    assert [group["momentum"] for group in optimizer.param_groups] == [CYCLE.momentum(1)] * 2
    assert scheduler.get_last_lr() == [CYCLE.lr(1)] * 2


def test_a_group_that_is_added_where_groups_are_scaled_has_a_remedy_that_works() -> None:
    optimizer = one_group()
    scheduler = attach(optimizer, CYCLE, ratios=[4.0])
    optimizer.step()
    scheduler.step()
    optimizer.add_param_group({"params": model_of(1).parameters(), "lr": 0.5})
    with pytest.raises(ConfigError, match="1 parameter groups more") as caught:
        scheduler.step()
    assert "attach the schedule again" in caught.value.remedy
    again = attach(optimizer, CYCLE, ratios=[4.0, 1.0])
    again.load_state_dict(scheduler.state_dict() | {"last_epoch": 1})
    assert again.get_last_lr() == [4 * CYCLE.lr(1), CYCLE.lr(1)]


def two_groups() -> Optimizer:
    embedding, dense = model_of(0)[0], model_of(0)[2]
    return SGD([{"params": embedding.parameters()}, {"params": dense.parameters()}], momentum=0.9)


@pytest.mark.parametrize("scaled", [{"ratios": [4.0, 1.0]}, {"peaks": [0.4, 0.1]}])
def test_groups_with_their_own_peak(scaled: dict[str, Any]) -> None:
    optimizer = two_groups()
    scheduler = attach(optimizer, CYCLE, **scaled)
    for step in range(STEPS):
        lr = CYCLE.lr(step)
        assert scheduler.get_last_lr() == pytest.approx([4 * lr, lr], rel=1e-15)
        assert [group["momentum"] for group in optimizer.param_groups] == [CYCLE.momentum(step)] * 2
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    ("schedule", "scaled", "message"),
    [
        (CYCLE, {"ratios": [1.0]}, "1 groups are scaled, but the optimizer has 2 parameter groups"),
        (CYCLE, {"peaks": [0.1, 0.2, 0.3]}, "3 groups are scaled"),
        (CYCLE, {"peaks": [0.1, 0.2], "ratios": [1.0, 1.0]}, "peaks and ratios both scale"),
        (CYCLE, {"ratios": [1.0, -1.0]}, r"a group is scaled by -1\.0"),
        (CYCLE, {"peaks": [1.0, float("nan")]}, "a group is scaled by nan"),
        (RangeTest(0.1, 5), {"peaks": [0.1, 0.2]}, "RangeTest has no peak"),
    ],
)
def test_rejected_groups(schedule: Schedule, scaled: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        attach(two_groups(), schedule, **scaled)
    assert error.value.remedy


# --- Optimizers without momentum ---


@pytest.mark.parametrize("make", [Adagrad, SGD, RMSprop])
def test_an_optimizer_without_momentum(make: Any) -> None:
    for schedule in (CYCLE, OneCycleTorch(0.1, 10)):
        with pytest.raises(ConfigError, match=f"{make.__name__} has (no momentum|momentum 0)"):
            attach(make(model_of(0).parameters(), lr=0.1), schedule)
    optimizer = make(model_of(0).parameters(), lr=0.1)
    attach(optimizer, Constant(0.5))
    assert optimizer.param_groups[0]["lr"] == 0.5


# --- Saved and resumed ---


def saved(*parts: Any) -> bytes:
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts], file)
    return file.getvalue()


@pytest.mark.parametrize("order", ["optimizer first", "scheduler first", "attached last"])
@pytest.mark.parametrize("make", [sgd, adam])
@pytest.mark.parametrize("seed", range(3))
def test_a_plain_loop_resumed_at_a_random_step_continues_exactly(
    make: Callable[[nn.Module], Optimizer], order: str, seed: int
) -> None:
    pause = random.Random(seed).randint(0, STEPS - 1)
    model = model_of(0)
    optimizer = make(model)
    scheduler = attach(optimizer, CYCLE)
    train(model, optimizer, scheduler, 0, pause)
    # weights_only: the state is plain data, no pickled schedule.
    states = torch.load(io.BytesIO(saved(model, optimizer, scheduler)), weights_only=True)
    train(model, optimizer, scheduler, pause, STEPS)

    again = model_of(1)
    again.load_state_dict(states[0])
    resumed = make(again)
    if order == "attached last":
        resumed.load_state_dict(states[1])
        follower = attach(resumed, CYCLE)
        follower.load_state_dict(states[2])
    else:
        follower = attach(resumed, CYCLE)
        for part, state in ((resumed, states[1]), (follower, states[2]))[
            :: 1 if order == "optimizer first" else -1
        ]:
            part.load_state_dict(state)
    assert held(resumed) == (CYCLE.lr(pause), CYCLE.momentum(pause))
    train(again, resumed, follower, pause, STEPS)

    assert all(map(torch.equal, model.parameters(), again.parameters()))
    assert held(resumed) == held(optimizer)
    assert follower.state_dict() == scheduler.state_dict()


def test_the_state_is_plain_data() -> None:
    scheduler = attach(sgd(model_of(0)), CYCLE)
    assert scheduler.state_dict() == {"last_epoch": 0, "_step_count": 1, "_last_lr": [0.01]}


def test_a_cycle_resumed_where_its_momentum_is_0() -> None:
    cycle = OneCycle(0.1, 1.0, 2, cycle_min_mom=0.0)
    optimizer = sgd(model_of(0))
    scheduler = attach(optimizer, cycle)
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    assert held(optimizer) == (1.0, 0.0)
    resumed = sgd(model_of(0))
    resumed.load_state_dict(optimizer.state_dict())
    attach(resumed, cycle)


# --- DistributedDataParallel ---


def ddp_rank(rank: int, world: int, folder: str, results: Any) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world
    )
    draw = random.Random(0)  # the same step on every rank
    equal = []
    for make in (sgd, adam):
        pause = draw.randint(1, STEPS - 1)
        model = DistributedDataParallel(model_of(0))
        optimizer = make(model)
        scheduler = attach(optimizer, CYCLE)
        train(model, optimizer, scheduler, 0, pause, rank)
        states = torch.load(io.BytesIO(saved(model, optimizer, scheduler)), weights_only=True)
        train(model, optimizer, scheduler, pause, STEPS, rank)

        again = DistributedDataParallel(model_of(1))
        resumed = make(again)
        follower = attach(resumed, CYCLE)
        again.load_state_dict(states[0])
        resumed.load_state_dict(states[1])
        follower.load_state_dict(states[2])
        train(again, resumed, follower, pause, STEPS, rank)
        equal.append(all(map(torch.equal, model.parameters(), again.parameters())))
        equal.append(held(resumed) == held(optimizer) == (CYCLE.lr(STEPS), CYCLE.momentum(STEPS)))
        # Gloo can hang if the process group goes while a DDP object lives.
        del model, optimizer, scheduler, again, resumed, follower
    gc.collect()
    dist.destroy_process_group()
    results.put((rank, equal))


def test_a_ddp_loop_resumed_at_a_random_step_continues_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    ranks = [
        context.Process(target=ddp_rank, args=(rank, 2, str(tmp_path), results))
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    try:
        found = dict(results.get(timeout=120) for _ in ranks)
    finally:
        for process in ranks:
            process.join(timeout=20)
            process.kill()
    assert found == {0: [True] * 4, 1: [True] * 4}
