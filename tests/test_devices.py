"""Memory and devices: what a run is predicted to take, and where auto trains it, without a GPU."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bsscale.config import ExecutorOptions
from bsscale.data import load_dataset
from bsscale.errors import ConfigError
from bsscale.models import build_model
from bsscale.optimizers import AdamConfig, CustomConfig, SGDConfig
from bsscale.planning.derive import make_plan
from bsscale.planning.description import describe_plan
from bsscale.planning.devices import Devices
from bsscale.planning.memory import Counts, Memory, count, in_bytes, predict
from bsscale.planning.plan import Plan
from bsscale.planning.stacks import cut, make_stacks
from bsscale.planning.workers import choose_workers
from bsscale.planning.world import World
from bsscale.study.description import description
from bsscale.study.options import StudyOptions
from bsscale.study.plan import StudyPlan
from bsscale.workers import describe_workers
from bsscale.workers.pool import environment_of_worker
from tests.helpers import MODELS, SYNTHETIC, small_config

MB = 10**6
# 4 MB of parameters; with SGD's momentum a run takes 16 MB, and 2100 bytes for each sample.
COUNTS = Counts(parameters=MB, activation_bytes=1000, sample_bytes=100, held_samples=0)
AUTO = ExecutorOptions("auto")


def planned(
    memory_mb: float | None = None, *, cuda: int = 8, shared: bool = True, **changes: Any
) -> Plan:
    """A run on a machine whose CUDA devices have so much memory."""
    config = small_config(**{"executor": AUTO, "micro_batch": 1000, **changes})
    memory = None if memory_mb is None else int(memory_mb * MB)
    devices = Devices(cuda, shared=shared, cuda_memory_bytes=memory, host_memory_bytes=memory)
    return make_plan(config, 20_000, devices, counts=COUNTS)


@pytest.fixture
def eight_devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch sees eight CUDA devices of 80 GB, one of them with less."""
    memories = [80 * 10**9] * 7 + [79 * 10**9]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(memories))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda k: SimpleNamespace(total_memory=memories[k])
    )
    yield


# -- what a machine has ----------------------------------------------------------------------------


@pytest.mark.usefixtures("eight_devices")
def test_devices_have_the_memory_of_the_smallest() -> None:
    here = Devices.here(shared=True)
    assert (here.cuda, here.shared, here.memory_bytes("cuda")) == (8, True, 79 * 10**9)
    jobs = here.of_jobs()
    assert (jobs.cuda, jobs.shared) == (8, True)
    assert jobs.memory_bytes("cuda") is None and jobs.memory_bytes("cpu") is None


@pytest.mark.parametrize(
    ("own", "limits", "expected"),
    [
        ("0::/", {}, None),
        ("0::/", {"memory.max": "max"}, None),
        ("0::/", {"memory.max": "5000"}, 5000),
        ("0::/slurm/job_7/step_0", {"slurm/job_7/memory.max": "4000", "memory.max": "9000"}, 4000),
        ("3:cpu,memory:/job", {"memory/job/memory.limit_in_bytes": "3000"}, 3000),
        ("3:memory:/job", {"memory/memory.limit_in_bytes": "2000"}, 2000),
        ("3:cpu:/job", {"memory/job/memory.limit_in_bytes": "3000", "job/memory.max": "1"}, None),
    ],
)
def test_the_machines_memory_is_that_of_its_control_group(
    own: str, limits: dict[str, str], expected: int | None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "own").write_text(own + "\n")
    for name, limit in limits.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(limit + "\n")
    monkeypatch.setattr("bsscale.planning.devices._OWN", tmp_path / "own")
    monkeypatch.setattr("bsscale.planning.devices._GROUPS", tmp_path / "groups")
    of_machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert Devices.here().memory_bytes("cpu") == (expected or of_machine)


