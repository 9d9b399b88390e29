"""What a report does not say: data, tuning, comparisons, looks."""

from __future__ import annotations

from collections.abc import Sequence

from bsscale.records.study_record import StudyRecord
from bsscale.report.comparison import ArmSummary, Comparison, FamilySummary
from bsscale.report.imported import imported_limits
from bsscale.report.read import FoundStudy

__all__ = ["limits"]


def limits(comparison: Comparison, studies: Sequence[FoundStudy]) -> list[str]:
    """Sentences on what the verdicts do not say.

    Parameters
    ----------
    comparison
        The arms.
    studies
        The studies that they are of.
    """
    imported = imported_limits(comparison)
    if not comparison.families:
        return imported
    said = [*imported, *_data(comparison)]
    for study in studies:
        said += _tuning(study.record, several=len(studies) > 1)
    if not studies and not imported:
        said.append("No search for a learning rate is among these records: arms are as configured.")
    arms = {arm.arm: arm for arm in comparison.arms}
    for family in comparison.families:
        said += _comparisons(family, arms)
    if any(arm.easier for arm in comparison.arms):
        said.append(
            "A ratio is one of samples to one target. The figure and the table of easier targets "
            "show how it depends on that."
        )
    return said


def _data(comparison: Comparison) -> list[str]:
    """What the comparison rests on; of imported curves it is not known."""
    arms = [arm for arm in comparison.arms if not arm.imported]
    if not arms:
        return []
    names = list(
        dict.fromkeys(arm.record.dataset or arm.record.data_key or "of a script" for arm in arms)
    )
    which = f"One data set ({names[0]})" if len(names) == 1 else f"{len(names)} data sets"
    return [
        f"{which}, and one validation split of it, which chose the rates and judged the arms. "
        "Other data, models and batches can give another order."
    ]


def _tuning(study: StudyRecord, several: bool) -> list[str]:
    """What was tuned and what was not."""
    named = f"{study.name}: " if several else ""
    tuned = [f"the rate of {t.name}" for t in study.tunings]
    searched = ", ".join(tuned) or "nothing"
    derived = [a.name for a in study.arms if a.rate != "tuned" and not a.preset and a.gpus > 1]
    untuned = [name for each in study.presets for name in study.untuned(each)]
    preset = [a.name for a in study.arms if a.preset and a.name not in untuned]
    text = f"{named}Tuned by a search: {searched}."
    if preset:
        text += f" Configured by a range test: {', '.join(preset)}."
    if untuned:
        names = ", ".join(untuned)
        text += f" With untuned defaults, because the range test suggests nothing: {names}."
    if derived:
        text += f" Not tuned at their own number of GPUs: {', '.join(derived)}."
    return [f"{text} All other options are as registered and were not tuned for any arm."]


def _comparisons(family: FamilySummary, arms: dict[str, ArmSummary]) -> list[str]:
    count, name = len(family.arms), arms[family.baseline].short
    estimates = [estimate for label in family.arms if (estimate := arms[label].ratio)]
    said = []
    if count > 1 and family.together and family.each is not None:
        said.append(
            f"{count} comparisons with {name}: their intervals hold together with "
            f"{_percent(family.confidence)} (each alone with {_percent(family.each)})."
        )
    elif count > 1 and all(each.confidence is None for each in estimates):
        said.append(f"{count} comparisons with {name}, and too few seeds for any interval.")
    elif count > 1:
        said.append(
            f"{count} comparisons with {name}, each on its own: there are too few seeds for "
            "intervals that hold together. Of several equal arms, one is called different by luck "
            "more often than in 1 of 20 studies."
        )
    if family.primary is not None and count > 1:
        said.append(
            f"{arms[family.primary].short} was registered as the primary arm: its verdict rests on "
            "its own interval."
        )
    if family.looks:
        numbers = ", ".join(map(str, family.looks))
        said.append(
            f"Seeds were added in registered looks ({numbers}). Intervals at this look have "
            f"{_percent(family.confidence)}, so that all looks together are wrong in at most 5%."
        )
    return said


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.3g}%"
