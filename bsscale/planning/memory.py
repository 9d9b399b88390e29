"""How much memory a run takes, predicted from counts before anything is allocated.

A model has P parameters of b bytes, and its backward pass needs `a` bytes for each sample. Its
optimizer has S states for each parameter, of which an average of the weights is one more, and a
sample has `d` bytes. A process that computes n
samples at a time, and keeps N samples where it computes, takes about

    state  P b (2 + S)    parameters, gradients, and the state of the optimizer
    copy   P b            DDP's buckets of gradients, or the module whose values fill a stack
    batch  n (2 a + d)    what the backward pass needs, and as much again for its gradients
    data   N d            the splits, where they are kept on the device

and a stack of w runs takes copy + data + w (state + batch). A process that trains the whole global
batch computes all of it at a time; one of several computes the share of its replicas in one of
grad_accum parts, and reads its samples from the memory of the host. So several processes make only
batch and data smaller: every process holds all parameters.

These are estimates. What is certain is that parameters, gradients and the optimizer's state have to
fit: that alone is refused (`check_memory`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from bsscale.config import Config
from bsscale.data import ArrayStream, Dataset
from bsscale.errors import ConfigError
from bsscale.planning.training_step import ships

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "USABLE",
    "Counts",
    "Memory",
    "check_memory",
    "count",
    "describe_memory",
    "in_bytes",
    "predict",
]

# The share of a memory that is planned with: the rest is left to CUDA's context, the gaps of
# torch's allocator, scores and the system.
USABLE = 0.9
# Samples of the trial pass that counts activations.
SAMPLES = 64
# Parameters above which that pass is made on the meta device, so that they are not allocated.
LARGE = 10**7
# Of the models that this process has counted: parameters, activation bytes of a sample, and rows
# and columns of each embedding table of a shipped model.
_Counted: TypeAlias = tuple[int, int, tuple[tuple[int, int], ...]]
_counted: dict[str, _Counted | None] = {}


@dataclass(frozen=True)
class Counts:
    """What the memory of a run depends on, besides its options.

    Attributes
    ----------
    parameters
        Numbers in the model.
    activation_bytes
        What the backward pass needs of one sample, in float32; 0 where it is not known.
    sample_bytes
        One sample as it is read, in float32.
    held_samples
        Samples of all splits that are arrays; those of a stream are made when they are read.
    table_parameters, table_rows
        Of these, in the embedding tables of a shipped model, and the rows of the largest table.
    gathered
        Numbers of embeddings that one sample reads.
    """

    parameters: int
    activation_bytes: int
    sample_bytes: int
    held_samples: int
    table_parameters: int = 0
    table_rows: int = 0
    gathered: int = 0


@dataclass(frozen=True)
class Memory:
    """What one process of a run takes, in bytes (see the formula above).

    Attributes
    ----------
    state_bytes, copy_bytes, batch_bytes, data_bytes
        Its parts.
    least_bytes
        What it takes for certain, of the first.
    available_bytes
        Of its device, or its share of the machine's memory; None: not known.
    """

    state_bytes: int
    copy_bytes: int
    batch_bytes: int
    data_bytes: int
    least_bytes: int
    available_bytes: int | None = None

    def of_stack(self, width: int = 1) -> int:
        """Bytes of so many runs in one stack."""
        return self.copy_bytes + self.data_bytes + width * (self.state_bytes + self.batch_bytes)

    @property
    def fits(self) -> bool:
        """Whether one run is expected to fit."""
        available = self.available_bytes
        return available is None or self.of_stack() <= USABLE * available


def count(model: Mapping[str, Any], dataset: Dataset) -> Counts | None:
    """Count a model and its data; a large model on torch's meta device, where nothing is allocated.

    Parameters
    ----------
    model
        As in a configuration.
    dataset
        The data that it is built for.

    Returns
    -------
    None for a model that cannot be built there.
    """
    if "_target_" not in model:  # a script's
        return None
    schema = dataset.schema
    key = repr((dict(model), schema))
    if key not in _counted:
        _counted[key] = _count_model(model, dataset)
    counted = _counted[key]
    if counted is None:
        return None
    held = [dataset.validation, dataset.test]
    if isinstance(dataset.train, ArrayStream):
        held.append(dataset.train.samples)
    parameters, saved, tables = counted
    return Counts(
        parameters,
        saved,
        sample_bytes=4 * (len(schema.categorical) + len(schema.numeric) + 1),
        held_samples=sum(map(len, held)),
        table_parameters=sum(rows * dim for rows, dim in tables),
        table_rows=max((rows for rows, _ in tables), default=0),
        gathered=sum(dim for _, dim in tables) * len(schema.categorical),
    )


def predict(
    config: Config,
    counts: Counts,
    gpus: int,
    executor: str,
    device: str,
    processes: int = 1,
    available_bytes: int | None = None,
) -> Memory:
    """The memory of one process of a run.

    Parameters
    ----------
    config
        The run.
    counts
        Of its model and its data.
    gpus
        Its replicas.
    executor, device, processes
        Where they are trained.
    available_bytes
        Of the device, or of the machine if it is a CPU; None: not known.
    """
    scale = 2 if config.precision == "fp64" else 1  # (bf16 is counted as float32)
    try:
        states = len(config.optimizer.states)
    except NotImplementedError:  # an optimizer of the user's own is counted without a state
        states = 0
    states += config.ema_half_life_samples is not None  # (the average is one more)
    parameters = 4 * scale * counts.parameters
    samples = config.micro_batch * gpus // processes
    if executor == "virtual":
        samples *= config.grad_accum
    resident = executor == "virtual" or device == "cpu"
    if available_bytes is not None and device == "cpu":
        available_bytes //= processes
    return Memory(
        state_bytes=parameters * (2 + states),
        copy_bytes=parameters,
        batch_bytes=scale * samples * (2 * counts.activation_bytes + counts.sample_bytes),
        data_bytes=scale * counts.held_samples * counts.sample_bytes if resident else 0,
        # A stack may add gradients to the first state; and a CPU gives memory to a tensor of zeros
        # when it is written, which sparse updates may never do.
        least_bytes=parameters * (1 + max(1, states)) if device == "cuda" else parameters,
        available_bytes=available_bytes,
    )


def check_memory(config: Config, memory: Memory, device: str, processes: int) -> None:
    """Raise ConfigError for a run whose parameters do not fit into the memory of one process."""
    available = memory.available_bytes
    if available is None or memory.least_bytes <= available:
        return
    what, owner = f"the parameters of model={config.model.get('name')}", "this machine"
    if device == "cuda":
        what += f", their gradients and the state of optimizer={config.optimizer.name}"
        owner = "a CUDA device"
    elif processes > 1:
        owner = f"each of {processes} processes"
    raise ConfigError(
        f"{what} take {in_bytes(memory.least_bytes)}, and {owner} has {in_bytes(available)}",
        "give a smaller model, or smaller tables (fewer ids, a shorter embedding); more devices do "
        "not help, because each of them holds all parameters",
    )


def describe_memory(memory: Memory, processes: int) -> str:
    """The prediction, for a person."""
    parts = [
        f"{in_bytes(memory.state_bytes + memory.copy_bytes)} parameters and their states",
        f"{in_bytes(memory.batch_bytes)} batch",
        f"{in_bytes(memory.data_bytes)} data",
    ]
    each = "each process" if processes > 1 else "a run"
    text = f"{each} takes about {in_bytes(memory.of_stack())} ({', '.join(parts)})"
    if memory.available_bytes is None:
        return text
    return f"{text} of {in_bytes(memory.available_bytes)}"


def in_bytes(number: int) -> str:
    """A number of bytes in decimal units, with three digits."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= 100 * size:
            return f"{number / size:,.0f} {unit}"
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} bytes"


