"""Lightning's training loop with everything off that can be switched off, timed from inside."""

from __future__ import annotations

import functools
import logging
import warnings
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Optimizer

from tests.benchmarks.bench_training.contestant import Seconds
from tests.benchmarks.bench_training.model import Batch, Epoch, build_model, build_optimizer

# What hardware there is, what barebones mode switches off, and why fit() stopped.
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")


class Module(LightningModule):
    """The model. It is its own clock: hooks of a module are called anyway, a callback would cost.

    Parameters
    ----------
    micro_batch
        Rows of a batch.
    """

    def __init__(self, micro_batch: int) -> None:
        super().__init__()
        self.model = build_model()
        self.epoch = Epoch(micro_batch)
        self.taken = 0
        self.marks: dict[int, Seconds] = {}

    def fit(self, steps: int, warm_up: int) -> Seconds:
        """Train for `warm_up` and then `steps` steps, and time the latter."""
        self.taken = 0
        self.marks = dict.fromkeys((warm_up, warm_up + steps), Seconds(0, 0))
        trainer = Trainer(barebones=True, accelerator="cpu", devices=1, max_steps=warm_up + steps)
        trainer.fit(self, train_dataloaders=self.epoch)
        start, end = self.marks.values()
        return end.since(start)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        ids, label = batch
        return binary_cross_entropy_with_logits(self.model(ids), label)

    def configure_optimizers(self) -> Optimizer:
        return build_optimizer(self.model)

    def on_train_start(self) -> None:
        self._mark()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.taken += 1
        self._mark()

    def _mark(self) -> None:
        if self.taken in self.marks:
            self.marks[self.taken] = Seconds.now()


built = functools.cache(Module)
