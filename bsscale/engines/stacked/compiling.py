"""What surrounds the compilation of a step: checks, a lock, warnings, errors."""

from __future__ import annotations

import hashlib
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bsscale.engines.memory import is_out_of_memory
from bsscale.engines.stacked.feed import Batches
from bsscale.engines.stacked.functional import why_not_stackable
from bsscale.engines.stacked.steps import use_compile_cache
from bsscale.errors import NotStackableError
from bsscale.files.locks import hold
from bsscale.objectives import Objective
from bsscale.planning.plan import Plan

__all__ = ["check_stackable", "compiling", "one_compiles"]

log = logging.getLogger(__name__)


def check_stackable(
    module: nn.Module, other: nn.Module, objective: Objective, few: Batches
) -> None:
    """Raise NotStackableError if a module's runs cannot be trained in one stack.

    Parameters
    ----------
    module, other
        The module in training mode, as two different seeds initialize it.
    objective
        Whose loss is minimized.
    few
        A few samples, leading dimension (n,).
    """
    use_compile_cache()
    reason = why_not_stackable(module, other, objective, few.categorical, few.numeric, few.label)
    if reason is not None:
        raise NotStackableError(reason)


@contextmanager
def compiling(plan: Plan, width: int) -> Iterator[None]:
    """A block in which a step is compiled; an error of the compiler becomes NotStackableError."""
    log.info(
        "compiling the training step of %s for %d runs x %s samples: up to half a minute the "
        "first time; later starts reuse %s",
        plan.config.model.get("name"),
        width,
        f"{plan.global_batch:,}",
        use_compile_cache(),
    )
    config = plan.config
    parts = (config.model, config.objective, config.optimizer, config.clip_grad_norm)
    shapes = (width, plan.global_batch, plan.device, config.precision, plan.data_key)
    try:
        with one_compiles(use_compile_cache(), parts, shapes), warnings.catch_warnings():
            started = time.perf_counter()
            # torch's compiler uses what torch deprecates, and recommends TensorFloat32, which is
            # less exact than float32.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings("ignore", "TensorFloat32", UserWarning)
            yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        # The compiler's own errors begin with "backend='inductor' raised:"; some are empty.
        lines = [line.strip() for line in str(error).splitlines()]
        reason = next((line for line in lines if line and not line.endswith(":")), "")
        reason = reason or type(error).__name__
        raise NotStackableError(f"torch.compile failed on it: {reason}") from error
    log.info("compiled in %.1f s", time.perf_counter() - started)


@contextmanager
def one_compiles(cache: str, *step: Any) -> Iterator[None]:
    """Compile a step that other processes need too: one compiles, the others find it in the cache.

    Parameters
    ----------
    cache
        The directory of `use_compile_cache`.
    step
        What the step follows from; its representation is the same in all processes.
    """
    name = hashlib.sha256(repr((torch.__version__, *step)).encode()).hexdigest()[:32]
    done, lock = Path(cache, f"{name}.compiled"), None
    with suppress(OSError):  # (torch reports a directory that cannot be written)
        done.parent.mkdir(parents=True, exist_ok=True)
        lock = None if done.exists() else hold(done.with_suffix(".lock"), None)
    try:
        if lock is not None and done.exists():  # another process has compiled it meanwhile
            lock.release()
        yield
        with suppress(OSError):
            done.touch()
    finally:
        if lock is not None:
            lock.release()
