"""A device whose memory is full: the errors that say so, and what is done before another try."""

from __future__ import annotations

import gc

import torch

__all__ = ["free_memory", "is_out_of_memory"]

# cuBLAS and the CUDA runtime have no exception of their own: their errors are told by these words.
_WORDS = ("out of memory", "ALLOC_FAILED")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it followed, says that a device's memory is full.

    The end of a failed capture raises an error of its own over the one that ended it.
    """
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def free_memory() -> None:
    """Give the memory of what is not used any more back to the device."""
    gc.collect()
    torch.cuda.empty_cache()
