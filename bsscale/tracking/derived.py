"""The numbers of a plan that W&B shows beside the options of its run."""

from __future__ import annotations

from typing import Any

from bsscale.planning.plan import Plan
from bsscale.tracking.options import SHORT_HASH

__all__ = ["derived"]


def derived(plan: Plan, arm: str, study: str | None) -> dict[str, Any]:
    """The part `plan` of a W&B run's configuration, in plain containers.

    Parameters
    ----------
    plan
        Of the run. An option that is null in its configuration has a number here.
    arm
        The label of its arm.
    study
        The hash of its study, if it belongs to one.

    Returns
    -------
    ``series`` is the same for runs that a figure may take together: those of one arm, on the same
    data, judged by the same metric and target, and of the same study. ``peak_lr`` is null for a
    schedule of the user's own, whose peak is not known.
    """
    config = plan.config
    data = " ".join(filter(None, (config.dataset["name"], (plan.data_key or "")[:SHORT_HASH])))
    judged = config.metric if config.target is None else f"{config.metric} {config.target:.6g}"
    study = None if study is None else study[:SHORT_HASH]
    return {
        "series": " | ".join(filter(None, (arm, data, judged, study and f"study {study}"))),
        "study": study,
        "dataset": config.dataset["name"],
        "metric": config.metric,
        "target": config.target,
        "peak_lr": plan.schedule.peak,
        "schedule": plan.training["schedule"],
        "global_batch": plan.global_batch,
        "steps": plan.steps,
        "samples_per_pass": plan.samples_per_pass,
        "budget_samples": plan.budget_samples,
        "eval_interval_samples": plan.eval_interval_samples,
    }
