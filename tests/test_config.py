"""Every YAML file composes, and the help names every choice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from bsscale.cli.entry import CONFIG_DIRECTORY, SWEEPS_DIRECTORY, register_schemas, typed_config
from bsscale.cli.launchers import register_launcher
from bsscale.config import Config

GROUPS = ("task", "dataset", "model", "optimizer", "schedule", "executor", "tracker")
CHOICES = [
    (path.parent.name, path.stem)
    for path in sorted(CONFIG_DIRECTORY.glob("*/*.yaml"))
    if path.parent.name in GROUPS
]
REQUIRED = {
    ("dataset", "table"): ["dataset.path=x.csv", "dataset.label=y"],
    ("dataset", "custom"): ["dataset._target_=my.load"],
    ("model", "custom"): ["model._target_=my.Net"],
}


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    register_schemas()
    register_launcher()
    with initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        yield


def composed(*overrides: str) -> Config:
    return typed_config(compose("config", overrides=list(overrides)))


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_to_a_typed_configuration(group: str, choice: str) -> None:
    config = composed(f"{group}={choice}", *REQUIRED.get((group, choice), []))
    part = getattr(config, group)
    name = part["name"] if isinstance(part, dict) else part.name
    assert name == (choice if choice != "custom" else part["_target_"])


def test_the_files_cover_every_group() -> None:
    assert {group for group, _ in CHOICES} == set(GROUPS)


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_file_says_what_it_is(group: str, choice: str) -> None:
    text = (CONFIG_DIRECTORY / group / f"{choice}.yaml").read_text()
    assert text.startswith("# ")


def test_the_default_configuration() -> None:
    config = composed()
    assert (config.gpus, config.micro_batch, config.schedule.name) == (None, 128, "fixed")
    assert config.dataset["split"] == "random"


def test_a_schema_and_its_file_agree_on_the_defaults() -> None:
    """What the YAML shows is what a library user gets from the dataclass."""
    from bsscale.cli.entry import SCHEMAS

    for path, node in SCHEMAS.items():
        group, _, name = path.rpartition("/")
        if group in ("optimizer", "schedule", "tracker") and name in [c for g, c in CHOICES]:
            assert getattr(composed(f"{group}={name}"), group) == node(name=name)


def test_the_help_names_every_choice() -> None:
    help_file = Path(CONFIG_DIRECTORY, "hydra", "help", "bsscale.yaml").read_text()
    for group in GROUPS:
        choices = sorted(choice for g, choice in CHOICES if g == group)
        lines = re.sub(r"\n\s*\|", " |", help_file).splitlines()
        [line] = [x for x in lines if x.strip().startswith(f"{group}=")]
        shown = line.split("=", 1)[1].split("#")[0].replace(" ", "").split("|")
        assert sorted(shown) == choices, group


EXPERIMENTS = sorted(path.stem for path in CONFIG_DIRECTORY.glob("experiment/*.yaml"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_and_says_what_it_is(name: str) -> None:
    text = (CONFIG_DIRECTORY / "experiment" / f"{name}.yaml").read_text()
    assert text.startswith("# @package _global_\n# ")
    assert composed(f"experiment={name}", "gpus=8").gpus == 8


@pytest.mark.parametrize(
    ("key", "folder"),
    [("experiment", CONFIG_DIRECTORY / "experiment"), ("+sweeps", SWEEPS_DIRECTORY)],
)
def test_the_help_names_every_experiment_and_sweep(key: str, folder: Path) -> None:
    help_file = Path(CONFIG_DIRECTORY, "hydra", "help", "bsscale.yaml").read_text()
    lines = re.sub(r"\n\s*\|", " |", help_file).splitlines()
    [line] = [x for x in lines if x.strip().startswith(f"{key}=")]
    shown = line.split("=", 1)[1].replace(" ", "").split("|")
    assert sorted(shown) == sorted(path.stem for path in folder.glob("*.yaml"))
