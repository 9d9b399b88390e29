"""The data of somebody else's training script: bsscale never reads them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Never

import numpy as np

from bsscale.data.dataset import Dataset, Samples, Schema
from bsscale.errors import DataError

__all__ = ["ScriptDataset"]


@dataclass(frozen=True)
class _Stream:
    """A training stream that only the script reads."""

    samples_per_pass: int

    def read(self, seed: int, start: int, stop: int) -> Never:
        raise DataError("the data of a script cannot be read", "its own process reads them")


@dataclass(frozen=True)
class ScriptDataset(Dataset):
    """What is known of the data of a script; make one by `of`.

    Attributes
    ----------
    known_pass
        Training samples in one pass; None: not known.
    """

    known_pass: int | None = None

    @classmethod
    def of(cls, samples_per_pass: int | None, key: str | None) -> ScriptDataset:
        """Data with a pass of so many samples, and with their identity, if they are known."""
        none = Samples(
            np.empty((0, 0), np.int32), np.empty((0, 1), np.float32), np.empty(0, np.float32)
        )
        return cls(
            schema=Schema((), (), ("unknown",)),
            train=_Stream(samples_per_pass or 0),
            validation=none,
            test=none,
            prepared_key=key,
            known_pass=samples_per_pass,
        )

    @property
    def samples_per_pass(self) -> int | None:
        return self.known_pass

    @cached_property
    def key(self) -> str | None:
        return self.prepared_key
