"""The specification of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsscale.planning.plan import Plan
from bsscale.stats.median_rule import Bar

__all__ = ["RunSpec"]


@dataclass(frozen=True)
class RunSpec:
    """Everything a run is made from; travels to other processes.

    Attributes
    ----------
    plan
        Its configuration and numbers.
    directory
        Where its records go.
    arm
        The arm's label.
    group
        What groups it with other runs in W&B: a multirun's directory; None for a single run.
    logging
        A logging configuration for a process that this one starts; None: logging is not configured.
    study, study_head
        Hash of the study that the run belongs to, and of the last entry of its chain.
    bar
        What a run of a search must have reached, or it is stopped; empty: it is never stopped. Only
        scripts have one.
    momentum
        The highest momentum that a search tries; None: as it is configured.
    """

    plan: Plan
    directory: Path
    arm: str
    group: str | None = None
    logging: Mapping[str, Any] | None = None
    study: str | None = None
    study_head: str | None = None
    bar: Bar = ()
    momentum: float | None = None
