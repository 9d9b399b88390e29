"""Checks of the command line, before Hydra composes anything."""

from __future__ import annotations

import dataclasses
import io
from argparse import Namespace
from collections.abc import Collection, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, QuotedString
from hydra.errors import HydraException

from bsscale.cli.hydra_internals import flags_parser
from bsscale.cli.words import HELP, MADE, TYPED, choose, suggestion
from bsscale.config import Config
from bsscale.errors import ConfigError

__all__ = ["CommandLine", "check_arguments", "ordered"]

_GROUPS = (*TYPED, *MADE)
# What may be removed: arms of a study, and arguments of a data set or a model.
_REMOVABLE = ("task.arms.", "dataset.", "model.", "objective.", "hydra.")
# The parts of Hydra's configuration to which keys may be added.
_HYDRA_TAKES = tuple(
    f"hydra.{each}"
    for each in ("launcher", "sweeper", "callbacks", "hydra_logging", "job_logging", "job.", "env")
)


@dataclass(frozen=True)
class CommandLine:
    """The content of a command line.

    Attributes
    ----------
    help
        Whether it contains --help.
    chosen
        The files that it chooses, as group and name.
    config_folders
        Folders of the user's own, which are searched first.
    """

    help: bool
    chosen: list[tuple[str, str]]
    config_folders: list[Path]


def check_arguments(
    arguments: Sequence[str], choices: Mapping[str, Collection[str]]
) -> CommandLine:
    """Read the command line, and raise an error for an invalid one.

    Parameters
    ----------
    arguments
        The command line.
    choices
        The files of each group.

    Raises
    ------
    ConfigError
        For a flag that does not exist, an argument that is not key=value, an option or a choice
        that is misspelt, and several values without -m. Hydra reports the rest.
    """
    flags, unknown = _parsed_flags(arguments)
    if unknown:
        raise _unknown_flag(unknown[0], list(arguments))
    if flags.shell_completion:
        return CommandLine(False, [], [])
    _check_flags(flags)
    overrides = [_parsed(word, choices) for word in flags.overrides]
    folders = [] if flags.config_dir is None else [Path(flags.config_dir)]
    command = CommandLine(flags.help, _chosen(overrides), folders)
    # Files of the user's own may add choices, which are not known here.
    if flags.config_name or flags.config_path or flags.config_dir:
        return command
    if any((each.key_or_group or "").startswith("hydra.searchpath") for each in overrides):
        return command
    for override in overrides:
        _check(override, choices)
    several = [each.input_line for each in overrides if each.is_sweep_override()]
    modes = [each for each in overrides if each.key_or_group in ("hydra.mode", "sweeps")]
    if several and not (flags.multirun or modes or flags.cfg or flags.info or flags.help):
        key = (several[0] or "").partition("=")[0]
        raise ConfigError(
            f"{several[0]} has several values, but this command trains one run",
            f"sweep over them: python -m bsscale -m {several[0]} ..., or give one value of {key}",
        )
    return command


def ordered(arguments: Sequence[str]) -> list[str]:
    """The same command line with its options before its flags, as Hydra reads them."""
    flags = list(arguments)
    overrides: list[str] = _parsed_flags(arguments)[0].overrides
    for each in overrides:
        flags.remove(each)
    return [*overrides, *flags]


def _parsed_flags(arguments: Sequence[str]) -> tuple[Namespace, list[str]]:
    """Hydra's flags, at any position, and the unknown flags."""
    with redirect_stderr(io.StringIO()) as said:
        try:
            return flags_parser().parse_known_intermixed_args(list(arguments))
        except SystemExit as end:
            if not end.code:  # --version, which has answered
                raise
            fact = said.getvalue().strip().splitlines()[-1].partition("error: ")[2]
            raise ConfigError(fact, HELP) from None


def _check_flags(flags: Namespace) -> None:
    modes = [name for name in ("run", "multirun", "cfg", "info") if getattr(flags, name)]
    if len(modes) > 1:
        raise ConfigError(
            f"--{modes[0]} and --{modes[1]} ask for two things", f"leave --{modes[1]} out"
        )
    if flags.resolve and not flags.cfg:
        raise ConfigError("--resolve without --cfg does nothing", "write --cfg job --resolve")


