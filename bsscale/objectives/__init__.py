"""What a run minimizes and is judged by: losses, exact metrics, targets, divergence. Pure."""

from bsscale.objectives.binary_objective import Binary
from bsscale.objectives.metric import Criterion, Metric
from bsscale.objectives.objective import Objective
from bsscale.objectives.regression import Regression

__all__ = ["Binary", "Criterion", "Metric", "Objective", "Regression"]
