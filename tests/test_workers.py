"""Workers: runs are cut into pieces, trained by several processes, and end with the same bits."""

from __future__ import annotations

import errno
import logging
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor, nn

from bsscale.config import ExecutorOptions
from bsscale.data import Dataset, load_dataset
from bsscale.data.cache import cached
from bsscale.engines.stacked.compiling import one_compiles
from bsscale.errors import ConfigError, WorkerError
from bsscale.files.locks import hold
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.plan import Plan
from bsscale.planning.stacks import Piece, cut, make_stacks, predicted_s
from bsscale.planning.workers import choose_workers
from bsscale.records.evaluation import read_evals
from bsscale.records.identity import arm_hash, arm_label
from bsscale.records.run_record import RunRecord, read_run
from bsscale.study.options import RangeTestOptions
from bsscale.study.range_test import range_test
from bsscale.training.run import run_together
from bsscale.training.spec import RunSpec
from bsscale.workers import Workers, describe_workers
from bsscale.workers.messages import sendable
from bsscale.workers.shared import open_shared, share
from tests.conftest import SMALL, Finished
from tests.helpers import MODELS, SYNTHETIC, prepare, small_config
from tests.test_study import STUDY, command, environment, outcome, undisturbed

__all__ = ["undisturbed"]  # (a fixture)

Bsscale = Callable[..., Finished]
# Four stacks: two batches of two schedules and two seeds.
SWEEP = (
    "-m",
    *(a for a in SMALL if not a.startswith("model")),
    "model=mlp",
    "schedule=fixed,onecycle",
    "gpus=1,4",
    "seed=0,1",
    "hydra.sweep.dir=sweep",
)
MLP = (*(a for a in SMALL if not a.startswith("model")), "model=mlp")


class Net(nn.Module):
    """A model of a user's own."""

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__()
        self.table = nn.Embedding(max(cardinalities), 4)
        self.top = nn.Linear(4 + numeric_fields, 1)

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        vectors = self.table(categorical).mean(dim=1)
        logit: Tensor = self.top(torch.cat([vectors, numeric], dim=1)).squeeze(1)
        return logit


class Killer(Net):
    """Kills its process where a file is missing or, without a name of one, always."""

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int, once: str = "") -> None:
        super().__init__(cardinalities, numeric_fields)
        self.once = once
        self.steps = 0

    def forward(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        self.steps += self.training
        if self.steps == 100 and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(categorical, numeric)


def custom(module: type[nn.Module], **options: Any) -> dict[str, Any]:
    return {"_target_": f"{__name__}.{module.__name__}", "name": "custom", **options}


def planned(cuda: int = 0, **changes: Any) -> Plan:
    options = {"executor": ExecutorOptions("auto", "cuda" if cuda else "cpu"), **changes}
    return make_plan(small_config(**options), 20_000, Devices(cuda, shared=True))


def specs(directory: Path, *different: dict[str, Any], **same: Any) -> list[RunSpec]:
    return [
        RunSpec(
            prepare(small_config(**{**same, **own}))[0],
            directory / str(number),
            arm=f"arm {number}",
            group=str(directory),
        )
        for number, own in enumerate(different)
    ]


def numbers_of(pieces: Sequence[Piece]) -> list[list[int]]:
    return [piece.runs for piece in pieces]


# -- how runs are cut ------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", [1, 2, 5, 15, 40])
@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("batch", [32, 2048])
@pytest.mark.parametrize("cuda", [0, 8])
def test_every_run_is_in_one_piece_and_no_worker_has_much_more(
    runs: int, workers: int, batch: int, cuda: int
) -> None:
    plans = [planned(cuda, seed=seed, micro_batch=batch) for seed in range(runs)]
    stacks = make_stacks(plans)
    pieces = cut(stacks, plans, workers, finished={0} if runs > 1 else ())
    trained = sorted(number for piece in pieces for number in piece.runs)
    assert trained == list(range(1 if runs > 1 else 0, runs))
    costs = [piece.predicted_s for piece in pieces]
    if workers == 1:
        assert [piece.stack for piece in pieces] == stacks
        return
    assert costs == sorted(costs, reverse=True)
    sizes = [len(piece.runs) for piece in pieces]
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) % workers == 0 or len(sizes) == len(trained) or batch == 2048
    for piece in pieces:
        if cuda:  # the step, the width and the slots of the whole
            assert piece.stack == stacks[0]
        else:
            assert piece.stack.width <= stacks[0].width and not piece.left_out


