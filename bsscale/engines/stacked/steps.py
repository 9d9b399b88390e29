"""One update of every run in a stack, two ways: written-out layers, or any module compiled."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from bsscale.data.cache import cache_directory
from bsscale.engines.squared_norms import Sums
from bsscale.engines.stacked.clipping import GradientClipping
from bsscale.engines.stacked.feed import Batches
from bsscale.engines.stacked.functional import FunctionalModel
from bsscale.engines.stacked.in_place import memory_given
from bsscale.engines.stacked.layers import Weights
from bsscale.engines.stacked.micro_batches import MicroBatches
from bsscale.engines.stacked.models import stacked_model, tables
from bsscale.engines.stacked.row_clipping import RowClipping
from bsscale.engines.stacked.row_gradients import RowGradients
from bsscale.engines.stacked.state import StackedParameters
from bsscale.engines.stacked.updates import Updates
from bsscale.engines.stacked.vectors import by_blocks, weighted
from bsscale.objectives import Objective
from bsscale.objectives.torch_form import error_of
from bsscale.optimizers.cowclip import CowClip, clipped_tables
from bsscale.optimizers.groups import ParameterGroup, group_numbers
from bsscale.optimizers.optimizer import SPARSE_ROWS

__all__ = ["CompiledStep", "LayersStep", "Step", "use_compile_cache"]


class Step(Protocol):
    """What the engine asks of a step."""

    parameters: StackedParameters
    averages: StackedParameters | None
    updates: Updates

    def place(self, slot: int) -> AbstractContextManager[object]:
        """A block in which a module is built that is loaded into a slot."""
        ...

    def update(self, batch: Batches, coefficients: Tensor) -> Tensor:
        """Take one update from a batch, leading dimensions (width, batch); gives the logits."""
        ...

    def score(self, samples: Batches) -> Tensor:
        """Logits of shape (width, n) of samples with leading dimension (n,)."""
        ...

    def gradient_sums(self, slot: int, batches: Batches) -> list[Sums]:
        """Sums over the gradients of one run for some batches.

        Parameters
        ----------
        slot
            Of the run.
        batches
            Leading dimensions (batches, samples of each).

        Returns
        -------
        For each of `parameters.tensors`, flat or of some rows.
        """
        ...


class LayersStep:
    """The shipped models, with forward and backward passes written out over all runs.

    Parameters
    ----------
    module
        One run's model.
    width
        Runs in the stack.
    objective
        Whose loss is minimized.
    groups
        The parameter groups, with the optimizer's options for each.
    device, dtype
        Where and as what the parameters live.
    clip_grad_norm
        The largest norm of a run's gradient, or None.
    cowclip
        How the rows of embedding tables are clipped, or None.
    averaged
        Whether averages of the weights are kept, and scored.
    """

    def __init__(
        self,
        module: nn.Module,
        width: int,
        objective: Objective,
        groups: Sequence[ParameterGroup],
        device: torch.device,
        dtype: torch.dtype,
        clip_grad_norm: float | None = None,
        cowclip: CowClip | None = None,
        averaged: bool = False,
    ) -> None:
        self._width, self._error = width, error_of(objective)
        numbers = group_numbers(module, groups)
        optimizers = [group.optimizer for group in groups]
        of_tables = tables(module)
        dense = [name for name, _ in module.named_parameters() if name not in of_tables]
        # Group parameters into few large tensors where layers do not need their own, so that
        # updates are few and large.
        tensors = [dense] if optimizers[0].elementwise else [[name] for name in dense]
        first = len(tensors)
        tensors += [[name] for name in of_tables]
        self.parameters = StackedParameters(module, width, tensors, device, dtype)
        values = self.parameters.values
        self._numbers = {name: number for number, name in enumerate(of_tables, start=first)}
        sparse = {
            number: values[name].shape[2]
            for name, number in self._numbers.items()
            if optimizers[numbers[name]].updates_touched_rows_only(values[name].shape[1])
        }
        self.updates = Updates(
            optimizers,
            self.parameters.tensors,
            [numbers[names[0]] if names else 0 for names in tensors],
            sparse,
            clipped=clip_grad_norm is not None or cowclip is not None,
        )
        self._clipping: GradientClipping | RowClipping | None = None
        if clip_grad_norm is not None:
            large = {
                number: values[name].shape[2]
                for name, number in self._numbers.items()
                if values[name].shape[1] >= SPARSE_ROWS
            }
            self._clipping = GradientClipping(self.updates.gradients, clip_grad_norm, width, large)
        elif cowclip is not None:
            lengths = {self._numbers[n]: values[n].shape[2] for n in clipped_tables(module)}
            self._clipping = RowClipping(
                cowclip,
                {k: self.parameters.tensors[k].view(-1, each) for k, each in lengths.items()},
                {
                    k: gradient.view(-1, lengths[k])
                    for k, gradient in enumerate(self.updates.gradients)
                    if k in lengths and gradient is not None
                },
            )
        self._row_gradients = {
            number: RowGradients(self.parameters.tensors[number].numel() // length, device)
            for number, length in sparse.items()
        }
        self._model = stacked_model(
            Weights(values, self.parameters.views(self.updates.gradients)), module
        )
        self.averages: StackedParameters | None = None
        self._scored = self._model
        if averaged:
            self.averages = StackedParameters(module, width, tensors, device, dtype)
            # (only its forward pass is used)
            places = self.parameters.views(self.updates.gradients)
            self._scored = stacked_model(Weights(self.averages.values, places), module)
        self._module, self._objective = module, objective
        self.parameters.release(module)
        self._micro_batches: dict[tuple[int, ...], MicroBatches] = {}

    def place(self, slot: int) -> AbstractContextManager[object]:
        self.parameters.release(self._module)  # (what `store` may have given it)
        values = [self.parameters.values[name][slot] for name in self._numbers]
        on_host = all(each.dtype == torch.float32 and not each.is_cuda for each in values)
        return memory_given(values) if on_host else nullcontext()

    def update(self, batch: Batches, coefficients: Tensor) -> Tensor:
        of_rule = coefficients if self.averages is None else coefficients[:-1]
        self.updates.open(of_rule)
        logits = self._model.forward(batch.categorical, batch.numeric)
        samples = logits.shape[-1]
        error = by_blocks(lambda a, b: self._error(a, b, samples), logits, batch.label)
        self._model.backward(weighted(error, batch.weight))
        embeddings = {self._numbers[each.parameter]: each for each in self._model.embeddings}
        of_rows = {
            number: gradients.add(embeddings[number].rows, embeddings[number].row_gradients)
            for number, gradients in self._row_gradients.items()
        }
        if self._clipping is not None:
            touched = {number: each.rows for number, each in embeddings.items()}
            self._clipping.clip(touched, of_rows)
        self.updates.apply(of_rule, of_rows)
        if self.averages is not None:
            self.averages.move_towards(self.parameters, coefficients[-1])
        return logits

    def score(self, samples: Batches) -> Tensor:
        return self._scored.forward(
            samples.categorical.expand(self._width, -1, -1),
            samples.numeric.expand(self._width, -1, -1),
        )

    def gradient_sums(self, slot: int, batches: Batches) -> list[Sums]:
        shape = batches.label.shape
        key = (slot, *shape)
        if key not in self._micro_batches:
            self._micro_batches[key] = MicroBatches(
                self._module, self.parameters, slot, self._objective, *shape
            )
        return self._micro_batches[key].sums(batches)


class CompiledStep:
    """Any module: gradients by torch.func, compiled into one graph together with the update.

    See `LayersStep` for the parameters.
    """

    def __init__(
        self,
        module: nn.Module,
        width: int,
        objective: Objective,
        groups: Sequence[ParameterGroup],
        device: torch.device,
        dtype: torch.dtype,
        clip_grad_norm: float | None = None,
        cowclip: CowClip | None = None,
        averaged: bool = False,
    ) -> None:
        assert cowclip is None  # (the rows that a model reads are not known here: see the plan)
        self._width = width
        numbers = group_numbers(module, groups)
        self.parameters = parameters = StackedParameters(
            module, width, [[name] for name in numbers], device, dtype
        )
        self.updates = updates = Updates(
            [group.optimizer for group in groups],
            parameters.tensors,
            list(numbers.values()),
            {},
            clipped=clip_grad_norm is not None,
        )
        clipping = (
            None
            if clip_grad_norm is None
            else GradientClipping(updates.gradients, clip_grad_norm, width, {})
        )
        self._model = model = FunctionalModel(module, objective, parameters.values)
        averages, self._scored = None, model
        if averaged:
            names = [[name] for name in numbers]
            averages = StackedParameters(module, width, names, device, dtype)
            self._scored = FunctionalModel(module, objective, averages.values)
        self.averages = averages
        accumulators = list(parameters.views(updates.gradients).items())

        def update(
            coefficients: Tensor, categorical: Tensor, numeric: Tensor, *targets: Tensor
        ) -> Tensor:
            of_rule = coefficients if averages is None else coefficients[:-1]
            updates.open(of_rule)
            gradients, logits = model.gradient(categorical, numeric, *targets)
            for name, accumulator in accumulators:
                accumulator.add_(gradients[name])
            if clipping is not None:
                clipping.clip({}, {})
            updates.apply(of_rule, {})
            if averages is not None:
                averages.move_towards(parameters, coefficients[-1])
            return logits

        # Compile a new function for each stack: every stack has its own shapes, and torch stops
        # compiling a function after a few shapes.
        torch.compiler.reset()
        self._uncompiled = update
        self._compiled = torch.compile(update, fullgraph=True, dynamic=False)

    def place(self, slot: int) -> AbstractContextManager[object]:
        return nullcontext()

    def update(self, batch: Batches, coefficients: Tensor) -> Tensor:
        logits: Tensor = self._compiled(
            coefficients, batch.categorical, batch.numeric, *batch.targets
        )
        return logits

    @torch.no_grad()
    def agrees(self, module: nn.Module, batch: Batches, rates: Tensor) -> bool:
        """Whether compiling changed no gradient; clears every slot.

        Parameters
        ----------
        module
            What every slot holds for the comparison.
        batch
            Of one update.
        rates
            The update's coefficients, all zero.
        """
        found = []
        for update in (self._uncompiled, self._compiled):
            for slot in range(self._width):
                self.parameters.load(slot, module)
            update(rates, batch.categorical, batch.numeric, *batch.targets)
            found.append([each.clone() for each in self.updates.gradients if each is not None])
            for slot in range(self._width):
                self.parameters.clear(slot)
                self.updates.clear(slot)
        expected, compiled = found
        # Compare a gradient that is only rounding error relative to the largest gradient, because
        # it may differ completely.
        least = 1e-3 * max(float(gradient.norm()) for gradient in expected)
        return all(
            float((a - b).norm()) <= 1e-3 * max(float(b.norm()), least)
            for a, b in zip(compiled, expected, strict=True)
        )

    def score(self, samples: Batches) -> Tensor:
        return torch.stack(
            [
                self._scored.score(slot, samples.categorical, samples.numeric)
                for slot in range(self._width)
            ]
        )

    def gradient_sums(self, slot: int, batches: Batches) -> list[Sums]:
        return self._model.gradient_sums(
            slot, batches.categorical, batches.numeric, *batches.targets
        )


def use_compile_cache() -> str:
    """Keep compiled steps with bsscale's other caches, where later starts find them.

    To be called before torch compiles anything, or even tries to.

    Returns
    -------
    The directory; $TORCHINDUCTOR_CACHE_DIR if it is set.
    """
    return os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_directory() / "compiled"))
