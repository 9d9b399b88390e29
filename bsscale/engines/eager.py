"""One run by torch's own autograd and optimizers, for any module and any process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from bsscale.data import ArrayStream, Dataset, Samples
from bsscale.data.checks import check_ids
from bsscale.engines.averaged_weights import AveragedWeights
from bsscale.engines.checkpointed import (
    AVERAGE,
    LOSS_COUNT,
    LOSS_SUM,
    MODEL,
    OPTIMIZER,
    RANDOM,
    restore,
)
from bsscale.engines.gradients import GradientSums, unchanged
from bsscale.engines.outputs import HostOutputs, Outputs
from bsscale.engines.row_clipping import RowClipping
from bsscale.engines.squared_norms import GroupOf, Part, SquaredNorms, groups_of, squared_norms
from bsscale.files.checked import Arrays
from bsscale.models import build_model
from bsscale.objectives.torch_form import losses_of
from bsscale.optimizers.groups import torch_optimizer
from bsscale.optimizers.state import OptimizerState
from bsscale.planning.noise_scale import MICRO_BATCHES
from bsscale.planning.plan import Plan
from bsscale.records.checkpoints import Checkpoint
from bsscale.schedules.torch_form import apply_rates

__all__ = ["EagerEngine"]

# The type of the weights and of the optimizer state. With bf16, only activations have lower
# precision.
DTYPES = {"fp32": torch.float32, "fp64": torch.float64, "bf16": torch.float32}
# Rows scored at once; the order of magnitude at which a CPU's cache still holds the activations.
SCORE_ROWS = 8192
# Samples between two returns to the loop, so that the progress bar moves.
CHUNK_SAMPLES = 4096


class EagerEngine:
    """One process that trains the large batch that `gpus` replicas would train together.

    The mean loss over equal shards is the loss over their union, so one batch of
    ``micro_batch x gpus`` samples gives the gradient that data-parallel replicas average.

    Parameters
    ----------
    plan
        Of the runs to come: device, batch and processes are the same for all.
    dataset
        The data to train on.
    rank
        Which of ``plan.processes`` shares this process carries.

    Attributes
    ----------
    width
        Runs at a time: one.
    updates_at_once
        The most updates that `advance` takes.
    """

    width = 1

    def __init__(self, plan: Plan, dataset: Dataset, rank: int = 0) -> None:
        self.rank = rank
        # (of several CUDA devices, the current one: see `training.processes`)
        self.device = (
            torch.device("cuda", torch.cuda.current_device())
            if plan.device == "cuda"
            else torch.device("cpu")
        )
        torch.set_num_threads(plan.config.executor.threads)
        self.dtype = DTYPES[plan.config.precision]
        self._mixed = plan.config.precision == "bf16"
        self.updates_at_once = max(1, CHUNK_SAMPLES // plan.global_batch)
        self._dataset = dataset

    def begin(self, slot: int, plan: Plan, checkpoint: Checkpoint | None = None) -> None:
        """Put a run into the one slot, at its start or where a checkpoint left it."""
        self.plan = plan
        config = plan.config
        self._clip_grad_norm = config.clip_grad_norm
        self._losses = losses_of(plan.objective)
        self._step = 0
        torch.manual_seed(plan.config.seed)
        self._module = build_model(config.model, self._dataset.schema)
        self._module.to(self.device, self.dtype)
        if self.rank > 0:  # ranks draw dropout masks of their own
            torch.manual_seed((plan.config.seed + self.rank * 0x9E3779B97F4A7C15) % 2**63)
        rule = plan.cowclip
        self._row_clipping = None if rule is None else RowClipping(self._module, rule)
        self.optimizer, self._trained = torch_optimizer(self._module, plan.groups)
        named = dict(self._module.named_parameters())
        self._groups = groups_of(self._module, plan.groups)
        self._optimizer_state = OptimizerState(self.optimizer, named)
        self._average = None
        if plan.average is not None:
            self._average = AveragedWeights(self._module, plan.average, plan.global_batch)
        self._forward: nn.Module = self._module
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self._loss_count = 0
        if checkpoint is not None:
            self._restore(checkpoint)

    def state(self, slot: int) -> Arrays:
        """Weights, optimizer state, random states and pending training loss, for a checkpoint.

        The whole state on rank 0, which writes it, and nothing on other ranks.
        """
        ranks = self._states_of_ranks()
        if self.rank > 0:
            return {}
        arrays = {MODEL + name: _array(tensor) for name, tensor in self._named_tensors().items()}
        arrays |= {OPTIMIZER + name: array for name, array in self._optimizer_state.save().items()}
        if self._average is not None:
            own = self._average.values.items()
            arrays |= {AVERAGE + name: _array(tensor) for name, tensor in own}
        for rank, (_, *random) in enumerate(ranks):
            for device, state in zip(("cpu", "cuda"), random, strict=False):
                arrays[f"{RANDOM}{device}.{rank}"] = state
        arrays[LOSS_SUM] = np.concatenate([loss for loss, *_ in ranks])
        arrays[LOSS_COUNT] = np.array(self._loss_count)
        return arrays

    def end(self, slot: int) -> None:
        """Take the run out of its slot."""

    def advance(self, updates: int) -> None:
        """Take that many updates."""
        for _ in range(updates):
            schedule, step = self.plan.schedule, self._step
            lr, momentum = schedule.lr(step), schedule.momentum(step)
            apply_rates(self.optimizer, [group.lr(lr) for group in self._trained], momentum)
            self._update(self._step)
            if self._average is not None:
                self._average.update(self._module, self._step)
            self._step += 1

    def take_train_loss(self, slot: int) -> float | None:
        """Mean training loss since the last call; None if there was no update."""
        if self._loss_count == 0:
            return None
        mean = self._loss_sum / self._loss_count
        self._loss_sum = torch.zeros_like(self._loss_sum)
        self._loss_count = 0
        return self._mean_over_ranks(mean)

    def evaluate(self, samples: Samples) -> Outputs:
        """The run's outputs for `samples`, to be judged; the same on every rank."""
        return HostOutputs(samples.label, self.score(samples), samples.weight)

    def score(self, samples: Samples) -> npt.NDArray[np.float64]:
        """Logits of `samples`, shape (1, n), the same on every rank."""
        with nullcontext() if self._average is None else self._average.put_into(self._module):
            return self._score(samples)[np.newaxis]

    def squared_norms(self, slot: int) -> SquaredNorms:
        """The squared norms of the gradients of the coming micro-batches, by parameter group."""
        micro_batch, processes = self.plan.config.micro_batch, self.plan.processes
        first = self._step * self.plan.global_batch
        sums = GradientSums(self._module)
        with unchanged(self._module, self.device):
            self._module.train()
            for index in range(self.rank, self._passes(), processes):
                start = first + index * micro_batch
                loss = self._loss(self._read(start, start + micro_batch), self._module)
                sums.add(loss, counted=index < MICRO_BATCHES)
        self._add_sums_over_ranks(sums)
        parts = (
            Part(group, sums_of, self._second_moment(parameter, group))
            for name, parameter, sums_of in sums.by_parameter()
            for group in (self._groups[name],)
        )
        return squared_norms(parts, MICRO_BATCHES, self._step)

    def model(self, slot: int) -> nn.Module:
        """The run's module."""
        return self._module if self._average is None else self._average.copied_into(self._module)

    def close(self) -> None:
        """Release what other processes wait for."""

    def _restore(self, checkpoint: Checkpoint) -> None:
        arrays = checkpoint.arrays
        self._step = checkpoint.step
        constant = {name for name, _ in self._module.named_buffers()}  # in stacked runs
        for name, tensor in self._named_tensors().items():
            restore(tensor, arrays, MODEL + name, optional=name in constant)
        if self._average is not None:
            for name, tensor in self._average.values.items():
                restore(tensor, arrays, AVERAGE + name)
        own = {
            key.removeprefix(OPTIMIZER): arrays[key] for key in arrays if key.startswith(OPTIMIZER)
        }
        self._optimizer_state.load(own)
        if self.plan.config.optimizer.stackable:
            for name, parameter in self._module.named_parameters():
                state = self.optimizer.state[parameter]
                if state and "momentum_buffer" not in state and f"{name}.step" not in own:
                    state["step"] = torch.tensor(float(checkpoint.step))  # stacks count for all
        sums = arrays[LOSS_SUM]
        own = sums[self.rank] if len(sums) == self.plan.processes else sums.mean()
        self._loss_sum.fill_(float(own))
        self._loss_count = int(arrays[LOSS_COUNT])
        # Restore the random states last, because earlier steps may draw random numbers. With
        # another number of ranks, they are not restored.
        if (state := arrays.get(f"{RANDOM}cpu.{self.rank}")) is not None:
            torch.set_rng_state(torch.from_numpy(state))
        if self.device.type == "cuda":
            state = arrays.get(f"{RANDOM}cuda.{self.rank}")
            if state is not None:
                torch.cuda.set_rng_state(torch.from_numpy(state), self.device)

    def _named_tensors(self) -> dict[str, Tensor]:
        return {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}

    def _states_of_ranks(self) -> list[list[npt.NDArray[Any]]]:
        """For each rank the sum of its training loss, and the states of its random numbers."""
        return [[_array(each) for each in self._own_state()]]

    def _own_state(self) -> list[Tensor]:
        own = [self._loss_sum.reshape(1).cpu(), torch.get_rng_state()]
        if self.device.type == "cuda":
            own.append(torch.cuda.get_rng_state(self.device))
        return own

    def _update(self, step: int) -> None:
        self._forward.train()
        self.optimizer.zero_grad(set_to_none=True)
        if self._row_clipping is not None:
            self._row_clipping.open()
        for samples, synchronize in self._shares(step):
            with synchronize:
                loss = self._loss(samples, self._forward)
                (loss / self.plan.config.grad_accum).backward()  # type: ignore[no-untyped-call]
            self._loss_sum += loss.detach()
            self._loss_count += 1
        if self._row_clipping is not None:
            self._row_clipping.clip(self._add_over_ranks)
        if self._clip_grad_norm is not None:
            clip_grad_norm_(self._module.parameters(), self._clip_grad_norm)
        self.optimizer.step()

    def _score(self, samples: Samples) -> npt.NDArray[np.float64]:
        samples.verify()
        self._module.eval()
        logits = np.empty(len(samples))
        with torch.inference_mode(), self._autocast():
            for start in range(0, len(samples), SCORE_ROWS):
                categorical, numeric, _ = self._tensors(samples[start : start + SCORE_ROWS])
                part = self._module(categorical, numeric)
                # (NumPy has no bfloat16)
                logits[start : start + SCORE_ROWS] = part.double().reshape(-1).cpu().numpy()
        return logits

    def _shares(self, step: int) -> Iterator[tuple[Samples, AbstractContextManager[None]]]:
        """The samples of each forward pass of one update, in stream order; this process's share."""
        plan = self.plan
        rows = plan.config.micro_batch * plan.replicas_per_device
        for index in range(plan.config.grad_accum):
            first = step * plan.global_batch + index * plan.config.micro_batch * plan.gpus
            start = first + self.rank * rows
            samples = self._read(start, start + rows)
            yield samples, self._synchronization(last=index == plan.config.grad_accum - 1)

    def _read(self, start: int, stop: int) -> Samples:
        """The run's training samples at some positions of its stream."""
        samples = self._dataset.train.read(self.plan.config.seed, start, stop)
        if not isinstance(self._dataset.train, ArrayStream):  # (checked when it was loaded)
            check_ids("train", samples, self._dataset.schema)
        return samples

    def _second_moment(self, parameter: Tensor, group: GroupOf) -> Tensor | None:
        kind, state = group.optimizer.second_moment, self.optimizer.state
        if kind is None or parameter not in state:
            return None
        moment: Tensor | None = state[parameter].get(kind)
        return moment

    def _passes(self) -> int:
        """Micro-batches of a measurement of gradients, over all processes."""
        return MICRO_BATCHES

    def _add_sums_over_ranks(self, sums: GradientSums) -> None:
        """Add what the other processes of the run have summed."""

    def _add_over_ranks(self, tensor: Tensor) -> None:
        """Add the same tensor of the other processes of the run, in place."""

    def _synchronization(self, last: bool) -> AbstractContextManager[None]:
        return nullcontext()

    def _mean_over_ranks(self, value: Tensor) -> float:
        return float(value)

    def _loss(self, samples: Samples, forward: nn.Module) -> Tensor:
        categorical, numeric, label = self._tensors(samples)
        with self._autocast():
            logits = forward(categorical, numeric).reshape(label.shape)  # (from (n, 1))
            # In the precision of the label: in bfloat16 a mean over a batch has two digits.
            losses = self._losses(logits.to(label.dtype), label)
            if samples.weight is None:
                return losses.mean()
            # (divided by the number of samples, so that the shares of processes add up)
            return (losses * torch.from_numpy(samples.weight).to(losses)).mean()

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self._mixed else nullcontext()

    def _tensors(self, samples: Samples) -> tuple[Tensor, Tensor, Tensor]:
        return (
            torch.from_numpy(samples.categorical).to(self.device),
            torch.from_numpy(samples.numeric).to(self.device, self.dtype),
            torch.from_numpy(samples.label).to(self.device, self.dtype),
        )


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = tensor.detach().cpu().numpy()
    return array
