"""The looks of a study with ``task.seeds=auto``: after which number of seeds it stops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bsscale.records.run_record import RunRecord
from bsscale.records.study_record import StudyRecord
from bsscale.stats import Looks, look_at

__all__ = ["make_look"]


def make_look(study: StudyRecord, records: Sequence[RunRecord], seeds: int) -> dict[str, Any]:
    """Look at the runs of the arms, by the registered rule; the content of an entry of the chain.

    Parameters
    ----------
    study
        The study; its plan has looks.
    records
        Of every arm on each of the first seeds.
    seeds
        Their number.

    Returns
    -------
    ``seeds``, the compared ``arms``, those that are ``undecided``, and ``next_seeds``: how many
    seeds the study goes on to, or None where it stops.
    """
    samples: dict[str, dict[int, float]] = {}
    for record in records:
        needed = record.samples_to_target
        samples.setdefault(record.arm, {})[record.seed] = math.inf if needed is None else needed
    baseline = study.baseline
    assert baseline is not None
    arms = {arm: runs for arm, runs in samples.items() if arm != baseline}
    registered = study.registered
    found = look_at(
        arms, samples[baseline], Looks(registered.looks), seeds, primary=registered.primary
    )
    return {
        "seeds": seeds,
        "arms": list(arms),
        "undecided": list(found.undecided),
        "next_seeds": found.next_seeds,
    }
