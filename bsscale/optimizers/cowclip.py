"""CowClip: the gradient of each row of an embedding table, clipped by the norm of the row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bsscale.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["CowClip", "clipped_tables"]

# ζ of the authors' runs on Criteo.
BOUND = 1e-5


@dataclass(frozen=True)
class CowClip:
    """g ← g·min(1, c / ‖g‖) with c = n·r·max(‖w‖, r·√d·ζ), for each row w of a table.

    g is the gradient of the row in the mean loss of the whole batch, n is how often the batch has
    the row, and d is the length of a row. This is the authors' code (github.com/bytedance/
    LargeBatchCTR, clip.py and train.py), with one difference: their g also has the gradient of the
    L2 penalty, which optimizers here add after the clipping.

    Attributes
    ----------
    ratio
        r, above 0.
    bound
        ζ, above 0.

    References
    ----------
    Z. Zheng et al., "CowClip: Reducing CTR Prediction Model Training Time from 12 hours to 10
    minutes on 1 GPU", 2022, arXiv:2204.06240.
    """

    ratio: float
    bound: float = BOUND

    @classmethod
    def of(cls, ratio: float | None, bound: float | None) -> CowClip | None:
        """The rule from the options ``cowclip`` and ``cowclip_bound``; None if it is not asked for.

        Raises
        ------
        ConfigError
            For values that are no positive numbers, or a bound without the rule.
        """
        if ratio is None:
            if bound is not None:
                raise ConfigError(
                    f"cowclip_bound={bound} does nothing without cowclip",
                    "give cowclip=1 too, or leave the bound out",
                )
            return None
        for name, value in (("cowclip", ratio), ("cowclip_bound", bound)):
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(
                    f"{name}={value} is not a positive number",
                    f"give {name}={1 if name == 'cowclip' else BOUND:g}, as its authors do on "
                    "Criteo, or null",
                )
        return cls(ratio, BOUND if bound is None else bound)

    def clip(self, gradients: Tensor, rows: Tensor, counts: Tensor) -> None:
        """Clip the gradients of some rows, in place.

        Parameters
        ----------
        gradients, rows
            The gradients and the rows that they are of, shape (n, d).
        counts
            How often the batch has each of them, shape (n,). A row without a gradient may have any.
        """
        import torch

        norms = torch.linalg.vector_norm(gradients, dim=1)
        floor = self.ratio * math.sqrt(gradients.shape[1]) * self.bound
        limits = torch.linalg.vector_norm(rows, dim=1).clamp_(min=floor)
        limits.mul_(counts.clamp(min=1)).mul_(self.ratio)
        # (exactly 1 where the norm is not above the limit)
        gradients.mul_((limits / torch.maximum(norms, limits)).unsqueeze(1))


def clipped_tables(module: nn.Module) -> list[str]:
    """Names of the weights of the embedding tables that are clipped.

    They are those of every ``nn.Embedding`` and ``nn.EmbeddingBag`` with several columns. The
    authors clip no table of one column, such as the first-order weights of DeepFM.

    Raises
    ------
    ConfigError
        If the module has no such table.
    """
    from bsscale.optimizers.groups import embedding_tables

    named = dict(module.named_parameters())
    names = sorted(name for name in embedding_tables(module) if named[name].shape[1] > 1)
    if not names:
        raise ConfigError(
            f"cowclip is given, but {type(module).__name__} has no embedding table (nn.Embedding "
            "or nn.EmbeddingBag) with several columns",
            "leave cowclip out, or give a model and data with categorical columns",
        )
    return names
