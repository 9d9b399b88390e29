"""`join`: what a script is told, what it may report, and what becomes of it without a study."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch

from bsscale.bridge import Run, join
from bsscale.bridge.contract import Contract, contract_of, write_contract
from bsscale.errors import BsscaleError, RecordsError, ScriptError
from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import read_run
from bsscale.report.rebuilt import schedule_of
from bsscale.report.summarize import compare
from bsscale.schedules.options import OneCycleConfig
from bsscale.schedules.options.scaling import SqrtRule
from tests.bridge.scripts import spec

RUN = {
    "micro_batch": 10,
    "gpus": 2,
    "base_lr": 0.1,
    "budget_samples": 2000,
    "eval_interval_samples": 200,
    "target": 0.7,
}


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Contract]:
    """Be a script that bsscale has started."""

    def start(**changes: object) -> Contract:
        plan = spec(tmp_path, "true", {"samples_per_pass": 1000}, **changes).plan
        contract = contract_of(plan, "arm", resumed=False)
        write_contract(tmp_path, contract)
        monkeypatch.setenv("BSSCALE_RUN", str(tmp_path))
        return contract

    return start


def test_the_run_of_a_script_that_bsscale_has_started(
    tmp_path: Path, started: Callable[..., Contract]
) -> None:
    started(seed=7, grad_accum=3)
    run = join()
    assert (run.seed, run.gpus, run.micro_batch, run.grad_accum) == (7, 2, 10, 3)
    assert (run.global_batch, run.directory, run.resumed) == (60, tmp_path, False)
    assert (run.metric, run.target, run.budget_samples) == ("auc", 0.7, 2000)


@pytest.mark.parametrize("scaling", [None, SqrtRule()])
def test_its_schedule_is_that_of_the_plan(
    tmp_path: Path, started: Callable[..., Contract], scaling: SqrtRule | None
) -> None:
    options = OneCycleConfig(cycle_first_fraction=0.3, decay_samples=100)
    changes = {"schedule": options, "gpus": 4} | ({} if scaling is None else {"scaling": scaling})
    started(**changes)
    plan = spec(tmp_path, "true", {"samples_per_pass": 1000}, **changes).plan
    assert join().schedule == plan.schedule
    assert join().lr == plan.schedule.lr(0)


def test_it_is_told_when_its_target_is_confirmed(started: Callable[..., Contract]) -> None:
    started()
    run = join()
    told = [run.report(k * 200, auc=value) for k, value in ((1, 0.71), (2, 0.69), (3, 0.7))]
    assert told == [False, False, False] and run.status is None
    assert run.report(800, auc=0.7) and run.status == "reached"
    assert run.report(1000, auc=0.1) and run.status == "reached"  # (nothing more is said)


@pytest.mark.parametrize(
    ("reports", "status"),
    [([(1000, 0.6), (2000, 0.6)], "exhausted"), ([(200, float("nan"))], "diverged")],
)
def test_it_is_told_when_its_budget_is_spent_or_it_has_diverged(
    started: Callable[..., Contract], reports: list[tuple[int, float]], status: str
) -> None:
    started()
    run = join()
    assert [run.report(samples, auc=value) for samples, value in reports][-1]
    assert run.status == status


def test_evaluations_are_due_on_the_grid_of_the_plan(
    tmp_path: Path, started: Callable[..., Contract]
) -> None:
    started(gpus=7, eval_interval_samples=110, budget_samples=1000)
    plan = spec(tmp_path, "true", {}, gpus=7, eval_interval_samples=110, budget_samples=1000).plan
    run = join()
    due = [step for step in range(1, plan.steps + 1) if run.due(step * run.global_batch)]
    wanted, step = [], 0
    while step < plan.steps:
        step = plan.next_evaluation(step)
        wanted.append(step)
    assert due == wanted
    assert run.due(plan.steps * run.global_batch)  # (asked twice)
    resumed = join()
    assert not resumed.due(6 * 70) and resumed.due(7 * 70)


def test_the_attached_rates_are_those_of_the_schedule(started: Callable[..., Contract]) -> None:
    started(schedule=OneCycleConfig(cycle_max_lr=1.0, cycle_min_lr=0.1, cycle_first_samples=400))
    run = join()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=9.0)
    scheduler = run.attach(optimizer)
    for step in range(60):
        assert optimizer.param_groups[0]["lr"] == run.schedule.lr(step)
        optimizer.step()
        scheduler.step()
    assert not run.report(60 * 20, auc=0.6)


@pytest.mark.parametrize("steps", [0, 4, 20])
def test_a_scheduler_that_is_stepped_too_rarely_or_too_often_is_found(
    started: Callable[..., Contract], steps: int
) -> None:
    started()
    run = join()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=9.0)
    scheduler = run.attach(optimizer)
    optimizer.step()
    for _ in range(steps):
        scheduler.step()
    with pytest.raises(ScriptError, match=rf"taken {steps} steps, and 200 samples are 10 updates"):
        run.report(200, auc=0.6)


def test_numbers_of_torch_and_numpy_are_numbers(started: Callable[..., Contract]) -> None:
    started()
    assert not join().report(200, auc=torch.tensor(0.6), log_loss=torch.ones(1).numpy()[0])  # type: ignore[arg-type]


def test_every_process_is_told_what_rank_0_is_told(
    monkeypatch: pytest.MonkeyPatch, started: Callable[..., Contract]
) -> None:
    started()
    told: dict[int, list[bool]] = {}

    def rank(number: int, run: Run) -> None:
        told[number] = [run.report(k * 200, auc=0.1 + 0.2 * k) for k in (1, 2, 3, 4)]

    monkeypatch.setenv("RANK", "1")
    others = [join(), join(rank=2)]
    threads = [threading.Thread(target=rank, args=(run.rank, run)) for run in others]
    for thread in threads:
        thread.start()
    rank(0, join(rank=0))
    for thread in threads:
        thread.join()
    assert told == {rank: [False, False, False, True] for rank in (0, 1, 2)}


def test_a_script_needs_neither_torch_nor_hydra(started: Callable[..., Contract]) -> None:
    started()
    code = (
        "import sys; sys.argv = ['train.py', '--lr', '3']; from bsscale.bridge import join; "
        "run = join(); run.due(200); run.report(200, auc=0.6); run.schedule.lr(3); "
        "print([name for name in ('torch', 'hydra', 'wandb', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_without_a_study_it_writes_the_records_that_a_report_reads(tmp_path: Path) -> None:
    for seed in (0, 1):
        run = join(
            **RUN, arm="mine", seed=seed, schedule="onecycle", samples_per_pass=800,
            settings={"model": "net"}, directory=tmp_path / f"seed-{seed}",
        )  # fmt: skip
        for k in range(1, 11):
            if run.report(
                k * 200, auc=0.5 + k * 0.06 + seed * 0.01, lr=run.schedule.lr(k * 10 - 1)
            ):
                break
    record = read_run(tmp_path / "seed-0")
    assert (record.status, record.trainer, record.arm) == ("reached", "script", "mine")
    assert record.samples_to_target_interval == (600, 800)
    assert [point.samples for point in read_evals(tmp_path / "seed-0")] == [
        200,
        400,
        600,
        800,
        1000,
    ]
    [arm] = compare([tmp_path / "seed-0", tmp_path / "seed-1"]).arms
    assert len(arm.runs) == 2 and schedule_of(arm.runs[0]) == run.schedule
    with pytest.raises(RecordsError, match="already holds a run that has ended"):
        join(**RUN, directory=tmp_path / "seed-0")


def test_without_a_study_a_script_that_ends_leaves_a_record(tmp_path: Path) -> None:
    with join(**RUN, directory=tmp_path / "a") as run:
        run.report(200, auc=0.71)
    record = read_run(tmp_path / "a")
    assert record.status == "reached" and record.samples_to_target_interval == (0, 200)
    with pytest.raises(ZeroDivisionError), join(**RUN, directory=tmp_path / "b") as run:
        run.report(200, auc=0.6)
        _ = 1 / 0
    assert read_run(tmp_path / "b").reason == "ZeroDivisionError: division by zero"
    code = (
        "from bsscale.bridge import join\n"
        f"run = join(**{RUN}, directory={str(tmp_path / 'c')!r})\n"
        "run.report(200, auc=0.6)\n"
        "if run.resumed: raise KeyError('lost')\n"
    )
    for words, status in (("the script ended itself", "exhausted"), ("KeyError: 'lost'", "failed")):
        subprocess.run([sys.executable, "-c", code], capture_output=True)
        record = read_run(tmp_path / "c")
        assert record.status == status and words in record.reason
        (tmp_path / "c" / "run.json").unlink()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"micro_batch": 0}, "join(micro_batch=0) is below 1"),
        ({"schedule": "one_cycle"}, "there is no such schedule"),
        ({"schedule": {"name": "fixed", "peak": 1}}, "there is no such schedule or option"),
        ({"metric": "recall"}, "not a metric that bsscale knows"),
        ({"schedule": "onecycle"}, "the samples of a pass are not known"),
    ],
)
def test_keywords_with_which_no_run_is_possible(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(BsscaleError) as raised:
        join(**{**RUN, "directory": tmp_path / "run", **changes})
    assert words in str(raised.value) and not (tmp_path / "run").exists()


def test_a_description_that_bsscale_did_not_write(
    tmp_path: Path, started: Callable[..., Contract]
) -> None:
    contract = started()
    (tmp_path / "spec.json").unlink()
    with pytest.raises(RecordsError, match=r"there is no .*spec.json, which BSSCALE_RUN names"):
        join()
    write_contract(tmp_path, msgspec.structs.replace(contract, format_version=3))
    with pytest.raises(RecordsError, match="format_version 3"):
        join()