def _unknown_flag(flag: str, arguments: list[str]) -> ConfigError:
    name, given, value = flag.lstrip("-").partition("=")
    after = arguments[arguments.index(flag) + 1 :] if flag in arguments else []
    if not given:
        value = after[0] if after and "=" not in after[0] else "VALUE"
    return ConfigError(
        f"there is no flag {flag}",
        f"options are key=value, without dashes: {name}={value}; python -m bsscale --help lists "
        "them",
    )


def _parsed(word: str, choices: Mapping[str, Collection[str]]) -> Override:
    if "=" not in word and not word.startswith("~"):
        remedy = "write options without spaces, as in gpus=8; python -m bsscale --help lists them"
        if word in choices:
            remedy = choose(word, choices[word])
        raise ConfigError(f"{word!r} is not key=value", remedy)
    try:
        return OverridesParser.create().parse_override(word)
    except (HydraException, ValueError):  # (numbers of more than 4300 digits)
        key, _, value = word.partition("=")
        quoted = value.replace('"', '\\"')
        raise ConfigError(
            f"{word}: this value cannot be read",
            "a value with characters other than letters, digits and _-./: needs two kinds of "
            f"""quotes: '{key}="{quoted}"'""",
        ) from None


def _check(override: Override, choices: Mapping[str, Collection[str]]) -> None:
    group = override.key_or_group
    if not group:
        raise ConfigError(
            f"{override.input_line} names no option", "write NAME=VALUE, such as gpus=8"
        )
    options = {field.name for field in dataclasses.fields(Config)} | {"experiment", "hydra"}
    adds = override.is_add() or override.is_force_add()
    if not adds and group.replace("/", ".").partition(".")[0] not in options:
        if group in choices:
            raise ConfigError(
                f"{override.input_line} lacks a plus sign", f"write +{override.input_line}"
            )
        raise ConfigError(f"there is no option {group}", suggestion(group, options) + HELP)
    if override.is_delete():
        _check_deletion(override, choices)
        return
    owner, _, option = group.rpartition(".")
    if option == "name" and owner in TYPED:
        raise ConfigError(
            f"{override.input_line} changes only the name of the {owner}, not the {owner} itself",
            choose(owner, choices[owner]),
        )
    if isinstance(override.value(), IntervalSweep):
        raise ConfigError(
            f"{override.input_line} is an interval, but a sweep needs single values",
            f"list them: {group}=A,B,C, or {group}=range(FIRST,LAST,STEP)",
        )
    if override.is_add() and group in (*_GROUPS, "experiment"):
        raise ConfigError(
            f"{override.input_line} would add a second {group}",
            f"write it without the plus: {(override.input_line or '').lstrip('+')}",
        )
    if override.is_add() and group.startswith("hydra.") and not group.startswith(_HYDRA_TAKES):
        raise ConfigError(f"{override.input_line} adds an option that Hydra does not have", HELP)
    for each in _values(override):
        if isinstance(each, int) and abs(each) > 10**300:
            raise ConfigError(
                f"{group} is a number of {len(str(abs(each)))} digits", "give a smaller one"
            )
        chooses = group in _GROUPS or (group == "experiment" and each is not None)
        if chooses and not isinstance(each, str | QuotedString):
            raise ConfigError(
                f"{override.input_line} chooses no {group}", _choose(group, choices[group])
            )
        if group in choices and isinstance(each, str) and each not in choices[group]:
            raise ConfigError(
                f"there is no {group}={each}",
                suggestion(each, choices[group], f"{group}=")
                + f"there are {', '.join(sorted(choices[group]))}",
            )


def _check_deletion(override: Override, choices: Mapping[str, Collection[str]]) -> None:
    """Raise ConfigError if an option must not be removed."""
    group = override.key_or_group
    if group in _GROUPS:
        raise ConfigError(
            f"{override.input_line}: no run is without a {group}", _choose(group, choices[group])
        )
    if not group.startswith(_REMOVABLE):
        raise ConfigError(
            f"{override.input_line} cannot be removed",
            f"leave it out for its default; ~task.arms.NAME removes an arm of a study; {HELP}",
        )


def _choose(group: str, known: Collection[str]) -> str:
    if group == "tracker":
        return "write tracker=none to mirror nothing"
    return choose(group, known)


def _values(override: Override) -> Sequence[object]:
    value = override.value()
    return value.list if isinstance(value, ChoiceSweep) else [value]


def _chosen(overrides: Sequence[Override]) -> list[tuple[str, str]]:
    return [
        (override.key_or_group, value)
        for override in overrides
        for value in _values(override)
        if isinstance(value, str) and "." not in override.key_or_group
    ]
