"""The interface between the training loop and an engine."""

from __future__ import annotations

from typing import Any, Protocol

from bsscale.data import Samples
from bsscale.engines.outputs import Outputs
from bsscale.engines.squared_norms import SquaredNorms
from bsscale.files.checked import Arrays
from bsscale.planning.plan import Plan
from bsscale.records.checkpoints import Checkpoint

__all__ = ["Engine"]


class Engine(Protocol):
    """Models, optimizers and training data of the runs in its slots."""

    @property
    def width(self) -> int:
        """Runs at a time."""
        ...

    @property
    def updates_at_once(self) -> int:
        """The most updates that one `advance` takes."""
        ...

    def begin(self, slot: int, plan: Plan, checkpoint: Checkpoint | None = None) -> None:
        """Put a run into a slot, at its start or where a checkpoint left it."""
        ...

    def advance(self, updates: int) -> None:
        """Take so many updates in every slot."""
        ...

    def take_train_loss(self, slot: int) -> float | None:
        """Mean training loss since the last call."""
        ...

    def evaluate(self, samples: Samples) -> Outputs:
        """The outputs of every slot, to be judged."""
        ...

    def squared_norms(self, slot: int) -> SquaredNorms:
        """The squared norms of the gradients of the coming micro-batches of a run.

        They are those of the run's weights as they are now. The samples stay to be trained on,
        and nothing of the run changes. All processes of a run call it together.
        """
        ...

    def model(self, slot: int) -> Any:
        """The module as it is now."""
        ...

    def state(self, slot: int) -> Arrays:
        """The state for a checkpoint of the run; all processes of a run call it together."""
        ...

    def end(self, slot: int) -> None:
        """Take a run out of its slot."""
        ...

    def close(self) -> None:
        """End threads, and release what other processes wait for."""
        ...
