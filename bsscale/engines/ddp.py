"""The same training step over many processes: torch's DistributedDataParallel."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from bsscale.data import Samples
from bsscale.engines.eager import EagerEngine
from bsscale.engines.gradients import GradientSums
from bsscale.engines.trial import tried, without_gradient
from bsscale.planning.noise_scale import MICRO_BATCHES
from bsscale.planning.plan import Plan
from bsscale.planning.training_step import ships
from bsscale.records.checkpoints import Checkpoint

__all__ = ["DDPEngine"]


class DDPEngine(EagerEngine):
    """One of ``plan.processes`` ranks, each on its own device.

    Its process group must exist (see `bsscale.training.processes`). Gradients are averaged by
    DistributedDataParallel; scores are gathered, so that every rank sees the same ones.
    """

    def begin(self, slot: int, plan: Plan, checkpoint: Checkpoint | None = None) -> None:
        super().begin(slot, plan, checkpoint)
        self._forward = DistributedDataParallel(
            self._module,
            device_ids=[self.device] if plan.device == "cuda" else None,
            find_unused_parameters=not ships(plan.config.model) and self._has_unused_parameters(),
        )

    def _has_unused_parameters(self) -> bool:
        """Whether the gradient of a parameter is not to be waited for; the same on every rank."""
        categorical, numeric, _ = self._tensors(self._dataset.train.read(0, 0, 8))
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), self._autocast():
            torch.manual_seed(0)
            return bool(without_gradient(tried(self._module, categorical, numeric)))

    def close(self) -> None:
        # Gloo can hang or abort if the process group is destroyed before the DDP object.
        if hasattr(self, "_module"):  # (a model that cannot be built leaves none)
            self._forward = self._module
        gc.collect()

    def _score(self, samples: Samples) -> npt.NDArray[np.float64]:
        # Shards differ by at most one row. Only the exchange buffers are padded to one length; no
        # sample is scored twice.
        bounds = np.linspace(0, len(samples), self.plan.processes + 1).astype(int)
        own = super()._score(samples[bounds[self.rank] : bounds[self.rank + 1]])
        longest = int(np.max(np.diff(bounds)))
        buffer = torch.zeros(longest, dtype=torch.float64, device=self.device)
        buffer[: len(own)] = torch.from_numpy(own)
        shards = zip(self._gather(buffer), np.diff(bounds), strict=True)
        return np.concatenate([shard[:rows].cpu().numpy() for shard, rows in shards])

    def _gather(self, tensor: Tensor) -> list[Tensor]:
        gathered = [torch.empty_like(tensor) for _ in range(self.plan.processes)]
        dist.all_gather(gathered, tensor)
        return gathered

    def _states_of_ranks(self) -> list[list[npt.NDArray[Any]]]:
        of_ranks = [self._gather(each) for each in self._own_state()]
        return [[each.numpy() for each in of_rank] for of_rank in zip(*of_ranks, strict=True)]

    def _passes(self) -> int:
        # A model of the user's own may communicate in its forward pass, so that every rank makes as
        # many.
        if ships(self.plan.config.model):
            return MICRO_BATCHES
        return -(-MICRO_BATCHES // self.plan.processes) * self.plan.processes

    def _add_sums_over_ranks(self, sums: GradientSums) -> None:
        flat = parameters_to_vector(sums.tensors)
        self._add_over_ranks(flat)
        vector_to_parameters(flat, sums.tensors)

    def _add_over_ranks(self, tensor: Tensor) -> None:
        dist.all_reduce(tensor)

    def _synchronization(self, last: bool) -> AbstractContextManager[None]:
        forward = self._forward
        assert isinstance(forward, DistributedDataParallel)
        return nullcontext() if last else forward.no_sync()

    def _mean_over_ranks(self, value: Tensor) -> float:
        dist.all_reduce(value)
        return float(value) / self.plan.processes
