"""``--help``: made from the files of conf/ and sweeps/, whose comments are the documentation."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml  # type: ignore[import-untyped]

__all__ = ["ConfigFile", "Option", "help_text", "read_config_file"]

WIDTH = 100
# Where comments begin at most; a longer option has a line of its own.
COLUMN = 44

_TITLE = """\
bsscale: grow a training job from 1 GPU to N without losing convergence.

  python -m bsscale schedule=onecycle gpus=8                      train, report samples to target
  python -m bsscale -m schedule=fixed,onecycle gpus=8 seed=0,1,2  compare schedules
  python -m bsscale -m +sweeps=stair_counts                       a prepared comparison
  python -m bsscale task=study experiment=quick gpus=8            the whole protocol and its report
  python -m bsscale schedule=onecycle --help                      the options of a choice
"""
_END = """\
Records: outputs/DATE/TIME or hydra.run.dir=PATH; of -m, multirun/DATE/TIME or hydra.sweep.dir=PATH.
Exit codes: 0 reached, exhausted or diverged; 1 rejected input or a failed run; 130 Ctrl-C.
--cfg job prints all options with their values, --hydra-help Hydra's own flags."""


@dataclass(frozen=True)
class Option:
    """An option in a file: its dotted key, its value as it is written there, its comment."""

    key: str
    value: str
    comment: str


@dataclass(frozen=True)
class ConfigFile:
    """The content of a file of conf/ or sweeps/.

    Attributes
    ----------
    about
        The comment that it begins with, line by line.
    is_global
        Whether its options are those of a run, and not of its group.
    choices
        The files of other groups that it chooses, as group and name.
    options
        Its options, in order; those of the files of its own group that it is based on first.
    """

    about: list[str]
    is_global: bool
    choices: list[tuple[str, str]]
    options: list[Option]


def read_config_file(path: Path) -> ConfigFile:
    """Read a file with its comments.

    The comment of an option is the text behind it on its line, and the comment lines above it.
    """
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    about = []
    for line in lines:
        if not line.startswith("#"):
            break
        about.append(line.removeprefix("#").removeprefix(" "))
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    choices: list[tuple[str, str]] = []
    options: dict[str, Option] = {}
    for key, value in root.value if isinstance(root, yaml.MappingNode) else []:
        if key.value == "defaults":
            choices = list(_choices(value))
            for base in _bases(value):
                inherited = read_config_file(path.with_name(f"{base}.yaml")).options
                options |= {each.key: each for each in inherited}
        else:
            own = _options(text, lines, len(about), key, value, "")
            options |= {each.key: each for each in own}
    package = "@package "
    return ConfigFile(
        about=[line for line in about if not line.startswith(package)],
        is_global=f"{package}_global_" in about,
        choices=choices,
        options=list(options.values()),
    )


def help_text(
    folders: Sequence[Path],
    sweeps: Path,
    launchers: Sequence[str],
    chosen: Sequence[tuple[str, str]] = (),
) -> str:
    """The help that a command line asks for.

    Parameters
    ----------
    folders
        Where the groups lie, the user's own first; the last holds config.yaml.
    sweeps
        The folder of the sweeps.
    launchers
        The names that hydra/launcher takes.
    chosen
        What the command line chooses, as group and name: their options are shown. Without any,
        all choices and the options of a run.
    """
    files = _files(folders, sweeps)
    pages = [_page(group, name, files[group]) for group, name in chosen if group in files]
    if pages:
        end = "All choices, and the options of a run: python -m bsscale --help"
        return "\n\n".join([*pages, end])
    config = read_config_file(folders[-1] / "config.yaml")
    options = [each for each in config.options if not each.key.startswith("hydra.")]
    lines = [
        _TITLE,
        "Choices, the default first (experiment and +sweeps have none):",
        *_choice_lines(config, files, launchers),
        "",
        "Options of a run, with their defaults:",
        *_option_lines(options),
        "",
        _END,
    ]
    return "\n".join(lines)


def _files(folders: Sequence[Path], sweeps: Path) -> dict[str, dict[str, Path]]:
    """The files of each group, by name."""
    found: dict[str, dict[str, Path]] = {"sweeps": {}}
    for folder in reversed(folders):  # (the first one's files replace those of the others)
        for group in sorted(folder.iterdir()) if folder.is_dir() else []:
            if group.is_dir() and group.name != "hydra":
                names = {path.stem: path for path in sorted(group.glob("*.yaml"))}
                found[group.name] = {**found.get(group.name, {}), **names}
    found["sweeps"] |= {path.stem: path for path in sorted(sweeps.glob("*.yaml"))}
    return found


