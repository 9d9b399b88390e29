"""The training of many runs at once, in one process and on one device."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bsscale.data import ArrayStream, Dataset, Samples
from bsscale.data.checks import check_ids
from bsscale.engines.checkpointed import AVERAGE, LOSS_COUNT, LOSS_SUM, MODEL, OPTIMIZER, restore
from bsscale.engines.outputs import HostOutputs, Outputs
from bsscale.engines.squared_norms import GroupOf, Part, SquaredNorms, groups_of, squared_norms
from bsscale.engines.stacked.ahead import moved
from bsscale.engines.stacked.compiling import check_stackable, compiling
from bsscale.engines.stacked.device_use import DEVICE_USE
from bsscale.engines.stacked.feed import Batches, Feed, send
from bsscale.engines.stacked.graphs import UPDATES, Blocks, Inputs
from bsscale.engines.stacked.held_out import DeviceOutputs, HeldOut
from bsscale.engines.stacked.rates import coefficients
from bsscale.engines.stacked.steps import CompiledStep, LayersStep, Step
from bsscale.engines.stacked.train_losses import TrainLosses
from bsscale.engines.stacked.vectors import by_blocks, weighted
from bsscale.errors import NotStackableError
from bsscale.files.checked import Arrays
from bsscale.models import build_model
from bsscale.models.values_left_out import values_left_out
from bsscale.objectives.torch_form import losses_of
from bsscale.optimizers.optimizer import Floats
from bsscale.planning.noise_scale import MICRO_BATCHES
from bsscale.planning.plan import Plan
from bsscale.records.checkpoints import Checkpoint

__all__ = ["StackedEngine"]

DTYPES = {"fp32": torch.float32, "fp64": torch.float64}
MOST_UPDATES = 256


@dataclass
class _Slot:
    """A run in its slot, the groups of its parameters, its updates, and those of its loss."""

    plan: Plan
    groups: Mapping[str, GroupOf]
    step: int = 0
    losses: int = 0


class StackedEngine:
    """`width` runs that differ in seed, schedule, rates and target, trained together.

    Each run has its own slot and does not depend on the others: all tensors have a leading
    dimension of `width`, whatever the slots hold, and every operation is independent along it.
    Empty slots are computed as well, with rates of zero.

    Parameters
    ----------
    plan
        Of any of the runs: model, optimizer, clipping, batch, precision and device are the same
        for all.
    dataset
        The data to train on.
    width
        Number of slots.

    Raises
    ------
    NotStackableError
        If the model cannot be trained this way.
    torch.OutOfMemoryError
        If so many runs do not fit on the device.

    Attributes
    ----------
    updates_at_once
        The most updates that `advance` takes.
    """

    def __init__(self, plan: Plan, dataset: Dataset, width: int = 1) -> None:
        self.width = width
        self.device = torch.device(plan.device)
        self.dtype = DTYPES[plan.config.precision]
        torch.set_num_threads(plan.config.executor.threads)
        self._use = use = DEVICE_USE[plan.device]
        sample_bytes = 4 * len(dataset.schema.categorical)
        sample_bytes += self.dtype.itemsize * (len(dataset.schema.numeric) + 1)
        gathered = min(use.gathered_samples, use.gathered_bytes // sample_bytes)
        updates = min(gathered // (width * plan.global_batch), MOST_UPDATES)
        if use.accelerator and updates > UPDATES:
            updates -= updates % UPDATES
        self.updates_at_once = max(1, updates)
        self._score_rows = max(1, use.scored_rows // width if use.accelerator else use.scored_rows)

        self._dataset, self._plan = dataset, plan
        self._losses = losses_of(plan.objective)
        # The layers read its names and shapes only.
        with values_left_out() if plan.training_step == "layers" else nullcontext():
            self._module = self._build(plan, seed=0)
        self._held_out: dict[int, HeldOut] = {}
        self._slots: dict[int, _Slot] = {}
        self._loss_sums = TrainLosses(width)
        self._step: Step
        self._blocks: Blocks | None = None
        self._feed = Feed(
            dataset.train,
            dataset.schema,
            width,
            plan.global_batch,
            self.device,
            self.dtype,
            ahead=self.updates_at_once if use.accelerator else 0,
        )
        try:
            self._prepare(plan)
        except BaseException:
            self._feed.close()
            raise

    def begin(self, slot: int, plan: Plan, checkpoint: Checkpoint | None = None) -> None:
        """Put a run into a slot, at its start or where a checkpoint left it."""
        with self._step.place(slot):
            module = self._build(plan, plan.config.seed)
        self._step.parameters.load(slot, module)
        if self._step.averages is not None:
            self._step.averages.load(slot, module)
        self._step.updates.clear(slot)
        self._loss_sums[slot] = 0.0
        self._slots[slot] = run = _Slot(plan, groups_of(self._module, plan.groups))
        if checkpoint is not None:
            arrays = checkpoint.arrays
            for name, tensor in self._tensors(slot).items():
                restore(tensor, arrays, name, optional=name.startswith(OPTIMIZER))
            self._loss_sums[slot] = float(arrays[LOSS_SUM].mean())
            run.step, run.losses = checkpoint.step, int(arrays[LOSS_COUNT])

    def state(self, slot: int) -> Arrays:
        """A run's weights, optimizer state and pending training loss, for a checkpoint."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in self._tensors(slot).items()}
        arrays[LOSS_SUM] = np.array([self._loss_sums[slot]])
        arrays[LOSS_COUNT] = np.array(self._slots[slot].losses)
        return arrays

    def end(self, slot: int) -> None:
        """Take a run out of its slot, which goes on empty."""
        del self._slots[slot]
        self._clear(slot)

    @torch.no_grad()
    def advance(self, updates: int) -> None:
        """Take that many updates, at most `updates_at_once`, in every slot."""
        # The momentum of untouched rows decays to denormal numbers, and CPUs multiply these tens of
        # times more slowly. Setting them to 0 makes no difference. The mode is set only here,
        # because it applies to the whole thread, and metrics and schedules must stay exact.
        torch.set_flush_denormal(True)
        try:
            self._advance(updates)
        finally:
            torch.set_flush_denormal(False)

    def _advance(self, updates: int) -> None:
        inputs = self._inputs(updates)
        if self._blocks is None:
            means = self._mean_losses(*self._take(inputs))
        else:
            block = self._blocks.updates
            parts = []
            for start in range(0, updates, block):
                losses = self._mean_losses(
                    *self._blocks.take([each[start : start + block] for each in inputs])
                )
                parts.append(losses[: updates - start])
            means = torch.cat(parts)
        self._loss_sums.add(means)
        for slot in self._slots.values():
            slot.step += updates
            slot.losses += updates

    def _inputs(self, updates: int) -> list[Tensor]:
        """What the next updates read: their samples, then their coefficients."""
        positions = {
            number: (slot.plan.config.seed, slot.step) for number, slot in self._slots.items()
        }
        runs = {number: (slot.plan, slot.step) for number, slot in self._slots.items()}
        averaged = self._step.averages is not None
        of_updates = coefficients(self._step.updates, runs, self.width, updates, averaged)
        return [*self._feed.inputs(positions, updates), self._sent(of_updates)]

    def _take(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """Take some updates; gives their logits, labels and weights, (updates, width, batch)."""
        *samples, rates = inputs
        batches = self._feed.batches(samples)
        logits = [self._step.update(batches[k], rates[k]) for k in range(len(rates))]
        return torch.stack(logits), *batches.targets

    def _mean_losses(self, logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
        """The mean loss of each run's update, float64, shape (updates, width)."""
        losses = weighted(by_blocks(self._losses, logits, label), weight)
        return losses.mean(dim=2).to(torch.float64)

    def take_train_loss(self, slot: int) -> float | None:
        """A run's mean training loss since the last call; None if there was no update."""
        run = self._slots[slot]
        if run.losses == 0:
            return None
        mean = self._loss_sums[slot] / run.losses
        self._loss_sums[slot] = 0.0
        run.losses = 0
        return mean

    @torch.no_grad()
    def evaluate(self, samples: Samples) -> Outputs:
        """The outputs of every slot for `samples`, to be judged; empty slots give any."""
        held_out = self._on_device(samples)
        outputs = self._outputs(held_out)
        if self._use.accelerator:
            return DeviceOutputs(held_out, outputs)
        return HostOutputs(samples.label, outputs.to(torch.float64).numpy(), samples.weight)

    @torch.no_grad()
    def score(self, samples: Samples) -> npt.NDArray[np.float64]:
        """Logits of `samples`, shape (width, n), all runs together; empty slots give any."""
        outputs = self._outputs(self._on_device(samples))
        scores: npt.NDArray[np.float64] = outputs.to(torch.float64).cpu().numpy()
        return scores

    @torch.no_grad()
    def squared_norms(self, slot: int) -> SquaredNorms:
        """The squared norms of the gradients of a run's coming micro-batches, by group."""
        run, parameters, updates = self._slots[slot], self._step.parameters, self._step.updates
        plan, train = run.plan, self._dataset.train
        first = run.step * plan.global_batch
        last = first + MICRO_BATCHES * plan.config.micro_batch
        samples = train.read(plan.config.seed, first, last)
        if not isinstance(train, ArrayStream):  # (checked when it was loaded)
            check_ids("train", samples, self._dataset.schema)
        batches = Batches.of(samples, self.device, self.dtype).parts(MICRO_BATCHES)
        parts = []
        sums = self._step.gradient_sums(slot, batches)
        for names, of_tensor, states in zip(parameters.names, sums, updates.state, strict=True):
            if names:  # (a model may have embedding tables only)
                group = run.groups[names[0]]
                kind = group.optimizer.second_moment
                moment = None if kind is None else states[updates.states.index(kind)][slot]
                parts.append(Part(group, of_tensor, moment))
        return squared_norms(parts, MICRO_BATCHES, run.step)

    def model(self, slot: int) -> nn.Module:
        """A run's module as it is now; valid until the next call."""
        (self._step.averages or self._step.parameters).store(slot, self._module)
        return self._module

    def close(self) -> None:
        """End the threads that read samples in advance."""
        self._feed.close()

    def _tensors(self, slot: int) -> dict[str, Tensor]:
        """A slot's share of the stacked tensors, by their names in a checkpoint."""
        parameters, updates = self._step.parameters, self._step.updates
        tensors = {MODEL + name: value[slot] for name, value in parameters.values.items()}
        if self._step.averages is not None:
            averages = self._step.averages.values
            tensors |= {AVERAGE + name: value[slot] for name, value in averages.items()}
        for k, state in enumerate(updates.states):
            of_all = parameters.views([states[k] for states in updates.state])
            tensors |= {f"{OPTIMIZER}{n}.{state}": value[slot] for n, value in of_all.items()}
        return tensors

    def _on_device(self, samples: Samples) -> HeldOut:
        if id(samples) not in self._held_out:
            self._held_out[id(samples)] = HeldOut(
                samples, self.device, self.dtype, self._plan.objective
            )
        return self._held_out[id(samples)]

    def _outputs(self, held_out: HeldOut) -> Tensor:
        rows = self._score_rows
        parts = [
            self._step.score(held_out.batches[start : start + rows])
            for start in range(0, len(held_out.samples), rows)
        ]
        return torch.cat(parts, dim=1)

    def _prepare(self, plan: Plan) -> None:
        """Make the step, ready to go: compiled, captured, and known to fit on the device."""
        arguments = (
            self._module,
            self.width,
            plan.objective,
            plan.groups,
            self.device,
            self.dtype,
            plan.config.clip_grad_norm,
            plan.cowclip,
            plan.average is not None,
        )
        if plan.training_step == "layers":
            self._step = LayersStep(*arguments)
            if self._use.accelerator:
                self._rehearse()
            return
        few = Batches.of(self._dataset.train.read(0, 0, 8), self.device, self.dtype)
        check_stackable(self._module, self._build(plan, seed=1), plan.objective, few)
        with compiling(plan, self.width):
            self._step = step = CompiledStep(*arguments)
            batch, rates = self._rehearse()
        if not step.agrees(self._module, batch, rates):
            raise NotStackableError("torch.compile computes other gradients of it than torch")

    @torch.no_grad()
    def _rehearse(self) -> tuple[Batches, Tensor]:
        """Compile, capture and allocate, before any run is in the stack.

        On an accelerator everything has its real size, so that what does not fit is found now.

        Returns
        -------
        A batch of one update, and its coefficients, which change no parameter.
        """
        start = {0: (0, 0)}
        averaged = self._step.averages is not None
        rates = self._sent(coefficients(self._step.updates, {}, self.width, 1, averaged))
        batch = self._feed.read(start, 1)[0]
        self._step.update(batch, rates[0])
        if self._use.accelerator:
            block = min(UPDATES, self.updates_at_once)
            of_block = rates.expand(block, *rates.shape[1:]).contiguous()
            self._blocks = Blocks(self._take, [*self._feed.read_inputs(start, block), of_block])
            for chunk in range(2):
                positions = moved(start, chunk * self.updates_at_once)
                self._feed.inputs(positions, self.updates_at_once)
            for split in (self._dataset.validation, self._dataset.test):
                self.evaluate(split)
        else:
            rows = min(self._score_rows, self._dataset.train.samples_per_pass)
            few = self._dataset.train.read(0, 0, rows)
            self._step.score(Batches.of(few, self.device, self.dtype))
        for slot in range(self.width):
            self._clear(slot)
        return batch, rates[0]

    def _sent(self, values: Floats) -> Tensor:
        return send(torch.from_numpy(values).to(self.dtype), self.device)

    def _build(self, plan: Plan, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return build_model(plan.config.model, self._dataset.schema).to(self.device, self.dtype)

    def _clear(self, slot: int) -> None:
        self._step.parameters.clear(slot)
        if self._step.averages is not None:
            self._step.averages.clear(slot)
        self._step.updates.clear(slot)
