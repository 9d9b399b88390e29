"""Words for people: of how a run ended, and of numbers of things."""

from __future__ import annotations

__all__ = ["counted", "status_words"]


def status_words(status: str, has_target: bool = True) -> str:
    """How a run ended; records keep the one word.

    Parameters
    ----------
    status
        As it is recorded: reached, exhausted, diverged or failed.
    has_target
        Whether the run had a target to reach or to miss.
    """
    if status != "exhausted":
        return status
    return "missed the target (budget spent)" if has_target else "budget spent"


def counted(number: int, noun: str) -> str:
    """A number of things, such as "1 GPU" or "8 GPUs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
