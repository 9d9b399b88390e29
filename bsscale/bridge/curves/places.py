"""The arm and the seed of a run, from the path of its file or folder."""

from __future__ import annotations

import re
from pathlib import Path

from bsscale.errors import ConfigError, RecordsError

__all__ = ["check_layout", "place_of"]

# A name such as fixed-seed3, fixed_3, run_3 or 3, and not lr0.1 or gpus=8.
_NUMBERED = re.compile(
    r"(?:(?P<arm>.*?)[-_ ])??(?:(?:seed|run|result|trial|version|s)[-_ =]*)?(?P<seed>\d+)"
)
_PARTS = {"ARM": r"(?P<arm>[^/]+?)", "SEED": r"(?P<seed>\d+)", "*": "[^/]*"}
_FIELD = re.compile(r"ARM|SEED|\*")


def place_of(path: Path, layout: str | None) -> tuple[str, int | None]:
    """The arm of a run, and its seed if the path has it.

    Parameters
    ----------
    path
        Of the run's file or folder.
    layout
        The end of the path, with ``ARM``, perhaps ``SEED``, and ``*`` for any part of a name.
        None: the number at the end of its name is the seed, as in ``fixed-seed3``, ``fixed_3`` and
        ``3``. What is before it is the arm, or the folder above if there is nothing.

    Raises
    ------
    RecordsError
        If the path is not as the layout says.
    """
    whole = path.resolve()
    text = whole.with_suffix("").as_posix() if whole.is_file() else whole.as_posix()
    if layout is not None:
        found = re.search(rf"(?:^|/){_pattern(layout)}$", text)
        if found is None:
            raise RecordsError(
                f"{path} does not end as task.layout={layout} says",
                "give the end of the path without the file's ending, such as ARM/seed-SEED",
            )
        fields = found.groupdict()
        return fields["arm"], int(fields["seed"]) if "seed" in fields else None
    name = text.rpartition("/")[2]
    numbered = _NUMBERED.fullmatch(name)
    if numbered is None:
        return name, None
    return numbered["arm"] or whole.parent.name or name, int(numbered["seed"])


def check_layout(layout: str) -> None:
    """Raise ConfigError for a layout that does not say where the arm is."""
    if layout.count("ARM") != 1 or layout.count("SEED") > 1:
        raise ConfigError(
            f"task.layout={layout} does not have ARM once, and SEED at most once",
            "give the end of the paths, such as task.layout=ARM/seed-SEED",
        )


def _pattern(layout: str) -> str:
    """The layout as a regular expression."""
    fixed, fields = _FIELD.split(layout), _FIELD.findall(layout)
    made = [re.escape(fixed[0])]
    for field, text in zip(fields, fixed[1:], strict=True):
        made += [_PARTS[field], re.escape(text)]
    return "".join(made)
