"""The training of many runs at once, in one process and on one device."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bsscale.data import Dataset, Samples
from bsscale.engines.checkpointed import LOSS_COUNT, LOSS_SUM, MODEL, OPTIMIZER, restore
from bsscale.engines.stacked.feed import Batches, Feed
from bsscale.engines.stacked.functional import why_not_stackable
from bsscale.engines.stacked.graphs import UPDATES, GraphedUpdates
from bsscale.engines.stacked.steps import (
    CompiledStep,
    LayersStep,
    Step,
    use_compile_cache,
)
from bsscale.engines.stacked.vectors import by_blocks
from bsscale.errors import NotStackableError
from bsscale.files.checked import Arrays
from bsscale.models import build_model
from bsscale.objectives.torch_form import losses_of
from bsscale.planning.plan import Plan
from bsscale.records.checkpoints import Checkpoint

__all__ = ["StackedEngine"]

log = logging.getLogger(__name__)

DTYPES = {"fp32": torch.float32, "fp64": torch.float64}
# Samples of all runs that are gathered together: as many as fit in a CPU's cache; more on a GPU.
GATHERED_SAMPLES = {"cpu": 1 << 15, "cuda": 1 << 20}
# Rows of each run that are scored at once on a CPU: as many at every width, because a product of
# another shape may round otherwise. Rows of all runs on a GPU.
SCORED_ROWS = {"cpu": 1 << 10, "cuda": 1 << 19}
MOST_UPDATES = 256


@dataclass
class _Slot:
    """A run in its slot, its updates, and its updates since its loss was last read."""

    plan: Plan
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
        updates = GATHERED_SAMPLES[plan.device] // (width * plan.global_batch)
        self.updates_at_once = max(1, min(updates, MOST_UPDATES))
        if plan.device == "cuda" and self.updates_at_once > UPDATES:
            self.updates_at_once -= self.updates_at_once % UPDATES
        rows = SCORED_ROWS[plan.device]
        self._score_rows = rows if plan.device == "cpu" else max(1, rows // width)

        self._dataset, self._losses = dataset, losses_of(plan.objective)
        self._module = self._build(plan, seed=0)
        self._feed = Feed(dataset.train, width, plan.global_batch, self.device, self.dtype)
        self._held_out: dict[int, tuple[Samples, Batches]] = {}
        self._slots: dict[int, _Slot] = {}
        self._loss_sums = torch.zeros(width, dtype=torch.float64, device=self.device)
        self._graph: GraphedUpdates | None = None
        self._step = self._prepare(plan)

    def begin(self, slot: int, plan: Plan, checkpoint: Checkpoint | None = None) -> None:
        """Put a run into a slot, at its start or where a checkpoint left it."""
        self._step.parameters.load(slot, self._build(plan, plan.config.seed))
        self._step.updates.clear(slot)
        self._loss_sums[slot] = 0.0
        self._slots[slot] = run = _Slot(plan)
        if checkpoint is not None:
            arrays = checkpoint.arrays
            for name, tensor in self._tensors(slot).items():
                restore(tensor, arrays, name, optional=name.startswith(OPTIMIZER))
            self._loss_sums[slot] = float(arrays[LOSS_SUM].mean())
            run.step, run.losses = checkpoint.step, int(arrays[LOSS_COUNT])

    def state(self, slot: int) -> Arrays:
        """A run's weights, optimizer state and pending training loss, for a checkpoint."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in self._tensors(slot).items()}
        arrays[LOSS_SUM] = self._loss_sums[slot : slot + 1].cpu().numpy()
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
        positions = {
            number: (slot.plan.config.seed, slot.step) for number, slot in self._slots.items()
        }
        batches = self._feed.read(positions, updates)
        coefficients = self._coefficients(updates)
        parts, done = [], 0
        while self._graph is not None and updates - done >= UPDATES:
            chunk = slice(done, done + UPDATES)
            parts.append(self._graph.replay(batches[chunk], coefficients[chunk]).clone())
            done += UPDATES
        parts += [
            self._step.update(batches[k], coefficients[k]).unsqueeze(0)
            for k in range(done, updates)
        ]
        of_samples = by_blocks(self._losses, torch.cat(parts), batches.label)
        # Sum the losses one by one. Then the sum does not depend on how the updates were divided
        # into calls of `advance`, which depends on the evaluations of all runs.
        means = of_samples.mean(dim=2).to(torch.float64)
        self._loss_sums = torch.cat([self._loss_sums.unsqueeze(0), means]).cumsum(dim=0)[-1]
        for slot in self._slots.values():
            slot.step += updates
            slot.losses += updates

    def take_train_loss(self, slot: int) -> float | None:
        """A run's mean training loss since the last call; None if there was no update."""
        run = self._slots[slot]
        if run.losses == 0:
            return None
        mean = float(self._loss_sums[slot]) / run.losses
        self._loss_sums[slot] = 0.0
        run.losses = 0
        return mean

    @torch.no_grad()
    def score(self, samples: Samples) -> npt.NDArray[np.float64]:
        """Logits of `samples`, shape (width, n), all runs together; empty slots give any."""
        if id(samples) not in self._held_out:
            on_device = Batches.of(samples, self.device, self.dtype)
            self._held_out[id(samples)] = (samples, on_device)
        _, held_out = self._held_out[id(samples)]
        parts = [
            self._step.score(held_out[start : start + self._score_rows])
            for start in range(0, len(samples), self._score_rows)
        ]
        return torch.cat(parts, dim=1).to(torch.float64).cpu().numpy()

    def model(self, slot: int) -> nn.Module:
        """A run's module as it is now; valid until the next call."""
        self._step.parameters.store(slot, self._module)
        return self._module

    def close(self) -> None:
        """Release what other processes wait for: nothing."""

    def _tensors(self, slot: int) -> dict[str, Tensor]:
        """A slot's share of the stacked tensors, by their names in a checkpoint."""
        parameters, updates = self._step.parameters, self._step.updates
        tensors = {MODEL + name: value[slot] for name, value in parameters.values.items()}
        for k, state in enumerate(updates.states):
            of_all = parameters.views([states[k] for states in updates.state])
            tensors |= {f"{OPTIMIZER}{n}.{state}": value[slot] for n, value in of_all.items()}
        return tensors

    def _prepare(self, plan: Plan) -> Step:
        """The step, ready to go: compiled, captured, and known to fit on the device."""
        config = plan.config
        arguments = (
            self._module,
            self.width,
            plan.objective,
            plan.groups,
            self.device,
            self.dtype,
            config.clip_grad_norm,
        )
        if plan.training_step == "layers":
            step: Step = LayersStep(*arguments)
            if plan.device == "cuda":
                self._rehearse(step, plan)
            return step
        cache = use_compile_cache()
        few = Batches.of(self._dataset.train.read(0, 0, 8), self.device, self.dtype)
        reason = why_not_stackable(
            self._module,
            self._build(plan, seed=1),
            plan.objective,
            few.categorical,
            few.numeric,
            few.label,
        )
        if reason is not None:
            raise NotStackableError(reason)
        log.info(
            "compiling the training step of %s for %d runs x %s samples: up to half a minute the "
            "first time; later starts reuse %s",
            config.model.get("name"),
            self.width,
            f"{plan.global_batch:,}",
            cache,
        )
        started = time.perf_counter()
        step = compiled = CompiledStep(*arguments)
        try:
            with warnings.catch_warnings():  # torch's compiler uses what torch deprecates
                warnings.simplefilter("ignore", DeprecationWarning)
                self._rehearse(step, plan)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            # The compiler's own errors begin with "backend='inductor' raised:"; some are empty.
            lines = [line.strip() for line in str(error).splitlines()]
            reason = next((line for line in lines if line and not line.endswith(":")), "")
            reason = reason or type(error).__name__
            raise NotStackableError(f"torch.compile failed on it: {reason}") from error
        if not compiled.agrees(
            self._module, self._feed.read({0: (0, 0)}, 1)[0], self._no_rates(step)
        ):
            raise NotStackableError("torch.compile computes other gradients of it than torch")
        log.info("compiled in %.1f s", time.perf_counter() - started)
        return step

    @torch.no_grad()
    def _rehearse(self, step: Step, plan: Plan) -> None:
        """Compile, capture and allocate, before any run is in the stack."""
        positions = {0: (0, 0)}
        rates = self._no_rates(step)
        step.update(self._feed.read(positions, 1)[0], rates)
        if plan.device == "cuda" and self.updates_at_once >= UPDATES:
            self._graph = GraphedUpdates(
                step.update,
                self._feed.read(positions, UPDATES),
                rates.expand(UPDATES, *rates.shape).contiguous(),
            )
        few = self._dataset.train.read(0, 0, min(self._score_rows, plan.samples_per_pass))
        step.score(Batches.of(few, self.device, self.dtype))
        for slot in range(self.width):
            step.parameters.clear(slot)
            step.updates.clear(slot)

    def _no_rates(self, step: Step) -> Tensor:
        """Coefficients of an update that changes no parameter, shape (coefficients, width)."""
        zeros = np.zeros((len(step.updates.optimizers), 1, self.width))
        coefficients = step.updates.coefficients(zeros, zeros, np.zeros((1, self.width), np.int64))
        return torch.from_numpy(0.0 * coefficients[0]).to(self.device, self.dtype)

    def _build(self, plan: Plan, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return build_model(plan.config.model, self._dataset.schema).to(self.device, self.dtype)

    def _clear(self, slot: int) -> None:
        self._step.parameters.clear(slot)
        self._step.updates.clear(slot)

    def _coefficients(self, updates: int) -> Tensor:
        """The update rule's coefficients, shape (updates, coefficients, width); empty slots: 0."""
        # Of at least two updates: NumPy squares a single number otherwise than each of several.
        computed = max(updates, 2)
        shape = (len(self._step.updates.optimizers), computed, self.width)
        lr, momentum = np.zeros(shape), np.zeros(shape)
        step = np.zeros(shape[1:], dtype=np.int64)
        for number, slot in self._slots.items():
            steps = np.arange(slot.step, slot.step + computed)
            rate, moved = slot.plan.schedule.lr(steps), slot.plan.schedule.momentum(steps)
            step[:, number] = steps
            for index, group in enumerate(slot.plan.groups):
                configured = group.optimizer.momentum_now or 0.0
                lr[index, :, number] = rate * group.lr_ratio
                momentum[index, :, number] = configured if moved is None else moved
        coefficients = self._step.updates.coefficients(lr, momentum, step)
        empty = [number for number in range(self.width) if number not in self._slots]
        coefficients[:, :, empty] = 0.0
        return torch.from_numpy(coefficients[:updates]).to(self.device, self.dtype)
