"""Words for people: of how a run ended, and of numbers of things."""

from __future__ import annotations

__all__ = ["counted", "status_words"]


def status_words(status: str, has_target: bool = True, spent: str = "budget spent") -> str:
    """How a run ended; records keep the one word.

    Parameters
    ----------
    status
        As it is recorded: reached, exhausted, diverged or failed.
    has_target
        Whether the run had a target to reach or to miss.
    spent
        Why a run without its target ended.
    """
    if status != "exhausted":
        return status
    return f"missed the target ({spent})" if has_target else spent


def counted(number: int, noun: str) -> str:
    """A number of things, such as "1 GPU" or "8 GPUs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
