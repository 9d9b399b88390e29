"""What a report offers to copy of an arm that a script has trained."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bsscale.bridge import join
from bsscale.cli.jobs import Job
from bsscale.report.read import find
from bsscale.report.summarize import summarize
from bsscale.report.use import Use, use_of
from bsscale.schedules import from_deepspeed
from bsscale.schedules.options import OneCycleConfig
from tests.bridge.scripts import python, spec, train
from tests.composing import composed, hydra
from tests.conftest import python_path

__all__ = ["hydra"]  # (a fixture)

SCRIPT = """
from bsscale.bridge import join
run = join()
for samples in range(200, 2001, 200):
    step = samples // run.global_batch - 1
    now = {"lr": run.schedule.lr(step), "momentum": run.schedule.momentum(step)}
    if run.report(samples, auc=0.6 + samples / 10_000, **now):
        break
"""


def use(directory: Path) -> Use | None:
    [arm] = summarize(find([directory])).arms
    return use_of(arm)


@pytest.mark.usefixtures("hydra")
def test_its_own_command_trains_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", python_path())
    trainer = {"momentum": 0.9, "samples_per_pass": 1000}
    one = spec(
        tmp_path / "run", python(SCRIPT), trainer, schedule=OneCycleConfig(), seed=3
    )  # fmt: skip
    train([one])
    made = use(tmp_path / "run")
    assert made is not None and made.command is not None
    assert "trainer=script" in made.command and sys.executable in made.command
    words = shlex.split(made.command)
    assert words[:3] == ["python", "-m", "bsscale"]
    plan = Job(composed(*words[3:], "seed=3"), None).plan
    assert plan.training == one.plan.training
    rates = [one.plan.schedule.lr(step) for step in range(100)]
    assert made.deepspeed is not None and made.torch is not None
    assert [from_deepspeed(json.loads(made.deepspeed)).lr(step) for step in range(100)] == rates
    for text in (made.torch, made.lightning, made.hugging_face):
        assert text is not None
        names = run_lines(text)
        scheduler, seen = names["scheduler"], []
        optimizer = scheduler.optimizer
        for _ in range(100):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        assert seen == rates


def run_lines(text: str) -> dict[str, Any]:
    """Run lines that are offered, with what they leave to the user."""
    model = torch.nn.Linear(2, 1)

    def make_optimizer(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=9.0, momentum=0.1)

    names: dict[str, Any] = {
        "make_optimizer": make_optimizer,
        "optimizer": make_optimizer(model.parameters()),
        "model": model,
        "args": None,
        "data": None,
        "Trainer": lambda **given: given["optimizers"],
    }
    exec(text, names)
    if "configure_optimizers" in names:
        names["scheduler"] = names["configure_optimizers"](model)["lr_scheduler"]["scheduler"]
    elif "trainer" in names:
        names["scheduler"] = names["trainer"][1]
    return names


def test_a_script_that_bsscale_has_not_started_has_no_command(tmp_path: Path) -> None:
    run = join(micro_batch=10, base_lr=0.1, budget_samples=100, directory=tmp_path / "run")
    run.report(100, auc=0.6)
    made = use(tmp_path / "run")
    assert made is not None and made.command is None and "0.1" in (made.torch or "")
