"""How many samples a target costs at a batch: the fit, what it identifies, and predictions.

The model is ``samples(B) = Emin (1 + B / Bc)`` (McCandlish et al., "An Empirical Model of
Large-Batch Training", arXiv:1812.06162, where it is written for steps): at the critical batch Bc, a
target costs twice the samples that it costs at a small batch, and twice the steps that it costs at
a large one.
"""

from __future__ import annotations

from bsscale.critical_batch.choice import choice_variance
from bsscale.critical_batch.curve import Curve
from bsscale.critical_batch.fit import Fit, fit
from bsscale.critical_batch.identify import Scaling, scaling
from bsscale.critical_batch.points import Point, with_limits

__all__ = ["Curve", "Fit", "Point", "Scaling", "choice_variance", "fit", "scaling", "with_limits"]
