"""Hugging Face's Trainer takes the attached scheduler; Accelerate must not prepare it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from bsscale.bridge import Run
from tests.conftest import python_path
from tests.ecosystem.rates import (
    BATCH,
    STEPS,
    a_model,
    a_run,
    an_optimizer,
    assert_follows,
    rows,
    used,
)

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = [pytest.mark.ecosystem, pytest.mark.filterwarnings("ignore")]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = a_model()

    def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        output = self.model(inputs)
        return {"loss": nn.functional.mse_loss(output, labels), "logits": output}


def train(
    run: Run, seen: list[tuple[float, float]], directory: Path, stop: int, **more: Any
) -> None:
    model = Model()
    optimizer = an_optimizer(model)
    scheduler = run.attach(optimizer)

    class Reports(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            seen.append(used(optimizer))

        def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            samples = state.global_step * run.global_batch
            if state.global_step == stop or (run.due(samples) and run.report(samples, mse=1.0)):
                control.should_training_stop = True
            control.should_save = state.global_step == stop

    inputs, labels = rows()
    data = [{"inputs": x, "labels": y} for x, y in zip(inputs, labels, strict=True)]
    arguments = transformers.TrainingArguments(
        output_dir=str(directory),
        max_steps=STEPS + 10,
        per_device_train_batch_size=BATCH,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    trainer = transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=data,
        optimizers=(optimizer, scheduler),
        callbacks=[Reports()],
    )
    trainer.train(**more)


def test_the_trainer_gives_every_update_the_rate_of_the_schedule(tmp_path: Path) -> None:
    run, seen = a_run(tmp_path / "run"), list[tuple[float, float]]()
    train(run, seen, tmp_path / "out", stop=0)
    assert len(seen) == STEPS and run.status == "exhausted"
    assert_follows(run, seen)


def test_the_trainer_resumes_from_its_own_checkpoint(tmp_path: Path) -> None:
    run, seen = a_run(tmp_path / "run"), list[tuple[float, float]]()
    train(run, seen, tmp_path / "out", stop=25)
    train(run, seen, tmp_path / "out", stop=0, resume_from_checkpoint=True)
    assert len(seen) == STEPS
    assert_follows(run, seen)


ACCELERATED = """
import sys
from pathlib import Path
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset
from bsscale.bridge import join
from tests.ecosystem.rates import BATCH, KEYWORDS, a_model, an_optimizer, assert_follows, rows, used

prepares = sys.argv[1] == "prepared"
accelerator = Accelerator(cpu=True)
run = join(**{**KEYWORDS, "gpus": accelerator.num_processes, "budget_samples": 480 * 2},
           directory=Path(sys.argv[2]))
model = a_model()
optimizer = an_optimizer(model)
scheduler = run.attach(optimizer)
loader = DataLoader(TensorDataset(*rows()), batch_size=BATCH)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
if prepares:
    scheduler = accelerator.prepare(scheduler)
seen, samples = [], 0
for inputs, labels in loader:
    loss = torch.nn.functional.mse_loss(model(inputs), labels)
    accelerator.backward(loss)
    seen.append(used(optimizer.optimizer))
    optimizer.step()
    scheduler.step()
    optimizer.zero_grad()
    samples += run.global_batch
if not prepares:
    assert_follows(run, seen)
assert len(seen) == 30, len(seen)
run.report(samples, mse=1.0)
run.close()
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize("how", ["unprepared", "prepared"])
def test_two_processes_of_accelerate(how: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(ACCELERATED)
    words = [
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(tmp_path / "train.py"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", *words, how, str(tmp_path / "run")],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": python_path(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if how == "unprepared":
        assert done.returncode == 0, done.stderr
    else:  # it takes a step for each process: the report says so
        assert done.returncode != 0
        assert (
            "the attached scheduler has taken 60 steps, and 480 samples are 30 updates"
            in done.stderr
        )
