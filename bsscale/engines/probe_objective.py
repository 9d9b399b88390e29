"""An objective of the user's own is tried on a few outputs before anything is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bsscale.data import Samples
from bsscale.errors import BsscaleError, ConfigError
from bsscale.objectives import Objective
from bsscale.objectives.torch_form import losses_of

__all__ = ["check_losses"]

ROWS = 16
_REMEDY = (
    "losses(output, label) returns the loss of each sample, on torch tensors of shape (n,), "
    "differentiable: for instance binary_cross_entropy_with_logits(..., reduction='none')"
)


def check_losses(objective: Objective, samples: Samples) -> None:
    """Try the method ``losses`` of an objective; one that ships has none.

    Parameters
    ----------
    objective
        What a run minimizes.
    samples
        Some samples, for their labels.

    Raises
    ------
    ConfigError
        If its losses are not one number a sample, have no gradient, or depend on other samples:
        replicas that share a batch would then train something else than one process.
    """
    if not hasattr(objective, "losses"):
        return
    label = torch.from_numpy(samples.label[:ROWS].copy()).double()
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(len(label), generator=generator, dtype=torch.float64)
    output.requires_grad_()
    name = f"objective={objective.name}"
    try:
        losses: Any = losses_of(objective)(output, label)
    except BsscaleError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise ConfigError(
            f"losses of {name} failed with {type(error).__name__}: {text}", _REMEDY
        ) from error
    if not isinstance(losses, Tensor) or losses.shape != label.shape:
        given = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else repr(losses)
        raise ConfigError(f"losses of {name} gave {given} for {len(label)} samples", _REMEDY)
    if not losses.requires_grad:
        raise ConfigError(f"losses of {name} have no gradient", _REMEDY)
    (gradient,) = torch.autograd.grad(losses.sum(), output)
    if not bool(gradient.any()):
        raise ConfigError(f"losses of {name} have a gradient of 0", _REMEDY)
    half = len(label) // 2
    with torch.no_grad():
        alone = losses_of(objective)(output[:half], label[:half])
    if not torch.allclose(alone, losses[:half], rtol=1e-9, atol=1e-12):
        raise ConfigError(
            f"the losses of {name} for {half} samples change with the others of the batch, so that "
            "replicas would train something else than one process",
            "let each sample's loss depend on its own output and label alone",
        )
