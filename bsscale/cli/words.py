"""What people call an option elsewhere, and what they may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection

__all__ = ["HELP", "suggested"]

HELP = "python -m bsscale --help lists the options"

_ELSEWHERE = {
    "batch_size": "micro_batch",
    "device": "executor.device",
    "epochs": "budget_passes",
    "learning_rate": "base_lr",
    "lr": "base_lr",
    "wandb": "tracker",
}


def suggested(
    word: str, known: Collection[str], before: str = "", top: Collection[str] = ()
) -> str:
    """A question that asks for the nearest known word; empty where none is near.

    Parameters
    ----------
    word
        What was typed.
    known
        What could have been typed in its place, after `before`.
    before
        What stands in front of both.
    top
        Options of a run, which stand alone.
    """
    if not before.endswith("=") and word in _ELSEWHERE:
        return f"did you mean {_ELSEWHERE[word]}? "
    for names, prefix in ((known, before), (top, "")):
        if close := difflib.get_close_matches(word, names, 1):
            return f"did you mean {prefix}{close[0]}? "
    return ""