def _page(group: str, name: str, files: dict[str, Path]) -> str:
    """One file: what it is, and its options."""
    title = f"{'+' if group == 'sweeps' else ''}{group}={name}"
    if name not in files:
        return f"{title}\n  not a file of conf/{group}; --cfg job --package {group} shows it"
    file = read_config_file(files[name])
    lines = [title, *(f"  {line}".rstrip() for line in file.about)]
    prefix = "" if file.is_global else f"{group}."
    chosen = [Option(key, value, "") for key, value in file.choices]
    named = (f"{prefix}name", f"{prefix}_target_")
    options = [
        each
        for each in (Option(prefix + o.key, o.value, o.comment) for o in file.options)
        if each.key not in named or each.value == "???"
    ]
    if chosen or options:
        lines += ["", *_option_lines([*chosen, *options])]
    return "\n".join(lines)


def _choice_lines(
    config: ConfigFile, files: dict[str, dict[str, Path]], launchers: Sequence[str]
) -> Iterator[str]:
    defaults = dict(config.choices)
    first = [group for group in defaults if group in files]
    others = [group for group in files if group not in (*first, "sweeps")]
    for group in [*first, *others, "sweeps"]:
        names = sorted(files[group], key=lambda name: (name != defaults.get(group), name))
        yield from _alternatives("+sweeps" if group == "sweeps" else group, names)
    yield from _alternatives("hydra/launcher", launchers)


def _alternatives(key: str, names: Sequence[str]) -> list[str]:
    lines = textwrap.wrap(
        f"{key}={'~| '.join(names)}",  # (a bar stays on the line of the name before it)
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("~|", " |") for line in lines]


def _option_lines(options: Sequence[Option]) -> Iterator[str]:
    """Options in two columns: what can be typed, and the comment."""
    written = [f"  {each.key}={each.value}" if each.value else f"  {each.key}" for each in options]
    column = max((len(text) + 2 for text in written if len(text) + 2 <= COLUMN), default=COLUMN)
    for text, each in zip(written, options, strict=True):
        comment = textwrap.wrap(each.comment, WIDTH - column, break_on_hyphens=False) or [""]
        if len(text) + 2 > column and each.comment:
            yield text
            text = ""
        yield f"{text:<{column}}{comment[0]}".rstrip()
        yield from (" " * column + line for line in comment[1:])


def _choices(node: yaml.Node) -> Iterator[tuple[str, str]]:
    """The files that a defaults list chooses."""
    for entry in node.value:
        if not isinstance(entry, yaml.MappingNode):
            continue
        for group, name in entry.value:
            key = group.value.removeprefix("override ").lstrip("/")
            if not key.startswith("hydra/"):
                yield key, name.value


def _bases(node: yaml.Node) -> Iterator[str]:
    """The files of its own group that a defaults list begins with."""
    for entry in node.value:
        name = entry.value
        if isinstance(entry, yaml.ScalarNode) and name != "_self_" and not name.startswith("/"):
            yield name


def _options(
    text: str, lines: Sequence[str], after: int, key: yaml.Node, value: yaml.Node, prefix: str
) -> Iterator[Option]:
    """An option, and those below it."""
    name = prefix + key.value
    above: list[str] = []
    number = key.start_mark.line - 1
    while number >= after and lines[number].strip().startswith("#"):
        above.insert(0, lines[number].strip().lstrip("# "))
        number -= 1
    is_block = isinstance(value, yaml.CollectionNode) and not value.flow_style
    end = key.end_mark if is_block else value.end_mark
    beside = lines[end.line][end.column :].partition("#")[2].strip()
    comment = " ".join(filter(None, [*above, beside]))
    if not is_block:
        written = " ".join(text[value.start_mark.index : value.end_mark.index].split())
        yield Option(name, written, comment)
    elif isinstance(value, yaml.SequenceNode):
        yield Option(name, _in_one_line(value), comment)
    else:
        if comment:
            yield Option(name, "", comment)
        for below, inner in value.value:
            yield from _options(text, lines, after, below, inner, f"{name}.")


def _in_one_line(node: yaml.Node) -> str:
    """A value as it is written on the command line."""
    if isinstance(node, yaml.SequenceNode):
        return f"[{', '.join(map(_in_one_line, node.value))}]"
    if isinstance(node, yaml.MappingNode):
        inside = (f"{key.value}: {_in_one_line(value)}" for key, value in node.value)
        return f"{{{', '.join(inside)}}}"
    return str(node.value)
