"""What the page offers to copy for Lightning and Hugging Face's Trainer, run as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from bsscale.bridge import Run
from bsscale.report.read import find
from bsscale.report.summarize import summarize
from bsscale.report.use import Use, use_of
from tests.ecosystem.rates import BATCH, STEPS, a_model, a_run, assert_follows, rows, used

pytestmark = [pytest.mark.ecosystem, pytest.mark.filterwarnings("ignore")]


def use(directory: Path) -> tuple[Run, Use]:
    run = a_run(directory)
    # (the momentum of an update tells a reader of the records that the cycle moves it)
    first = {"lr": run.schedule.lr(0), "momentum": run.schedule.momentum(0)}
    run.report(run.global_batch, mse=1.0, **first)
    run.close()
    [arm] = summarize(find([directory])).arms
    made = use_of(arm)
    assert made is not None and made.command is None
    return run, made


def make_optimizer(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=9.0, momentum=0.1)


def test_lightning(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")
    run, made = use(tmp_path / "run")
    assert made.lightning is not None
    names: dict[str, Any] = {"make_optimizer": make_optimizer}
    exec(made.lightning, names)
    seen: list[tuple[float, float]] = []

    class Module(lightning.LightningModule):
        configure_optimizers = names["configure_optimizers"]

        def __init__(self) -> None:
            super().__init__()
            self.model = a_model()

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return torch.nn.functional.mse_loss(self.model(batch[0]), batch[1])

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            seen.append(used(optimizer))

    trainer = lightning.Trainer(
        max_steps=STEPS, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(), DataLoader(TensorDataset(*rows()), batch_size=BATCH))
    assert len(seen) == STEPS
    assert_follows(run, seen)


def test_hugging_face(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    run, made = use(tmp_path / "run")
    assert made.hugging_face is not None
    seen: list[tuple[float, float]] = []

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = a_model()

        def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            output = self.model(inputs)
            return {"loss": torch.nn.functional.mse_loss(output, labels), "logits": output}

    class Watch(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, optimizer: Any = None, **__: Any) -> None:
            seen.append(used(names["optimizer"]))

    names: dict[str, Any] = {
        "Trainer": transformers.Trainer,
        "model": Model(),
        "make_optimizer": make_optimizer,
        "args": transformers.TrainingArguments(
            output_dir=str(tmp_path), max_steps=STEPS, per_device_train_batch_size=BATCH,
            use_cpu=True, report_to="none", save_strategy="no", disable_tqdm=True,
            remove_unused_columns=False,
        ),
        "data": [{"inputs": x, "labels": y} for x, y in zip(*rows(), strict=True)],
    }  # fmt: skip
    exec(made.hugging_face, names)
    names["trainer"].add_callback(Watch())
    names["trainer"].train()
    assert len(seen) == STEPS
    assert_follows(run, seen)
