"""A model may draw or seed random numbers beside its training: runs shall not notice."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import torch

__all__ = ["random_states_restored"]


@contextmanager
def random_states_restored(target: str | None = None) -> Iterator[None]:
    """Restore the states of the random generators, so that runs keep the same bits.

    (Those of CUDA are seeded at the start of a run.)

    Parameters
    ----------
    target
        The import path of a model that is built; None: nothing is imported.
    """
    if target is not None:
        with suppress(ImportError):  # a module may seed them on import
            importlib.import_module(target.rpartition(".")[0])
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
