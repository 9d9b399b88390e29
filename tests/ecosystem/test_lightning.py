"""Lightning: a scheduler with ``"interval": "step"``, and a callback that reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from bsscale.bridge import Run
from bsscale.records.run_record import read_run
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

lightning = pytest.importorskip("lightning")
pytestmark = [
    pytest.mark.ecosystem,
    pytest.mark.filterwarnings("ignore"),  # (its own)
]


def module(run: Run) -> Any:
    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = a_model()

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return torch.nn.functional.mse_loss(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            optimizer = an_optimizer(self.model)
            scheduler = run.attach(optimizer)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
            }

    return Module()


def fit(run: Run, seen: list[tuple[float, float]], steps: int, **options: Any) -> Any:
    class Reports(lightning.Callback):
        def on_before_optimizer_step(self, trainer: Any, _: Any, optimizer: Any) -> None:
            seen.append(used(optimizer))

        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            samples = trainer.global_step * run.global_batch
            if run.due(samples) and run.report(samples, mse=1.0):
                trainer.should_stop = True

    trainer = lightning.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Reports()],
    )
    loader = DataLoader(TensorDataset(*rows()), batch_size=BATCH)
    trainer.fit(module(run), loader, **options)
    return trainer


def test_every_update_has_the_rate_of_the_schedule(tmp_path: Path) -> None:
    run, seen = a_run(tmp_path / "run"), list[tuple[float, float]]()
    fit(run, seen, STEPS + 10)
    assert len(seen) == STEPS and run.status == "exhausted"
    assert_follows(run, seen)
    assert read_run(tmp_path / "run").status == "exhausted"


def test_it_resumes_from_its_own_checkpoint(tmp_path: Path) -> None:
    run, seen = a_run(tmp_path / "run"), list[tuple[float, float]]()
    fit(run, seen, 25).save_checkpoint(tmp_path / "at-25.ckpt")
    fit(run, seen, STEPS, ckpt_path=tmp_path / "at-25.ckpt")
    assert len(seen) == STEPS
    assert_follows(run, seen)
