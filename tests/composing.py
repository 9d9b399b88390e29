"""Configurations composed in this process, as the command line composes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cache

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from bsscale.cli.hydra_internals import loader_of_many
from bsscale.cli.jobs import typed_config
from bsscale.cli.launchers.register import register_launchers
from bsscale.cli.store import CONFIG_DIRECTORY, register_schemas
from bsscale.config import Config

__all__ = ["composed", "expanded", "hydra", "typed"]


@pytest.fixture
def hydra() -> Iterator[None]:
    """Hydra as the command line sets it up; it composes as for the jobs of a sweep."""
    register_schemas()
    register_launchers()
    with initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        running = GlobalHydra.instance().hydra
        assert running is not None
        running.config_loader = _loader()
        yield


@cache
def _loader() -> ConfigLoader:
    return loader_of_many(GlobalHydra.instance().config_loader())


def composed(*overrides: str) -> DictConfig:
    return compose("config", overrides=list(overrides))


def typed(*overrides: str) -> Config:
    return typed_config(composed(*overrides))


def expanded(words: Sequence[str]) -> list[tuple[str, ...]]:
    """The overrides of every job of a sweep, as Hydra's sweeper makes them."""
    axes = []
    for override in OverridesParser.create().parse_overrides(list(words)):
        key = override.get_key_element()
        values = (
            override.sweep_string_iterator()
            if override.is_sweep_override()
            else [override.get_value_element_as_str()]
        )
        axes.append([f"{key}={value}" for value in values])
    return list(itertools.product(*axes))
