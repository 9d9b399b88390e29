"""task=study: from "I have N GPUs now" to an answer with error bars, by one registered protocol."""

from __future__ import annotations

from bsscale.study.protocol import study
from bsscale.study.work import Jobs
from bsscale.study.worker import carry_out_part, plan_part

__all__ = ["Jobs", "carry_out_part", "plan_part", "study"]
