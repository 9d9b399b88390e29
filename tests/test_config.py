"""Every YAML file composes, and documents every option."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from pydoc import locate
from typing import Any

import pytest

from bsscale.cli.help import Option, read_config_file
from bsscale.cli.store import CONFIG_DIRECTORY, SCHEMAS
from tests.composing import hydra, typed

__all__ = ["hydra"]
pytestmark = pytest.mark.usefixtures("hydra")

GROUPS = (
    "task",
    "dataset",
    "model",
    "objective",
    "optimizer",
    "schedule",
    "scaling",
    "executor",
    "tracker",
)
CHOICES = [
    (path.parent.name, path.stem)
    for path in sorted(CONFIG_DIRECTORY.glob("*/*.yaml"))
    if path.parent.name in GROUPS
]
REQUIRED = {
    ("dataset", "criteo"): ["dataset.path=train.txt"],
    ("dataset", "table"): ["dataset.path=x.csv", "dataset.label=y"],
    ("dataset", "custom"): ["dataset._target_=my.load"],
    ("model", "custom"): ["model._target_=my.Net"],
    ("objective", "custom"): ["objective._target_=my.Own"],
    ("optimizer", "custom"): ["optimizer._target_=my.Own"],
    ("schedule", "custom"): ["schedule._target_=my.Own"],
}


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_to_a_typed_configuration(group: str, choice: str) -> None:
    config = typed(f"{group}={choice}", *REQUIRED.get((group, choice), []))
    part = getattr(config, group)
    name = part["name"] if isinstance(part, dict) else part.name
    of_target = choice == "custom" and group not in ("schedule", "scaling")
    assert name == (REQUIRED[group, choice][0].partition("=")[2] if of_target else choice)


def test_the_files_cover_every_group() -> None:
    assert {group for group, _ in CHOICES} == set(GROUPS)


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_file_says_what_it_is(group: str, choice: str) -> None:
    text = (CONFIG_DIRECTORY / group / f"{choice}.yaml").read_text()
    assert text.startswith("# ")


def test_the_default_configuration() -> None:
    config = typed()
    assert (config.gpus, config.micro_batch, config.schedule.name) == (None, 128, "fixed")
    assert config.dataset["split"] == "random"


def file_of(schema: str) -> str:
    """The file below conf/ that documents a typed configuration."""
    return {"executor/executor": "executor/auto"}.get(schema, schema)


def documented(file: str) -> dict[str, Option]:
    options = read_config_file(CONFIG_DIRECTORY / f"{file}.yaml").options
    return {option.key: option for option in options}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_schema_and_its_file_agree_on_the_defaults(schema: str) -> None:
    """What the YAML shows is what a library user gets from the dataclass."""
    group, _, name = file_of(schema).rpartition("/")
    config: Any = typed(f"{group}={name}") if group else typed()
    made, given = SCHEMAS[schema](), getattr(config, group) if group else config
    for field in fields(made):
        # (Groups, and the arms of a study, are in the YAML files alone.)
        if field.name not in ("name", "arms", *GROUPS):
            assert getattr(given, field.name) == getattr(made, field.name), field.name


def options_of(made: Any, prefix: str = "") -> list[str]:
    """The options of a typed configuration, as a file has them."""
    found = []
    for field in fields(made):
        value = getattr(made, field.name)
        if is_dataclass(value) and field.name not in GROUPS:
            found += options_of(value, f"{field.name}.")
        elif field.name not in ("name", "arms", *GROUPS):
            found.append(prefix + field.name)
    return found


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_option_of_a_schema_is_in_its_file(schema: str) -> None:
    assert set(options_of(SCHEMAS[schema]())) <= documented(file_of(schema)).keys()


@pytest.mark.parametrize("group", ["dataset", "model"])
def test_every_argument_of_a_target_is_in_its_file(group: str) -> None:
    given = {"cardinalities", "numeric_fields"} if group == "model" else set()
    for choice in [choice for g, choice in CHOICES if g == group and choice != "custom"]:
        options = documented(f"{group}/{choice}")
        arguments = inspect.signature(locate(options["_target_"].value)).parameters.keys()
        assert arguments - given == options.keys() - {"_target_", "name"}, choice


@pytest.mark.parametrize("file", ["config", *(f"{group}/{choice}" for group, choice in CHOICES)])
def test_every_option_has_a_comment(file: str) -> None:
    missing = [
        key
        for key, option in documented(file).items()
        if not option.comment
        and key not in ("name", "_target_")
        and not key.startswith(("arms.", "hydra."))
    ]
    assert missing == []


EXPERIMENTS = sorted(path.stem for path in CONFIG_DIRECTORY.glob("experiment/*.yaml"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_and_says_what_it_is(name: str) -> None:
    text = (CONFIG_DIRECTORY / "experiment" / f"{name}.yaml").read_text()
    assert text.startswith("# @package _global_\n# ")
    assert typed(f"experiment={name}", "gpus=8").gpus == 8
