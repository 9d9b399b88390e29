"""Runs over processes that torchrun has started: real agents, on two nodes of one host."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bsscale.cli import processes
from bsscale.cli.processes import rank_overrides
from bsscale.errors import ConfigError
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.world import World
from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import read_run
from tests.conftest import SMALL, Finished
from tests.helpers import small_config
from tests.test_resume import CONFIG, assert_same, interrupted
from tests.test_resume import terminated as terminated  # (SIGTERM ends this process as bsscale)

Bsscale = Callable[..., Finished]

ROOT = Path(__file__).parent.parent
RESTARTS = int(os.environ.get("BSSCALE_TEST_KILLS", "1"))
TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "job",
}
SRUN = {
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
    "SLURM_STEP_NODELIST": "n[1-3]",
    "SLURM_JOB_ID": "1001",
    "SLURM_STEP_ID": "0",
}


def world(size: int, rank: int = 0) -> World:
    return World(size, rank, rank, size, "torchrun")


def test_torchruns_environment_is_recognised() -> None:
    assert World.here({}) is None
    assert World.here(TORCHRUN) == World(8, 3, 1, 2, "torchrun")


def test_restarts_on_several_hosts_need_a_store_of_their_own() -> None:
    restarts = {
        **TORCHRUN, "TORCHELASTIC_MAX_RESTARTS": "3", "TORCHELASTIC_RESTART_COUNT": "2",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        World.here(restarts)
    own = World.here({**restarts, "TORCHELASTIC_USE_AGENT_STORE": "False"})
    assert own is not None and own.attempt is None
    none = World.here({**restarts, "TORCHELASTIC_MAX_RESTARTS": "0"})
    assert none is not None
    # On one host, each attempt has a part of the agent's store.
    one = World.here({**restarts, "LOCAL_WORLD_SIZE": "8"})
    assert one is not None and one.attempt == 2


@pytest.mark.parametrize(
    ("rank", "local_rank", "waits_s"), [("0", "0", 0), ("8", "0", 5), ("1", "1", 10)]
)
def test_an_error_that_all_processes_find_is_left_to_rank_0(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rank: str,
    local_rank: str,
    waits_s: float,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(processes.time, "sleep", slept.append)
    for name, value in {**TORCHRUN, "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    file = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
    assert processes.reports("gpus=3")
    assert sum(slept) == waits_s
    assert json.loads(file.read_text())["message"] == "gpus=3"
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")  # the first attempt has said it
    assert not processes.reports("gpus=3")


def test_sruns_environment_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\nprintf 'n1\\nn2\\nn3\\n'\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = World.here(SRUN)
    assert found is not None and found.store is not None
    assert (found.size, found.rank, found.local_rank, found.local_size) == (5, 3, 1, 2)
    assert found.store[0] == "n1" and found.store == World.here({**SRUN, "SLURM_PROCID": "0"}).store  # type: ignore[union-attr]
    # A batch script, or a shell in an allocation, is not one of its tasks.
    assert World.here({**SRUN, "SLURM_STEP_NUM_TASKS": "1"}) is None
    script = {name: value for name, value in SRUN.items() if "STEP" not in name}
    assert World.here({**script, "SLURM_NTASKS": "5"}) is None
    # On one host nothing needs to be reached from another one.
    one = {**SRUN, "SLURM_STEP_NUM_NODES": "1"}
    alone = World.here(one)
    assert alone is not None and alone.store is not None
    assert alone.store[0] == "127.0.0.1" and alone.on_one_host


@pytest.mark.parametrize("name", ["WORLD_SIZE", "LOCAL_RANK"])
def test_numbers_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}='x'"):
        World.here({**TORCHRUN, name: "x"})


@pytest.mark.parametrize(
    ("gpus", "size", "expected"), [(None, 4, (4, 4, 1)), (8, 4, (8, 4, 2)), (4, 4, (4, 4, 1))]
)
def test_gpus_are_the_processes_or_shared_among_them(
    gpus: int | None, size: int, expected: tuple[int, int, int]
) -> None:
    config = small_config(gpus=gpus)
    config.executor.name = "auto"
    plan = make_plan(config, 20_000, Devices(0, world(size)))
    assert (plan.gpus, plan.processes, plan.replicas_per_device) == expected
    assert plan.executor == "ddp" and "torchrun has started 4" in plan.executor_reason


@pytest.mark.parametrize(
    ("gpus", "executor", "cuda", "facts"),
    [
        (6, "auto", 0, ["gpus=6", "started 4 processes", "1, 2, 3, 6 processes"]),
        (2, "ddp", 0, ["gpus=2", "leave gpus out (it is 4 then)"]),
        (4, "virtual", 0, ["executor=virtual trains in one process", "started 4"]),
        (4, "auto", 2, ["4 processes on a host with 2 CUDA devices", "executor.device=cpu"]),
    ],
)
def test_a_contradiction_is_an_error(gpus: int, executor: str, cuda: int, facts: list[str]) -> None:
    config = small_config(gpus=gpus)
    config.executor.name = executor
    config.executor.device = "auto"
    with pytest.raises(ConfigError) as error:
        make_plan(config, 20_000, Devices(cuda, world(4)))
    for fact in facts:
        assert fact in str(error.value)


def test_only_rank_0_has_a_directory_and_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "my-job")
    assert rank_overrides(["gpus=8"], None) == ["gpus=8"]
    assert rank_overrides(["gpus=8"], world(8)) == ["gpus=8", "hydra.run.dir=outputs/my-job"]
    assert rank_overrides(["hydra.run.dir=x"], world(8)) == ["hydra.run.dir=x"]
    other = rank_overrides(["hydra.run.dir=x"], world(8, rank=3))
    assert "hydra.run.dir=x" not in other and "hydra.output_subdir=null" in other
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    # torchrun starts the processes again: the directory is the same.
    [again] = {rank_overrides([], world(8))[0] for _ in range(2)}
    assert again.startswith("hydra.run.dir=outputs/20")


def test_a_sweep_is_not_started_once_a_process() -> None:
    with pytest.raises(ConfigError, match="each would sweep"):
        rank_overrides(["-m", "seed=0,1"], world(8, rank=3))


@pytest.mark.slow
def test_what_is_refused_leaves_the_directory_as_it_is(bsscale: Bsscale, tmp_path: Path) -> None:
    one = {**TORCHRUN, "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    one |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29531"}
    del one["TORCHELASTIC_RUN_ID"]
    interrupted(CONFIG, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    done = bsscale(*SMALL, "hydra.run.dir=run", **one)
    assert done.code == 1 and "checkpoint of another training" in done.text, done.text
    assert not (tmp_path / "run" / "run.json").exists()
    assert before == {path: path.read_bytes() for path in before}


# -- real agents -----------------------------------------------------------------------------------

LONG = [argument for argument in SMALL if not argument.startswith("budget")] + [
    "budget_passes=12",
    "target=0.73",
    "stop_at_target=false",
    "optimizer=adam",
    "base_lr=0.003",
    "checkpoint_interval_samples=10000",
    "hydra.run.dir=run",
]
NODES = {"bsscale-n0": "10.213.77.1", "bsscale-n1": "10.213.77.2"}


def remove_namespaces() -> None:
    if shutil.which("ip") is not None:
        for node in NODES:
            subprocess.run(["ip", "netns", "del", node], capture_output=True)


def namespaces() -> bool:
    """Two network namespaces with a wire between them; False where they cannot be made."""
    if shutil.which("ip") is None:
        return False
    first, second = NODES
    remove_namespaces()  # of a test that was killed
    commands = [
        *(f"ip netns add {node}" for node in NODES),
        f"ip link add wire netns {first} type veth peer name wire netns {second}",
        *(f"ip -n {node} addr add {address}/24 dev wire" for node, address in NODES.items()),
        *(f"ip -n {node} link set {device} up" for node in NODES for device in ("lo", "wire")),
    ]
    return all(
        subprocess.run(command.split(), capture_output=True).returncode == 0 for command in commands
    )


@pytest.fixture
def nodes() -> Iterator[list[tuple[list[str], str, dict[str, str]]]]:
    """For each of two nodes what a command there begins with, its address and its environment."""
    if namespaces():
        yield [
            (["ip", "netns", "exec", node], address, {"GLOO_SOCKET_IFNAME": "wire"})
            for node, address in NODES.items()
        ]
    else:  # two agents side by side on the loopback
        yield [([], "127.0.0.1", {"GLOO_SOCKET_IFNAME": "lo"})] * 2
    remove_namespaces()


def torchrun(
    directory: Path,
    *options: str,
    before: Sequence[str] = (),
    arguments: Sequence[str] = (),
    **environment: str,
) -> subprocess.Popen[str]:
    started = [*before, sys.executable, "-m", "torch.distributed.run", *options, "-m", "bsscale"]
    return subprocess.Popen(
        [*started, *LONG, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.01)
    if process.poll() is not None:
        raise AssertionError(f"it ended too early: {process.communicate()[0]}")


def checkpointed(directory: Path) -> bool:
    return any((directory / "run" / "checkpoints").glob("step-*"))


@pytest.mark.slow
def test_two_nodes_of_which_one_dies_and_comes_back(
    tmp_path: Path, nodes: list[tuple[list[str], str, dict[str, str]]]
) -> None:
    address = nodes[0][1]

    def agent(directory: Path, node: int) -> subprocess.Popen[str]:
        before, own, environment = nodes[node]
        return torchrun(
            directory,
            "--nnodes=2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-id=job",
            "--rdzv-backend=c10d", f"--rdzv-endpoint={address}:29517", f"--local-addr={own}",
            f"--rdzv-conf=is_host={1 - node}",  # (by name it would not know itself)
            before=before,
            TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1",
            **environment,
        )  # fmt: skip

    (tmp_path / "undisturbed").mkdir()
    with (
        agent(tmp_path / "undisturbed", 0) as first,
        agent(tmp_path / "undisturbed", 1) as second,
    ):
        assert first.wait() == 0, first.communicate()[0]
        assert second.wait() == 0, second.communicate()[0]
    assert read_run(tmp_path / "undisturbed" / "run").gpus == 2

    for number in range(RESTARTS):
        run = tmp_path / str(number)
        run.mkdir()
        with agent(run, 0) as first:
            with agent(run, 1) as second:
                wait_for(first, lambda at=run: checkpointed(at))  # type: ignore[misc]
                os.killpg(second.pid, signal.SIGKILL)
                second.communicate()
            with agent(run, 1) as again:
                output, _ = first.communicate()
                other, _ = again.communicate()
        assert first.returncode == 0 and again.returncode == 0, output + other
        assert "going on after" in output + other
        assert read_run(run / "run").status == "reached"
        assert_same(tmp_path / "undisturbed" / "run", run / "run")


@pytest.mark.slow
def test_a_killed_rank_is_restarted_from_the_last_checkpoint(tmp_path: Path) -> None:
    import psutil

    (tmp_path / "undisturbed").mkdir()
    options = ("--standalone", "--nproc-per-node=2", "--max-restarts=3")
    with torchrun(tmp_path / "undisturbed", *options) as process:
        assert process.wait() == 0, process.communicate()[0]
    for number in range(RESTARTS):
        run = tmp_path / str(number)
        run.mkdir()
        with torchrun(run, *options) as process:
            wait_for(process, lambda at=run: checkpointed(at))  # type: ignore[misc]
            evaluated = len(read_evals(run / "run"))
            psutil.Process(process.pid).children()[number % 2].kill()
            output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
        # (the first attempt after it succeeds)
        assert output.count("going on after") == 1 and evaluated > 1, output
        assert_same(tmp_path / "undisturbed" / "run", run / "run")


@pytest.mark.slow
def test_a_refusal_is_said_once(tmp_path: Path) -> None:
    options = ("--standalone", "--nproc-per-node=2", "--max-restarts=1")
    with torchrun(tmp_path, *options, arguments=["gpus=3"]) as process:
        output, _ = process.communicate(timeout=600)
    assert process.returncode == 1
    assert output.count("error: gpus=3") == 1, output
    # torchrun's own report ends with it.
    assert "gpus=3 replicas do not divide" in output.split("Root Cause")[1]


@pytest.mark.slow
def test_torchrun_that_is_told_to_end_leaves_a_checkpoint(tmp_path: Path) -> None:
    with torchrun(tmp_path, "--standalone", "--nproc-per-node=2") as process:
        wait_for(process, lambda: checkpointed(tmp_path))
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate()
    assert process.returncode != 0
    last = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert int(last.stem.removeprefix("step-")) >= read_evals(tmp_path / "run")[-1].step
    assert "goes on from here" in output and "Error executing job" not in output, output
