"""The arm and the seed of a run, from the path of its file or folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bsscale.errors import ConfigError, RecordsError

__all__ = ["check_layout", "place_of"]

# A name such as fixed-seed3, run_3 or 3: what is before the last number is the arm.
_NUMBERED = re.compile(
    r"(?P<arm>.*?)[-_. ]*(?:seed|run|result|trial|version|s)?[-_. =]*(?P<seed>\d+)"
)
_FIELD = re.compile(r"\\\{(arm|seed)\\\}")


def place_of(path: Path, layout: str | None) -> tuple[str, int | None]:
    """The arm of a run, and its seed if the path has it.

    Parameters
    ----------
    path
        Of the run's file or folder.
    layout
        The end of the path, with ``{arm}``, perhaps ``{seed}``, and ``*`` for any part of a name.
        None: the last number in its name is the seed. What is before it is the arm, or the folder
        above if there is nothing.

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
                "give the end of the path without the file's ending, such as {arm}/seed-{seed}",
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
    fields: Sequence[str] = re.findall(r"\{(.*?)\}", layout)
    if fields.count("arm") != 1 or fields.count("seed") > 1 or set(fields) - {"arm", "seed"}:
        raise ConfigError(
            f"task.layout={layout} does not have {{arm}} once, and {{seed}} at most once",
            "give the end of the paths, such as 'task.layout={arm}/seed-{seed}'",
        )


def _pattern(layout: str) -> str:
    parts = {"arm": r"(?P<arm>[^/]+?)", "seed": r"(?P<seed>\d+)"}
    return _FIELD.sub(lambda found: parts[found[1]], re.escape(layout)).replace(r"\*", "[^/]*")
