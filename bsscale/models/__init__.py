"""Models: plain ``nn.Module`` classes that turn one batch into one logit a sample.

A model is any module whose constructor takes ``cardinalities`` (ids of each categorical field)
and ``numeric_fields`` (how many numbers), besides options of its own, and whose ``forward`` takes
``categorical`` (n, fields) and ``numeric`` (n, numeric_fields) and returns logits (n,).
"""

from __future__ import annotations

from bsscale.models.build import build_model
from bsscale.models.dcnv2 import DCNV2
from bsscale.models.deepfm import DeepFM
from bsscale.models.dlrm import DLRM
from bsscale.models.logistic import Logistic
from bsscale.models.mlp import MLP

__all__ = ["DCNV2", "DLRM", "MLP", "DeepFM", "Logistic", "build_model"]
