"""What people type: a wrong command line is answered here, before Hydra composes anything."""

from __future__ import annotations

import dataclasses
import difflib
import io
from collections.abc import Collection, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

from bsscale.cli.hydra_internals import flags_parser
from bsscale.config import Config
from bsscale.errors import ConfigError

__all__ = ["CommandLine", "check_arguments"]

# What an option is called elsewhere.
_ELSEWHERE = {
    "batch_size": "micro_batch",
    "device": "executor.device",
    "epochs": "budget_passes",
    "learning_rate": "base_lr",
    "lr": "base_lr",
    "wandb": "tracker",
}


# Groups where the name is what the code looks a part up by; elsewhere it is a label.
_NAMED = ("task", "schedule", "optimizer", "executor", "tracker")


@dataclass(frozen=True)
class CommandLine:
    """What a command line asks for.

    Attributes
    ----------
    help
        Whether it asks for help.
    chosen
        The files that it chooses, as group and name.
    config_folders
        Folders of the user's own, where files are looked for first.
    """

    help: bool
    chosen: list[tuple[str, str]]
    config_folders: list[Path]


def check_arguments(
    arguments: Sequence[str], choices: Mapping[str, Collection[str]]
) -> CommandLine:
    """Read the command line, and raise for what cannot be meant.

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
    parser = flags_parser()
    with redirect_stderr(io.StringIO()) as said:
        try:
            flags, unknown = parser.parse_known_args(list(arguments))
        except SystemExit as end:
            if not end.code:  # --version, which has answered
                raise
            fact = said.getvalue().strip().splitlines()[-1].partition("error: ")[2]
            raise ConfigError(fact, "python -m bsscale --help lists the options") from None
    if unknown:
        raise _unknown_flag(unknown[0], list(arguments))
    if flags.shell_completion:
        return CommandLine(False, [], [])
    overrides = [_parsed(word, choices) for word in flags.overrides]
    folders = [] if flags.config_dir is None else [Path(flags.config_dir)]
    command = CommandLine(flags.help, _chosen(overrides), folders)
    # Files of the user's own may offer choices that are not known here.
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
            f"{several[0]} is several values, and this is one run",
            f"sweep over them: python -m bsscale -m {several[0]} ..., or give one value of {key}",
        )
    return command


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
            remedy = f"write {word}=NAME; there are {', '.join(sorted(choices[word]))}"
        raise ConfigError(f"{word!r} is not key=value", remedy)
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        key, _, value = word.partition("=")
        quoted = value.replace('"', '\\"')
        raise ConfigError(
            f"{word}: this value cannot be read",
            "a value with other signs than letters, digits and _-./: needs two kinds of quotes: "
            f"""'{key}="{quoted}"'""",
        ) from None


def _check(override: Override, choices: Mapping[str, Collection[str]]) -> None:
    group = override.key_or_group
    options = {field.name for field in dataclasses.fields(Config)} | {"experiment", "hydra"}
    adds = override.is_add() or override.is_force_add()
    if not adds and group.replace("/", ".").partition(".")[0] not in options:
        if group in choices:
            raise ConfigError(
                f"{override.input_line} lacks a plus sign", f"write +{override.input_line}"
            )
        raise ConfigError(
            f"there is no option {group}",
            _suggested(group, options) + "python -m bsscale --help lists the options",
        )
    owner, _, option = group.rpartition(".")
    if option == "name" and owner in _NAMED:
        raise ConfigError(
            f"{override.input_line} would change the name of the {owner}, and not the {owner}",
            f"write {owner}=NAME; there are {', '.join(sorted(choices[owner]))}",
        )
    for each in _values(override):
        if group in choices and isinstance(each, str) and each not in choices[group]:
            raise ConfigError(
                f"there is no {group}={each}",
                _suggested(each, choices[group], f"{group}=")
                + f"there are {', '.join(sorted(choices[group]))}",
            )


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


def _suggested(word: str, known: Collection[str], before: str = "") -> str:
    close = difflib.get_close_matches(word, known, 1)
    if not before and word in _ELSEWHERE:
        close = [_ELSEWHERE[word]]
    return f"did you mean {before}{close[0]}? " if close else ""