@pytest.mark.parametrize(
    ("visible", "local_size", "indices"),
    [
        (8, 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (8, 2, [0, 1]),
        (1, 4, [0, 0, 0, 0]),  # srun --gpus-per-task=1: each sees its own
        (1, 1, [0]),
    ],
)
def test_each_rank_has_a_device_among_those_that_it_sees(
    visible: int, local_size: int, indices: list[int]
) -> None:
    ranks = [World(8, rank, rank, local_size, "srun") for rank in range(local_size)]
    assert [rank.device_index(visible) for rank in ranks] == indices
    plan = make_plan(small_config(gpus=8, executor=AUTO), 20_000, Devices(visible, ranks[-1]))
    assert (plan.executor, plan.device, plan.processes) == ("ddp", "cuda", 8)


@pytest.mark.parametrize(
    ("visible", "source"),
    [(2, "srun"), (3, "srun"), (3, "torchrun"), (1, "torchrun")],  # (torchrun hides no devices)
)
def test_more_ranks_than_devices_are_refused(visible: int, source: str) -> None:
    rank = World(8, 5, 1, 4, source)
    with pytest.raises(ConfigError, match=f"4 processes on a host with {visible} CUDA devices"):
        make_plan(small_config(gpus=8, executor=AUTO), 20_000, Devices(visible, rank))


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["0", "1", "2"]),
        ("", ["0", "1", "2"]),
        ("4,6,7", ["4", "6", "7"]),
        ("GPU-a,GPU-b,GPU-c", ["GPU-a", "GPU-b", "GPU-c"]),
    ],
)
def test_each_worker_sees_its_own_device_alone(visible: str | None, expected: list[str]) -> None:
    environ = {"PATH": "/bin"} | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    found = [environment_of_worker(environ, device) for device in range(3)]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in found] == expected
    assert all(each["PATH"] == "/bin" and each["OMP_NUM_THREADS"] == "1" for each in found)
    alone = environment_of_worker(environ, None)
    assert alone.get("CUDA_VISIBLE_DEVICES") == visible


# -- what a run takes ------------------------------------------------------------------------------