def test_pieces_of_a_compiled_stack_keep_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "some-compiler")
    plans = [planned(model=custom(Net), seed=k, budget_samples=10**8) for k in range(5)]
    [stack] = make_stacks(plans)
    assert stack.training_step == "compiled"
    pieces = cut([stack], plans, 2)
    assert sorted(numbers_of(pieces)) == [[0, 1], [2, 3, 4]]
    assert all(piece.stack == stack for piece in pieces)


def test_the_longest_piece_is_handed_out_first() -> None:
    plans = [planned(budget_samples=64 * k, micro_batch=2048) for k in (100, 300, 200)]
    assert numbers_of(cut(make_stacks(plans), plans, 2)) == [[1], [2], [0]]
    assert predicted_s(plans[0]) < predicted_s(plans[2]) < predicted_s(plans[1])


def test_auto_is_a_worker_for_each_core_or_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    long = [planned(seed=seed, budget_samples=10**8) for seed in range(10)]
    none = Devices(0)
    assert choose_workers("auto", long, none).count == 6
    assert choose_workers("auto", long[:3], none).count == 3
    threads = replace(long[0].config.executor, threads=2)
    two = [replace(p, config=replace(p.config, executor=threads)) for p in long]
    assert choose_workers("auto", two, none).count == 3
    short = [planned(seed=seed) for seed in range(10)]
    assert choose_workers("auto", short, none).count == 1
    assert choose_workers(4, short, none).count == 4
    cuda = [planned(8, seed=seed) for seed in range(10)]
    chosen = choose_workers("auto", cuda, Devices(8))
    assert chosen.count == 8 and chosen.devices == tuple(range(8))
    assert choose_workers(4, cuda, Devices(8)).devices == (0, 1, 2, 3)
    with pytest.raises(ConfigError, match=r"workers=9 with 8 CUDA devices(.|\n)*workers=8"):
        choose_workers(9, cuda, Devices(8))


def test_runs_that_share_devices_are_virtual_and_ddp_only_where_it_is_given() -> None:
    plan = planned(8, gpus=8)
    assert plan.executor == "virtual" and "share 8 CUDA devices" in plan.executor_reason
    alone = make_plan(plan.config, 20_000, Devices(8))
    assert alone.executor == "ddp"
    assert planned(8, gpus=8, executor=ExecutorOptions("ddp", "cuda")).executor == "ddp"


@pytest.mark.parametrize("workers", [0, -1, "many", True, "2"])
def test_workers_is_auto_or_a_number(workers: Any) -> None:
    with pytest.raises(ConfigError, match=r"workers=.*neither auto nor a number"):
        planned(workers=workers)


def test_it_is_no_part_of_an_arm_nor_of_the_training() -> None:
    one, two = planned(workers=1), planned(workers=2)
    assert one.training == two.training
    assert arm_hash({"seed": 0, "workers": 2}) == arm_hash({"seed": 1, "workers": "auto"})
    assert arm_hash({"weights": "none"}) == arm_hash({"weights": "last"}) == arm_hash({})
    assert (
        arm_label("fixed", 8, ["workers=2", "weights=none", "micro_batch=32"])
        == "fixed gpus=8 micro_batch=32"
    )


# -- the same bits ---------------------------------------------------------------------------------


def found(directory: Path) -> dict[str, Any]:
    """Evaluations, less their times, and weights of every run."""
    files: dict[str, Any] = {}
    for path in sorted(directory.rglob("evals.jsonl")):
        points = [replace(point, wall_s=0.0) for point in read_evals(path.parent)]
        weights = (path.parent / "model.safetensors").read_bytes()
        files[str(path.parent.relative_to(directory))] = points, weights
    assert files
    return files


