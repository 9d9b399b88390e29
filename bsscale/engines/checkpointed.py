"""The names of an engine's state in a checkpoint.

They are the same for all engines, so that any engine can continue from another engine's checkpoint.

======================================  ==========================================================
``model.NAME``                          a parameter or buffer, by its name in the module
``optimizer.NAME.STATE``                torch.optim's state of a parameter: momentum_buffer, …
``average.NAME``                        the average of a parameter, if it is evaluated
``loss.sum``                            sum of the training loss since the last evaluation, a rank
``loss.count``                          forward passes that it is the sum of
``random.cpu.RANK, random.cuda.RANK``   state of torch's random numbers, for dropout and the like
======================================  ==========================================================
"""

from __future__ import annotations

import torch
from torch import Tensor

from bsscale.errors import RecordsError
from bsscale.files.checked import Arrays

__all__ = ["AVERAGE", "LOSS_COUNT", "LOSS_SUM", "MODEL", "OPTIMIZER", "RANDOM", "restore"]

MODEL = "model."
AVERAGE = "average."
OPTIMIZER = "optimizer."
RANDOM = "random."
LOSS_SUM = "loss.sum"
LOSS_COUNT = "loss.count"


@torch.no_grad()
def restore(tensor: Tensor, arrays: Arrays, name: str, *, optional: bool = False) -> None:
    """Copy an array of a checkpoint into a tensor.

    Parameters
    ----------
    tensor
        What to fill.
    arrays, name
        The checkpoint's, and which of them.
    optional
        Whether the tensor may stay as it is where the checkpoint has no such array.

    Raises
    ------
    RecordsError
        If the checkpoint has no array of the tensor's shape, because the model's code has changed.
    """
    if name not in arrays and optional:
        return
    if name not in arrays or arrays[name].shape != tensor.shape:
        found = f"of shape {arrays[name].shape}" if name in arrays else "missing"
        raise RecordsError(
            f"the checkpoint does not fit the model: {name} has shape {tuple(tensor.shape)}, and "
            f"in the checkpoint it is {found}",
            "the model's code has changed: start in another directory, or give resume=never",
        )
    tensor.copy_(torch.from_numpy(arrays[name]))