def _count_model(model: Mapping[str, Any], dataset: Dataset) -> _Counted | None:
    import torch

    from bsscale.models import build_model
    from bsscale.models.random_states import random_states_restored
    from bsscale.models.values_left_out import values_left_out

    schema = dataset.schema
    with warnings.catch_warnings(), random_states_restored(str(model.get("_target_"))):
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"), values_left_out():
                module = build_model(model, schema)
            parameters = sum(each.numel() for each in module.parameters())
            tables = _tables(module) if ships(model) else ()
        except Exception:  # (what is wrong with it, the trial before training says)
            return None
        try:
            # The first pass on the meta device imports a large part of torch: two seconds.
            with torch.device("meta" if parameters > LARGE else "cpu"):
                if parameters <= LARGE:
                    module = build_model(model, schema)
                saved = _activation_bytes(module, len(schema.categorical), len(schema.numeric))
        except Exception:
            saved = 0
        return parameters, saved, tables


def _tables(module: nn.Module) -> tuple[tuple[int, int], ...]:
    """The rows and columns of each embedding table of a shipped model."""
    from bsscale.models.layers import FieldEmbedding

    found = (each.table.weight for each in module.modules() if isinstance(each, FieldEmbedding))
    return tuple((len(table), table.shape[1]) for table in found)


def _activation_bytes(module: nn.Module, categorical: int, numeric: int) -> int:
    """What autograd saves of one sample, each tensor once, less parameters and buffers."""
    import torch
    from torch.multiprocessing.reductions import StorageWeakRef

    saved: dict[int, int] = {}

    def place(tensor: torch.Tensor) -> int:  # (on the meta device, all addresses are 0)
        key: int = StorageWeakRef(tensor.untyped_storage()).cdata  # type: ignore[no-untyped-call]
        return key

    def save(tensor: torch.Tensor) -> torch.Tensor:
        saved[place(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    ids = torch.zeros(SAMPLES, categorical, dtype=torch.int32)
    numbers = torch.zeros(SAMPLES, numeric)
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        output = module(ids, numbers)  # (kept: what it holds alive keeps its place)
    for each in [*module.parameters(), *module.buffers()]:
        saved.pop(place(each), None)
    del output
    return sum(saved.values()) // SAMPLES