def comparable(data: Any) -> Any:
    """Records without what says how they were made: workers and the width of a stack."""
    if isinstance(data, dict):
        left_out = ("workers", "stack_width")
        return {key: comparable(value) for key, value in data.items() if key not in left_out}
    return data


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_a_study_ends_with_the_same_numbers(
    workers: int, bsscale: Bsscale, tmp_path: Path, undisturbed: Path
) -> None:
    done = bsscale(*STUDY, f"workers={workers}")
    assert done.code == 0, done.text
    assert f"workers  {workers} (asked for)" in done.out
    assert comparable(outcome(tmp_path / "study")) == comparable(outcome(undisturbed))
    assert (tmp_path / "study" / "report" / "report.html").exists()
    # What workers say is in the study's log, and in that of its run.
    [log] = (tmp_path / "outputs").glob("*/*/bsscale.log")
    run_log = tmp_path / "study" / "runs" / "one_gpu" / "seed-0" / "bsscale.log"
    assert all("one_gpu seed=0: " in path.read_text() for path in (log, run_log))


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Path:
    """A multirun that this process alone has trained; tests only read it."""
    directory = tmp_path_factory.mktemp("one")
    done = subprocess.run(
        command(*SWEEP, "workers=1"), cwd=directory, env=environment(session_cache),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return directory / "sweep"


@pytest.mark.parametrize("workers", [3, pytest.param(2, marks=pytest.mark.slow)])
def test_a_multirun_ends_with_the_same_numbers(
    workers: int, bsscale: Bsscale, tmp_path: Path, one_process: Path
) -> None:
    done = bsscale(*SWEEP, f"workers={workers}")
    assert done.code == 0, done.text
    assert done.out.count("best AUC 0") == 8
    sweep = tmp_path / "sweep"
    assert found(sweep) == found(one_process)
    assert (sweep / "comparison.json").exists()
    log = (sweep / "0" / "bsscale.log").read_text()
    assert "seed=0: " in log and "budget spent" in log and "seed=1: " not in log
    for number in range(8):
        ours, other = read_run(sweep / str(number)), read_run(one_process / str(number))
        assert ours.arm_hash == other.arm_hash and ours.config["workers"] == workers


@pytest.mark.slow
def test_so_do_a_range_test_and_a_model_of_the_user(tmp_path: Path) -> None:
    for model in (MODELS["mlp"], custom(Net)):
        tests = []
        for workers in (1, 2):
            config = small_config(
                task=RangeTestOptions(seeds=3, evaluations=10),
                model=model,
                budget_samples=None,
                dataset={**SYNTHETIC, "samples_per_pass": 6000},
                workers=workers,
                weights="last",
            )
            directory = tmp_path / model["name"] / str(workers)
            directory.mkdir(parents=True)
            range_test(config, load_dataset(config.dataset), directory)
            tests.append(found(directory))
            tests[-1]["range_test.json"] = (directory / "range_test.json").read_text()
        assert tests[0] == tests[1]


@pytest.mark.slow
def test_so_does_a_compiled_model_of_the_user(tmp_path: Path) -> None:
    compiled = {
        "model": custom(Net),
        "executor": ExecutorOptions("virtual", "cpu", compile=True),
        "budget_samples": 6144,
    }
    trained = []
    for workers in (1, 2, 3):
        runs = specs(tmp_path / str(workers), *({"seed": seed} for seed in range(6)), **compiled)
        assert {stack.training_step for stack in make_stacks([run.plan for run in runs])} == {
            "compiled"
        }
        data = load_dataset(runs[0].plan.config.dataset)
        with Workers(workers, Devices(0)) as pool:
            results = pool.train(runs, [data] * len(runs))
        assert all(isinstance(result, RunRecord) for result in results.values())
        trained.append(found(tmp_path / str(workers)))
    assert len(trained[0]) == 6
    assert trained[0] == trained[1] == trained[2]


# -- what a pool does with its workers -------------------------------------------------------------


@pytest.fixture
def two_workers() -> Iterator[Workers]:
    with Workers(2, Devices(0)) as workers:
        yield workers


def test_a_pool_trains_several_lots_and_data_sets_and_leaves_finished_runs(
    two_workers: Workers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    runs = specs(tmp_path, {"seed": 0}, {"seed": 1}, {"seed": 2})
    data = load_dataset(runs[0].plan.config.dataset)
    other_config = {**runs[0].plan.config.dataset, "seed": 5}
    others = specs(tmp_path / "other", {"seed": 0}, {"seed": 1}, dataset=other_config)
    first = two_workers.train(runs, [data] * 3, finished={1})
    assert first.keys() == {0, 2} and not (tmp_path / "1").exists()
    both = [*runs, *others]
    other = load_dataset(other_config)
    second = two_workers.train(both, [data] * 3 + [other] * 2)
    assert all(isinstance(result, RunRecord) for result in second.values())
    assert second.keys() == set(range(5))
    assert "budget spent" in caplog.text
    # The same as alone, in this process.
    [alone] = run_together(specs(tmp_path / "alone", {"seed": 1}, dataset=other_config), other)
    assert isinstance(alone, RunRecord)
    assert found(tmp_path / "alone")["0"] == found(tmp_path / "other")["1"]


def test_an_error_of_a_run_comes_back_and_the_others_go_on(
    two_workers: Workers, tmp_path: Path
) -> None:
    runs = specs(tmp_path, {"seed": 0}, {"seed": 1, "model": custom(Net)}, {"seed": 2})
    occupied = tmp_path / "1"
    occupied.mkdir()
    (occupied / "run.json").write_text("{}")
    data = load_dataset(runs[0].plan.config.dataset)
    results = two_workers.train(runs, [data] * 3)
    assert isinstance(results[1], Exception) and "run.json" in str(results[1])
    assert isinstance(results[0], RunRecord) and isinstance(results[2], RunRecord)
    assert (occupied / "run.json").read_text() == "{}"


def test_a_worker_that_dies_has_its_runs_go_on_in_another_one(
    two_workers: Workers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    once = str(tmp_path / "has-died")
    model = custom(Killer, once=once)
    runs = specs(
        tmp_path / "sweep", {"seed": 0, "model": model}, {"seed": 1},
        checkpoint_interval_samples=2048,
    )  # fmt: skip
    data = load_dataset(runs[0].plan.config.dataset)
    results = two_workers.train(runs, [data] * 2)
    assert isinstance(results[0], RunRecord) and results[0].status == "exhausted"
    assert isinstance(results[1], RunRecord)
    assert "was killed by signal 9, SIGKILL" in caplog.text
    assert "its runs go on in another one" in caplog.text
    # It went on from its checkpoint, to the bits of a run that was not disturbed.
    alone = specs(tmp_path / "alone", {"seed": 0, "model": model})
    run_together(alone, data)
    assert found(tmp_path / "alone")["0"] == found(tmp_path / "sweep")["0"]


@pytest.mark.slow
def test_one_that_dies_again_gives_its_runs_up_and_names_the_signal(
    two_workers: Workers, tmp_path: Path
) -> None:
    runs = specs(tmp_path, {"seed": 0, "model": custom(Killer)}, {"seed": 1}, {"seed": 2})
    data = load_dataset(runs[0].plan.config.dataset)
    results = two_workers.train(runs, [data] * 3)
    assert isinstance(results[0], WorkerError)
    record = read_run(tmp_path / "0")
    assert record.status == "failed" and "killed by signal 9, SIGKILL" in record.reason
    assert "memory" in record.reason and record.samples_seen > 0
    assert all(isinstance(results[number], RunRecord) for number in (1, 2))


def test_an_error_that_cannot_be_sent_is_sent_as_its_first_line() -> None:
    class LocalError(Exception):
        pass

    config = ConfigError("a fact", "a remedy")
    [kept, replaced] = sendable([config, LocalError("first\nsecond")])
    assert kept is config
    assert str(replaced) == "LocalError: first"


def test_arrays_of_shared_data_are_equal_and_private_where_written() -> None:
    dataset = Dataset.from_arrays(*_arrays())
    shared = share(dataset)
    assert shared is not None
    copies = [
        open_shared(shared.pickled, shared.places, os.dup(shared.file.fileno())) for _ in range(2)
    ]
    for split in ("validation", "test"):
        for name in ("categorical", "numeric", "label"):
            ours = getattr(getattr(dataset, split), name)
            theirs = getattr(getattr(copies[0], split), name)
            assert (ours == theirs).all() and ours.dtype == theirs.dtype
            assert theirs.flags.writeable
    assert copies[0].key == dataset.key
    copies[0].validation.label[:] = 7.0
    assert (copies[1].validation.label == dataset.validation.label).all()
    shared.file.close()


def test_workers_map_the_file_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BSSCALE_CACHE_DIR", str(tmp_path))
    prepared = Dataset.from_arrays(*_arrays())
    dataset = cached("shared", "0" * 32, lambda: prepared)
    dataset.train.read(0, 0, 5)  # (its order is no part of the data)
    [path] = tmp_path.glob("*.safetensors")
    content = path.read_bytes()
    shared = share(dataset)
    assert shared is not None
    assert os.fstat(shared.file.fileno()).st_ino == path.stat().st_ino
    path.unlink()
    [theirs] = [open_shared(shared.pickled, shared.places, os.dup(shared.file.fileno()))]
    assert theirs.key == replace(theirs, prepared_key=None).key == prepared.key
    theirs.train.read(0, 0, 5).label[:] = theirs.validation.label[:] = 7.0
    assert (dataset.validation.label == prepared.validation.label).all()
    assert os.pread(shared.file.fileno(), len(content), 0) == content
    shared.file.close()


def test_one_process_compiles_and_the_others_wait_until_it_has(tmp_path: Path) -> None:
    with one_compiles(str(tmp_path), "a step"):
        [lock] = tmp_path.glob("*.lock")
        with pytest.raises(ConfigError, match="busy"):
            hold(lock, ConfigError("busy", "wait"))
        with one_compiles(str(tmp_path), "another step"):
            pass
    with one_compiles(str(tmp_path), "a step"):  # it is in torch's cache: nobody has to wait
        free = hold(lock, ConfigError("busy", "wait"))
    assert free is not None
    free.release()


def _arrays() -> tuple[Any, ...]:
    dataset = load_dataset(small_config().dataset)
    train = dataset.train.read(0, 0, 2000)
    return dataset.schema, train, dataset.validation, dataset.test


# -- what ends it ----------------------------------------------------------------------------------


class Started:
    """A sweep over two workers that goes on until it is ended."""

    def __init__(self, directory: Path, cache: Path, *arguments: str) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            command(*SWEEP, "workers=2", *arguments), cwd=directory, env=environment(cache),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def wait_for_lines(self, count: int) -> None:
        """Wait until so many evaluations are recorded, or the sweep has ended."""
        while self.process.poll() is None and self._lines() < count:
            time.sleep(0.01)

    def _lines(self) -> int:
        files = list((self.directory / "sweep").glob("*/evals.jsonl"))
        return sum(path.read_bytes().count(b"\n") for path in files)

    @property
    def others(self) -> list[psutil.Process]:
        """Its workers and whatever else it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: int, group: bool = False) -> str:
        """Send a signal, as a terminal does to all of them or to the first process alone."""
        others = self.others
        assert len(others) >= 3  # the fork server and two workers, at least
        (os.killpg if group else os.kill)(self.process.pid, number)
        output, _ = self.process.communicate()
        _, alive = psutil.wait_procs(others, timeout=60)
        assert not alive, [each.cmdline() for each in alive]
        return output


LONG = "budget_passes=100000"


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [
        pytest.param(signal.SIGINT, 130, "interrupted by Ctrl-C", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, None, marks=pytest.mark.slow),
        (signal.SIGKILL, -signal.SIGKILL, None),
    ],
)
def test_a_signal_ends_the_workers_after_their_checkpoints(
    number: int, code: int, reason: str | None, tmp_path: Path, session_cache: Path
) -> None:
    sweep = Started(tmp_path, session_cache, LONG, "checkpoint_interval_samples=4096")
    sweep.wait_for_lines(16)
    output = sweep.end(number, group=number == signal.SIGINT)
    assert sweep.process.returncode == code, output
    assert "Traceback" not in output
    begun = [path.parent for path in (tmp_path / "sweep").glob("*/evals.jsonl")]
    assert len(begun) >= 2
    for directory in begun:
        assert list((directory / "checkpoints").glob("*.safetensors")) or number == signal.SIGKILL
        if reason is not None:
            record = read_run(directory)
            assert (record.status, record.reason) == ("failed", reason)
        else:
            assert not (directory / "run.json").exists()
    if number != signal.SIGKILL:
        assert output.count("the same command with hydra.sweep.dir=") == 1


KILLS = int(os.environ.get("BSSCALE_TEST_KILLS", "3"))


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["the first process", "a worker"])
@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_a_random_moment_it_ends_as_if_undisturbed(
    number: int, victim: str, tmp_path: Path, session_cache: Path, one_process: Path
) -> None:
    # BSSCALE_TEST_KILLS=20 python -m pytest -m slow -o addopts= tests/test_workers.py -k killed
    total = sum(path.read_bytes().count(b"\n") for path in one_process.glob("*/evals.jsonl"))
    sweep = Started(tmp_path, session_cache, "checkpoint_interval_samples=2048")
    sweep.wait_for_lines(random.Random(number).randrange(1, total))
    if sweep.process.poll() is None:
        if victim == "the first process":
            sweep.end(signal.SIGKILL)
        else:
            # (the fork server too: its workers go on without it)
            os.kill(random.Random(number).choice(sweep.others).pid, signal.SIGKILL)
            output, _ = sweep.process.communicate()
            assert sweep.process.returncode == 0, output
    again = Started(tmp_path, session_cache, "checkpoint_interval_samples=2048")
    output, _ = again.process.communicate()
    assert again.process.returncode == 0, output
    assert found(tmp_path / "sweep") == found(one_process)


# -- the command line ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("workers=2",), r"workers=2 with one run(.|\n)*executor=ddp"),
        (("-m", "workers=1,2"), r"workers=2, and another job has workers=1"),
        (("-m", "seed=0,1", "workers=2", "hydra/launcher=basic"), r"workers=2 with hydra/launcher"),
        (("workers=0",), "neither auto nor a number"),
    ],
)
def test_workers_that_change_nothing_are_refused(
    bsscale: Bsscale, arguments: tuple[str, ...], message: str
) -> None:
    done = bsscale(*MLP, *arguments)
    assert done.code == 1 and re.search(message, done.text), done.text
    assert "Traceback" not in done.text


@pytest.mark.slow
def test_the_plan_says_workers_and_stacks(bsscale: Bsscale) -> None:
    done = bsscale("-m", *MLP, "seed=0,1,2,3,4", "workers=2", "dry_run=true")
    assert "workers  2 (asked for): 5 runs in 2 stacks" in done.out, done.text
    plans = [planned(seed=seed) for seed in range(5)]
    assert describe_workers("auto", plans, Devices(0)).startswith("1: this process (auto: little")


def test_data_that_cannot_be_shared_are_loaded_by_each_worker(
    two_workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bsscale.workers.shared.tempfile.TemporaryFile", full)
    runs = specs(tmp_path, {"seed": 0}, {"seed": 1})
    results = two_workers.train(runs, [load_dataset(runs[0].plan.config.dataset)] * 2)
    assert all(isinstance(result, RunRecord) for result in results.values())
    assert "No space left on device" in caplog.text


def test_more_workers_than_devices_are_refused_before_anything_is_written() -> None:
    plan, _ = prepare(small_config())
    on_cuda = replace(plan, device="cuda")
    with pytest.raises(ConfigError, match="workers=9 with 8 CUDA devices"):
        choose_workers(9, [on_cuda], Devices(cuda=8))


def test_the_plan_names_as_many_workers_as_have_work() -> None:
    plans = [prepare(small_config(seed=seed))[0] for seed in range(3)]
    assert describe_workers(8, plans, Devices(cuda=0)).startswith("3 (asked for): 3 runs in 3")
    alone = describe_workers(4, plans[:1], Devices(cuda=0))
    assert alone == "1: this process (there are not several stacks to train)"
