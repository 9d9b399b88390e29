"""The groups of the configuration, and words of remedies that name options and choices."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from bsscale.errors import ConfigError

__all__ = ["HELP", "MADE", "TYPED", "choose", "help_on", "no_target", "suggestion"]

# Groups that every run has: those with typed options, and those that a `_target_` creates.
TYPED = ("task", "optimizer", "schedule", "scaling", "executor", "tracker", "trainer")
MADE = ("dataset", "model", "objective")

HELP = "python -m bsscale --help lists the options"

_ELSEWHERE = {
    "batch_size": "micro_batch",
    "device": "executor.device",
    "direction": "task.direction",
    "epochs": "budget_passes",
    "learning_rate": "base_lr",
    "lr": "base_lr",
    "wandb": "tracker",
}


def help_on(part: str) -> str:
    """The remedy that names the help of a part, such as ``optimizer=adam``."""
    return f"python -m bsscale {part} --help lists the options of {part}"


def choose(group: str, known: Collection[str]) -> str:
    """The remedy that names the choices of a group."""
    return f"write {group}=NAME; there are {', '.join(sorted(known))}"


def no_target(group: str) -> ConfigError:
    """The error for a part of the user's own that is not named."""
    what = {"dataset": "the function that loads the data", "model": "the class of the model"}
    named = what.get(group, f"the class or function of the {group}")
    return ConfigError(
        f"{group}=custom does not name {named}: {group}._target_ is missing",
        f"give its import path: {group}=custom {group}._target_=MODULE.NAME",
    )


def suggestion(
    word: str, known: Collection[str], before: str = "", top: Collection[str] = ()
) -> str:
    """The question "did you mean ...?" with the nearest known word; empty if none is near.

    Parameters
    ----------
    word
        The unknown word.
    known
        Valid words in its place, after `before`.
    before
        The text before the word, as in "optimizer.".
    top
        Options of a run, which are valid without `before`.
    """
    if not before.endswith("=") and word in _ELSEWHERE:
        return f"did you mean {_ELSEWHERE[word]}? "
    for names, prefix in ((known, before), (top, "")):
        if close := difflib.get_close_matches(word, names, 1):
            return f"did you mean {prefix}{close[0]}? "
    return ""
