"""How much of an arm's result is the choice of base_lr, from the records of a study."""

from __future__ import annotations

from collections.abc import Sequence

from bsscale.records.study_record import FlatEndRecord, StudyRecord
from bsscale.terminal.words import counted

__all__ = ["base_lr_words", "with_base_lr"]


def with_base_lr(
    verdicts: Sequence[tuple[str, str]], studies: Sequence[StudyRecord]
) -> list[tuple[str, str]]:
    """Verdicts, label and sentence, with what the choice of base_lr does to each arm."""
    words = base_lr_words(studies[0]) if len(studies) == 1 else {}
    return [(arm, f"{text} {words[arm]}" if arm in words else text) for arm, text in verdicts]


def base_lr_words(study: StudyRecord) -> dict[str, str]:
    """For each arm whose rates follow from base_lr: a sentence or two."""
    arms = dict.fromkeys(end.arm for end in study.flat_ends)
    return {arm: _words([end for end in study.flat_ends if end.arm == arm]) for arm in arms}


def _words(ends: Sequence[FlatEndRecord]) -> str:
    low, high = ends[0].base_lr, ends[-1].base_lr
    said = ", ".join(f"with {end.base_lr:g} it {_result(end)}" for end in ends)
    seeds = max(end.runs for end in ends)
    return (
        f"At 1 GPU, base_lr from {low:g} to {high:g} is not told apart from the best; {said} "
        f"({counted(seeds, 'tuning seed')}). That much of its result is the choice "
        "of base_lr."
    )


def _result(end: FlatEndRecord) -> str:
    if 2 * end.diverged >= end.runs:
        return f"diverges in {end.diverged} of {end.runs}"
    if end.samples_to_target is None:
        return f"does not reach the target in {end.runs - end.reached} of {end.runs}"
    if end.one_gpu_samples_to_target is None:
        return f"needs {end.samples_to_target:,.0f} samples, and 1 GPU does not reach the target"
    ratio = end.samples_to_target / end.one_gpu_samples_to_target
    return f"needs {ratio:.2f}x the samples of 1 GPU"
