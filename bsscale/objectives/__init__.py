"""Losses, exact metrics, targets and divergence of runs. Pure."""

from bsscale.objectives.binary_objective import Binary
from bsscale.objectives.metric import Criterion, Metric
from bsscale.objectives.objective import Objective
from bsscale.objectives.regression import Regression
from bsscale.objectives.reported import Reported

__all__ = ["Binary", "Criterion", "Metric", "Objective", "Regression", "Reported"]
