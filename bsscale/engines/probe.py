"""A trial of a user's model on a few samples, before anything is trained or written."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from bsscale.data import Dataset, Samples
from bsscale.engines.eager import DTYPES
from bsscale.engines.trial import without_gradient
from bsscale.errors import ConfigError
from bsscale.models import build_model
from bsscale.models.random_states import random_states_restored
from bsscale.objectives import Binary
from bsscale.optimizers.cowclip import clipped_tables
from bsscale.planning.plan import Plan

__all__ = ["check_model", "look_like_probabilities"]

log = logging.getLogger(__name__)

# Numbers of samples: to find errors, and to find the range of the outputs.
FEW, MANY = 8, 512
# The factor by which parameters are scaled to find out whether the outputs are bounded.
SCALE = 100.0
# Models that this process has tried: the runs of a sweep or a study share their model.
_tried: set[str] = set()


def check_model(plan: Plan, dataset: Dataset) -> None:
    """Try a model with the optimizer of a run; log a warning if it seems to give probabilities.

    The model is built once more, from seed 0, and the states of the random generators are
    restored. A model is tried once in a process.

    Raises
    ------
    ConfigError
        If the model cannot be built or trained, or does not return one number for each sample.
    """
    config = plan.config
    rows = min(FEW, config.micro_batch * plan.replicas_per_device)
    clipping = (config.clip_grad_norm, plan.cowclip)
    given = (config.model, config.objective, config.optimizer, clipping)
    key = repr((*given, config.precision, plan.device, plan.executor, plan.data_key, rows))
    if key in _tried:
        return
    name = str(config.model.get("_target_"))
    cuda = plan.device == "cuda"
    with random_states_restored(name):
        torch.manual_seed(0)
        module = build_model(config.model, dataset.schema).to(DTYPES[config.precision])
        if not any(value.requires_grad for value in module.parameters()):
            raise ConfigError(
                f"model {name} has no parameter that trains",
                "give it parameters (torch.nn.Parameter, torch.nn.Linear, ...), and leave "
                "requires_grad=True on those to be trained",
            )
        if config.cowclip is not None:
            clipped_tables(module)  # (raises where there is none)
        try:
            _try(module, name, plan, dataset, torch.device("cpu"), rows)
        except _PassError as error:
            # The model may need a GPU. (A bad id is not tried there: this process could not use the
            # GPU afterwards.)
            if not cuda or isinstance(error.__cause__, IndexError):
                raise
            if torch.cuda.is_available():
                _try(module, name, plan, dataset, torch.device("cuda"), rows)
    _tried.add(key)


class _PassError(ConfigError):
    """A forward or a backward pass that raised an error."""


def _try(
    module: nn.Module, name: str, plan: Plan, dataset: Dataset, device: torch.device, rows: int
) -> None:
    """Raise ConfigError for a module that cannot be trained; this changes the module."""
    config = plan.config
    module.to(device)
    mixed = config.precision == "bf16"
    amp = torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext()
    dtype = DTYPES[config.precision]
    highest, few = _highest_ids(dataset, device, dtype), _first(dataset, rows, device, dtype)
    many = _first(dataset, MANY, device, dtype)

    module.eval()
    with torch.no_grad(), amp, _explained(name, "the highest ids that the data may have"):
        output = module(*highest)
    _checked_output(output, name, FEW)
    module.train()
    with _explained(name, f"{rows} samples"):
        with amp:
            output = module(*few)
        logits = _checked_output(output, name, rows)
        if logits.requires_grad:
            logits.sum().backward()  # type: ignore[no-untyped-call]
    _check_gradients(module, name, plan, trains=logits.requires_grad)

    if not isinstance(plan.objective, Binary):  # (whose outputs are logits)
        return
    module.zero_grad(set_to_none=True)
    module.eval()
    with amp, _explained(name, f"{len(many[1])} samples"):
        text = look_like_probabilities(module, *many)
    if text is not None:
        log.warning("warning: %s", f"model {name} gives {text}")


@torch.no_grad()
def look_like_probabilities(module: nn.Module, categorical: Tensor, numeric: Tensor) -> str | None:
    """A warning about a module whose outputs seem to be probabilities; None for logits.

    Logits grow without bounds with the parameters. If all outputs are between 0 and 1, also with
    every parameter 100 times as large, the module itself bounds them, for instance by a sigmoid.

    Parameters
    ----------
    module
        The module, in evaluation mode; its parameters are changed.
    categorical, numeric
        Some samples, shapes (n, fields) and (n, numeric fields).
    """
    outputs = module(categorical, numeric)
    low, high = float(outputs.min()), float(outputs.max())
    if not 0 < low <= high < 1:
        return None
    for value in module.parameters():
        value.mul_(SCALE)
    scaled = module(categorical, numeric)
    if not bool(((scaled >= 0) & (scaled <= 1)).all()):
        return None
    return (
        f"outputs between {low:.2g} and {high:.2g} on {len(numeric)} samples, and none outside "
        "[0, 1] with parameters 100 times as large: they look like probabilities; return logits "
        "(leave out the sigmoid)"
    )


def _check_gradients(module: nn.Module, name: str, plan: Plan, trains: bool) -> None:
    """Raise ConfigError unless there are gradients that the optimizer can use."""
    missing = without_gradient(module)
    training = [value for value in module.parameters() if value.requires_grad]
    if not trains or len(missing) == len(training):
        raise ConfigError(
            f"model {name} gives no parameter a gradient",
            "compute the output from the parameters, without detach(), .data, .item() or "
            "torch.no_grad()",
        )
    sparse = [
        parameter
        for parameter, value in module.named_parameters()
        if value.grad is not None and value.grad.layout != torch.strided
    ]
    if not sparse:
        if not plan.config.optimizer.ships:
            _try_optimizer(module, plan)
        return
    fact = f"model {name} has sparse gradients ({', '.join(sparse)})"
    dense = "leave out sparse=True in the model's embeddings"
    if plan.executor == "ddp" and plan.device == "cuda":
        raise ConfigError(f"{fact}, which NCCL cannot average", f"{dense}, or executor=virtual")
    config = plan.config
    if config.cowclip is not None:
        raise ConfigError(
            f"{fact}, and cowclip={config.cowclip:g} needs dense ones",
            f"{dense}, or give cowclip=null",
        )
    if config.clip_grad_norm is not None:
        try:
            clip_grad_norm_(module.parameters(), config.clip_grad_norm)
        except (RuntimeError, NotImplementedError):
            raise ConfigError(
                f"{fact}, and clip_grad_norm={config.clip_grad_norm:g} needs dense ones",
                f"{dense}, or give clip_grad_norm=null",
            ) from None
    optimizer = config.optimizer.torch_optimizer(module.parameters())
    try:
        with warnings.catch_warnings():  # (torch warns about sparse tensors in general)
            warnings.simplefilter("ignore")
            optimizer.step()
        states = [each for state in optimizer.state.values() for each in state.values()]
        fits = not any(isinstance(s, Tensor) and s.layout != torch.strided for s in states)
    except (RuntimeError, NotImplementedError):
        fits = False
    if not fits:
        raise ConfigError(
            f"{fact}, which optimizer={config.optimizer.name} as configured cannot use",
            f"{dense}; or give an optimizer that can: optimizer=adagrad, or optimizer=sgd "
            "optimizer.momentum=0, both without weight decay",
        )


def _try_optimizer(module: nn.Module, plan: Plan) -> None:
    """Raise ConfigError if the user's optimizer cannot update this model's parameters."""
    optimizer = plan.config.optimizer.torch_optimizer(module.parameters())
    try:
        optimizer.step()
    except Exception as error:
        text = " ".join(str(error).split())
        raise ConfigError(
            f"optimizer={plan.config.optimizer.name} cannot update the parameters of this model: "
            f"{type(error).__name__}: {text}",
            "give another optimizer, or a model whose parameters it can update",
        ) from error


def _checked_output(output: Any, name: str, rows: int) -> Tensor:
    """The output, if it is one real number for each sample."""
    if isinstance(output, Tensor):
        shape = tuple(output.shape)
        if shape in ((rows,), (rows, 1)) or (rows == 1 and shape == ()):
            if output.is_floating_point():
                return output.reshape(rows)
            given = f"numbers of type {output.dtype}"
        else:
            given = f"an output of shape {shape}"
    elif isinstance(output, tuple | list):
        given = f"a {type(output).__name__} of {len(output)}"
    else:
        given = "None" if output is None else f"a {type(output).__name__}"
    samples = f"{rows} samples" if rows > 1 else "1 sample"
    raise ConfigError(
        f"model {name} gives {given} for {samples}",
        "let its forward return one real number for each sample: a floating-point tensor of shape "
        "(n,) or (n, 1)",
    )


@contextmanager
def _explained(name: str, given: str) -> Iterator[None]:
    """Turn an error of the model into a message of one line and a remedy."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        remedy = "correct its forward(categorical, numeric): int ids (n, fields), numbers (n, k)"
        if isinstance(error, IndexError):
            remedy = (
                "give the embedding of a field as many rows as its entry in cardinalities: "
                "ids are 0 ... cardinality - 1"
            )
        raise _PassError(
            f"model {name} failed on {given}: {type(error).__name__}: {text}", remedy
        ) from error


def _first(
    dataset: Dataset, rows: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Ids and numbers of the first validation samples, repeated if there are too few."""
    samples: Samples = dataset.validation[np.arange(rows) % len(dataset.validation)]
    return (
        torch.from_numpy(samples.categorical).to(device),
        torch.from_numpy(samples.numeric).to(device, dtype),
    )


def _highest_ids(
    dataset: Dataset, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """As `_first`, with the highest id of each field in the first sample."""
    categorical, numeric = _first(dataset, FEW, device, dtype)
    categorical[0] = torch.tensor(dataset.schema.cardinalities, dtype=categorical.dtype) - 1
    return categorical, numeric