class Odd(nn.Module):
    """A model of a user's own that draws random numbers, and may be broken."""

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int, broken: str) -> None:
        super().__init__()
        random.random()
        np.random.random()
        torch.manual_seed(7)
        if broken == "built":
            raise RuntimeError("it is broken")
        self.broken = broken
        self.layer = nn.Linear(numeric_fields, 1)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        if self.broken == "passed":
            raise RuntimeError("it is broken")
        logit: Tensor = self.layer(numeric).squeeze(1)
        return logit


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_counted_without_being_allocated(model: str) -> None:
    dataset = load_dataset(SYNTHETIC)
    counts = count(MODELS[model], dataset)
    module = build_model(MODELS[model], dataset.schema)
    assert counts is not None
    assert counts.parameters == sum(each.numel() for each in module.parameters())
    assert counts.sample_bytes == 4 * (4 + 3 + 1)
    assert counts.held_samples == 3001 + 1999  # (the training samples are a stream)
    # What autograd itself saves for a sample, by its own hooks on real tensors.
    saved: dict[int, int] = {}
    own = {each.data_ptr() for each in [*module.parameters(), *module.buffers()]}

    def save(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    samples = dataset.train.read(0, 0, 256)
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        logits = module(torch.from_numpy(samples.categorical), torch.from_numpy(samples.numeric))
    assert logits.requires_grad
    real = sum(size for place, size in saved.items() if place not in own) / 256
    assert counts.activation_bytes == pytest.approx(real, rel=0.02)


@pytest.mark.slow  # (the first pass on the meta device imports for seconds)
@pytest.mark.parametrize("model", MODELS)
def test_a_large_model_is_counted_on_the_meta_device(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset(SYNTHETIC)
    small = count(MODELS[model], dataset)
    monkeypatch.setattr("bsscale.planning.memory.LARGE", 0)
    monkeypatch.setattr("bsscale.planning.memory._counted", {})
    assert count(MODELS[model], dataset) == small
    huge = replace(dataset, schema=replace(dataset.schema, cardinalities=(10**10, 50, 50, 50)))
    counted = count(MODELS[model], huge)
    assert counted is not None and small is not None
    assert counted.parameters >= 10**10
    assert counted.activation_bytes == small.activation_bytes


@pytest.mark.parametrize(
    ("broken", "parameters", "activation_bytes"),
    [("", 4, 12), ("passed", 4, 0), ("built", None, None)],
)
def test_a_model_of_the_user_is_counted_as_far_as_it_can_be(
    broken: str, parameters: int | None, activation_bytes: int | None
) -> None:
    model = {"_target_": f"{__name__}.Odd", "name": "odd", "broken": broken}
    before = random.getstate(), np.random.get_state()[2], torch.random.initial_seed()
    counts = count(model, load_dataset(SYNTHETIC))
    assert before == (random.getstate(), np.random.get_state()[2], torch.random.initial_seed())
    if counts is None:
        assert parameters is None
    else:
        assert (counts.parameters, counts.activation_bytes) == (parameters, activation_bytes)


@pytest.mark.parametrize(
    ("changes", "where", "expected"),
    [
        # (parameters 400 bytes; a sample 2 * 30 + 8 bytes; 10 samples are held)
        ({}, ("virtual", "cpu", 1), Memory(1200, 400, 32 * 68, 80, 400)),
        ({}, ("virtual", "cuda", 1), Memory(1200, 400, 32 * 68, 80, 800)),
        (
            {"gpus": 8, "grad_accum": 3},
            ("virtual", "cuda", 1),
            Memory(1200, 400, 52_224, 80, 800),
        ),
        ({"gpus": 8, "grad_accum": 3}, ("ddp", "cuda", 4), Memory(1200, 400, 64 * 68, 0, 800)),
        ({"gpus": 8}, ("ddp", "cpu", 8), Memory(1200, 400, 32 * 68, 80, 400)),
        (
            {"optimizer": AdamConfig(), "precision": "fp64"},
            ("virtual", "cuda", 1),
            Memory(3200, 800, 64 * 68, 160, 2400),
        ),
        (
            {"optimizer": SGDConfig(momentum=0.0), "precision": "bf16"},
            ("virtual", "cuda", 1),
            Memory(800, 400, 32 * 68, 80, 800),
        ),
        (
            {"optimizer": CustomConfig(_target_="torch.optim.RMSprop")},
            ("virtual", "cuda", 1),
            Memory(800, 400, 32 * 68, 80, 800),
        ),
    ],
)
def test_the_memory_of_a_run_follows_from_its_counts(
    changes: dict[str, Any], where: tuple[str, str, int], expected: Memory
) -> None:
    config = small_config(**changes)
    counts = Counts(parameters=100, activation_bytes=30, sample_bytes=8, held_samples=10)
    assert predict(config, counts, config.gpus or 1, *where) == expected


def test_stacks_share_data_and_ranks_of_a_cpu_share_its_memory() -> None:
    counts = Counts(parameters=100, activation_bytes=30, sample_bytes=8, held_samples=10)
    memory = predict(small_config(), counts, 1, "virtual", "cuda")
    assert memory.of_stack(3) == 400 + 80 + 3 * (1200 + 32 * 68)
    shared = predict(small_config(gpus=8), counts, 8, "ddp", "cpu", 8, available_bytes=8000)
    assert shared.available_bytes == 1000
    on_devices = predict(small_config(gpus=8), counts, 8, "ddp", "cuda", 8, available_bytes=8000)
    assert on_devices.available_bytes == 8000


@pytest.mark.parametrize(
    ("number", "text"),
    [(999, "999 bytes"), (1234, "1.23 kB"), (79_950_000, "80 MB"), (80 * 10**9, "80 GB"),
     (123_456_000_000, "123 GB"), (12_345 * 10**9, "12,345 GB")],
)  # fmt: skip
def test_bytes_for_people(number: int, text: str) -> None:
    assert in_bytes(number) == text


# -- where auto trains it --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memory_mb", "gpus", "shared", "executor", "processes", "reason"),
    [
        (None, 8, True, "virtual", 1, "auto: the runs share 8 CUDA devices"),
        (40, 8, True, "virtual", 1, "auto: the runs share 8 CUDA devices"),
        (30, 8, True, "ddp", 8, "auto: a run takes about 32.8 MB, and a CUDA device has 30 MB"),
        (30, 12, True, "ddp", 6, "auto: a run takes about 41.2 MB, and a CUDA device has 30 MB"),
        (30, 1, True, "virtual", 1, "auto: the runs share 8 CUDA devices"),
        (40, 8, False, "ddp", 8, "auto: 8 CUDA devices"),
        (10, 8, True, "ddp", 8, "auto: a run takes about 32.8 MB, and a CUDA device has 10 MB"),
    ],
)
def test_many_runs_are_stacks_unless_one_does_not_fit_a_device(
    memory_mb: float | None, gpus: int, shared: bool, executor: str, processes: int, reason: str
) -> None:
    plan = planned(memory_mb, gpus=gpus, shared=shared)
    assert (plan.executor, plan.processes, plan.executor_reason) == (executor, processes, reason)
    assert "memory " in describe_plan(plan, load_dataset(SYNTHETIC), "arm")


def test_a_run_that_may_not_fit_has_a_warning_and_one_that_cannot_is_refused() -> None:
    # 8 MB are parameters and momentum at least; a rank takes 18.1 MB, 1.8 of them for its batch.
    for memory_mb, gpus in ((20, 8), (9, 8), (19, 1)):
        plan = planned(memory_mb, gpus=gpus)
        [warning] = [each for each in plan.warnings if "may not fit" in each]
        assert "takes about 18.1 MB (16 MB parameters" in warning and "micro_batch" in warning
    assert not planned(20.2, gpus=8).warnings and not planned(20.2, gpus=1).warnings
    for changes in ({"gpus": 8}, {"gpus": 1}, {"executor": ExecutorOptions("ddp"), "gpus": 8}):
        with pytest.raises(ConfigError) as error:
            planned(7.9, **changes)
        assert "optimizer=sgd take 8 MB, and a CUDA device has 7.9 MB" in error.value.fact
        assert "more devices do not help" in error.value.remedy
    with pytest.raises(ConfigError, match=r"optimizer=adam take 12 MB"):
        planned(11, gpus=8, optimizer=AdamConfig())
    with pytest.raises(ConfigError, match="the parameters of model=logistic take 4 MB, and this m"):
        planned(3.9, cuda=0, gpus=1)
    with pytest.raises(ConfigError, match=r"each of 8 processes has 3\.75 MB"):
        planned(30, cuda=0, gpus=8, executor=ExecutorOptions("ddp"))


# -- many runs on eight devices --------------------------------------------------------------------


def test_a_sweep_with_mixed_gpus_is_cut_over_all_devices() -> None:
    changes = [{"gpus": gpus, "seed": seed} for gpus in (1, 8) for seed in range(5)]
    devices = Devices(8, shared=True)
    plans = [planned(40, **each) for each in changes]
    assert [stack.members for stack in make_stacks(plans)] == [tuple(range(5)), tuple(range(5, 10))]
    assert describe_workers("auto", plans, devices) == (
        "8 (auto: one for each CUDA device): 10 runs in 10 stacks"
    )
    assert choose_workers("auto", plans, devices).devices == tuple(range(8))
    few = describe_workers("auto", plans[:3], devices)
    assert few == "3 (auto: one for each run): 3 runs in 3 stacks"
    # Every piece has the width of its stack: bits depend on it there.
    pieces = cut(make_stacks(plans), plans, 8)
    assert {piece.stack.width for piece in pieces} == {5}
    # Those of 8 replicas do not fit: they have all devices, one after the other.
    large = [planned(30, **each) for each in changes]
    assert describe_workers("auto", large, devices) == (
        "5 (auto: one for each run): 5 runs in 5 stacks; "
        "then 5 runs over several processes, one after the other"
    )
    assert describe_workers("auto", large[5:], devices) == (
        "5 runs over several processes, one after the other"
    )


@pytest.mark.usefixtures("eight_devices")
def test_a_study_uses_all_devices() -> None:
    arms: dict[str, dict[str, Any]] = {
        "one_gpu": {"schedule": "fixed", "role": "baseline", "gpus": 1},
        "fixed": {"schedule": "fixed"},
        "linear": {"schedule": "linear_scaling"},
    }
    config = small_config(executor=AUTO, gpus=8, task=StudyOptions(arms=arms, seeds=5))
    plan = StudyPlan(config, load_dataset(config.dataset), Devices.here(shared=True))
    runs = [spec.plan for spec in plan.first_runs()]
    assert {(run.executor, run.device) for run in runs} == {("virtual", "cuda")}
    assert all(run.memory is not None and run.memory.fits for run in runs)
    assert f"workers  8 (auto: one for each CUDA device): {5 * len(runs)} runs" in description(plan)
    stacks = plan.stacks()
    assert max(len(stack["runs"]) for stack in stacks) > 8  # (arms share a stack)


# -- workers of a CPU ------------------------------------------------------------------------------


def test_auto_starts_as_many_workers_as_the_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    # Each worker: its process, 400 MB, and one run of 100 MB; what they share: 400 MB.
    memory = Memory(30 * MB, 10 * MB, 60 * MB, 0, 10 * MB)
    plans = [
        replace(planned(cuda=0, micro_batch=5000, seed=seed, budget_samples=10**8), memory=memory)
        for seed in range(6)
    ]

    def machine(memory_mb: float) -> Devices:
        return Devices(0, host_memory_bytes=int(memory_mb * MB))

    assert choose_workers("auto", plans, Devices(0)).reason == "auto: one for each run"
    # (nine tenths of the memory are planned with)
    for memory_mb, workers, reason in (
        (3800, 6, "auto: one for each run"),
        (3700, 5, "auto: memory for 5 workers"),
        (1600, 2, "auto: memory for 2 workers"),
        (1000, 1, "auto: memory for 1 worker"),
        (10, 1, "auto: memory for 1 worker"),
    ):
        chosen = choose_workers("auto", plans, machine(memory_mb))
        assert (chosen.count, chosen.reason, chosen.warning) == (workers, reason, "")
    # A number that is given is taken.
    chosen = choose_workers(6, plans, machine(1600))
    assert chosen.count == 6
    text = "they take about 3.4 GB of memory, and this machine has 1.6 GB: workers=2 fits"
    assert chosen.warning == text
    assert describe_workers(6, plans, machine(1600)) == (
        f"6 (asked for): 6 runs in 6 stacks; warning: {text}"
    )
    assert not choose_workers(2, plans, machine(1600)).warning
    assert not choose_workers(1, plans, machine(10)).warning
    # Data are counted twice for all, and once more for each worker that converts them.
    for precision, workers in (("fp32", 4), ("fp64", 2)):
        heavy = [
            replace(plan, memory=replace(memory, data_bytes=300 * MB),
                    config=replace(plan.config, precision=precision))
            for plan in plans
        ]  # fmt: skip
        assert choose_workers("auto", heavy, machine(3700)).count == workers
