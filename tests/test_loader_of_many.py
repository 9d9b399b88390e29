"""The jobs of a sweep are composed as Hydra composes them, errors included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import Container, DictConfig, ListConfig, Node, OmegaConf

from bsscale.cli.hydra_internals import loader_of_many
from bsscale.cli.launchers.register import register_launchers
from bsscale.cli.store import CONFIG_DIRECTORY, SWEEPS_DIRECTORY, register_schemas

Pair = tuple[ConfigLoader, ConfigLoader]
Overrides = Sequence[str]

FEW: list[Overrides] = [
    [],
    ["schedule=onecycle", "gpus=8", "seed=1", "model=mlp", "+model.depth=3", "model.hidden=[8,4]"],
    ["task=study", "experiment=quick", "~task.arms.fixed", "hydra.job.chdir=true"],
]
WRONG: list[Overrides] = [
    ["schedule=onecicle"],
    ["gpus=many"],
    ["gpu=8"],
    ["schedule.cycle_first_stair_count=3"],
    ["~seed=3"],
    ["scaling=none", "scaling=linear", "scaling.rate=x"],
    ["+optimizer=adam"],
    ["seed=1,2"],
    ["gpus=[1"],
    ["nothing/at_all=3"],
    ["gpus@other=3"],
]
ALONE = ("experiment", "task")  # (they choose other files)
TOGETHER = [
    [f"{group.name}={path.stem}" for path in sorted(group.glob("*.yaml"))]
    for group in sorted(CONFIG_DIRECTORY.iterdir())
    if group.is_dir() and group.name not in ("hydra", *ALONE)
]
FILES = [
    *([each[k % len(each)] for each in TOGETHER] for k in range(max(map(len, TOGETHER)))),
    *([f"{group}={path.stem}"] for group in ALONE for path in (CONFIG_DIRECTORY / group).iterdir()),
    *([f"+sweeps={path.stem}"] for path in sorted(SWEEPS_DIRECTORY.glob("*.yaml"))),
    *([f"hydra/launcher={name}", "~tracker"] for name in ("basic", "submitit_slurm", "ray")),
]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Hydra's loader, and ours."""
    register_schemas()
    register_launchers()
    setup_globals()
    with initialize_config_dir(str(CONFIG_DIRECTORY), version_base="1.3"):
        hydras = GlobalHydra.instance().config_loader()
        yield hydras, loader_of_many(hydras)


def composed(loader: ConfigLoader, overrides: Overrides, sweep: Overrides = ()) -> Any:
    """What a job is composed to, in every detail, or its error."""
    master = OmegaConf.create(
        {"hydra": {"overrides": {"hydra": list(sweep)}, "job": {"config_name": "config"}}}
    )
    assert isinstance(master, DictConfig)
    try:
        config = loader.load_sweep_config(master, list(overrides))
    except Exception as error:
        return [type(error), str(error), repr(error.__cause__)]
    found = described(config)
    # What a job goes on to do with its configuration must not reach the others.
    OmegaConf.set_struct(config, False)
    config.task.name, config.seed, config.hydra.job.num = "changed", 77, 5
    config.model = {}
    return found


def described(node: Node) -> Any:
    kind = (type(node), node._metadata.ref_type, node._metadata.object_type)
    kind += (node._metadata.optional, node._metadata.flags)
    if not isinstance(node, Container) or node._is_none() or node._is_missing():
        return [*kind, node._value()]
    if isinstance(node, ListConfig):
        return [*kind, *(described(node._get_node(k)) for k in range(len(node)))]
    assert isinstance(node, DictConfig)
    return [*kind, *((key, described(node._get_node(key))) for key in node)]


def test_a_job_is_composed_as_hydra_does_it_again_and_again(pair: Pair) -> None:
    hydras, ours = pair
    expected = [composed(hydras, each) for each in FEW]
    for _ in range(2):
        assert [composed(ours, each) for each in FEW] == expected
    assert all(len(each) > 10 for each in expected)


@pytest.mark.parametrize("overrides", WRONG, ids=" ".join)
@pytest.mark.slow
def test_an_error_is_hydras(pair: Pair, overrides: Overrides) -> None:
    hydras, ours = pair
    expected = composed(hydras, overrides)
    assert len(expected) == 3, expected
    assert [composed(ours, overrides) for _ in range(2)] == [expected] * 2


@pytest.mark.slow
def test_every_file_is_composed_as_hydra_does_it(pair: Pair) -> None:
    hydras, ours = pair
    for overrides in FILES:
        expected = composed(hydras, overrides)
        for _ in range(2):
            assert composed(ours, overrides) == expected, overrides


def test_files_of_the_users_own_are_found(pair: Pair, tmp_path: Path) -> None:
    hydras, ours = pair
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("_target_: mine.Net\nname: mine\n")
    sweep = [f"hydra.searchpath=[file://{tmp_path}]"]
    expected = composed(hydras, ["model=mine"], sweep)
    assert composed(ours, ["model=mine"], sweep) == expected and len(expected) > 10
    assert composed(ours, ["model=mine"]) == composed(hydras, ["model=mine"])
    assert len(composed(ours, ["model=mine"])) == 3


@pytest.mark.parametrize("launcher", ["stacked", "basic"])
def test_the_sweeper_leaves_the_composition_of_jobs_to_our_launchers(
    pair: Pair, launcher: str
) -> None:
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    hydra.config_loader = pair[1]
    config = hydra.compose_config("config", [f"hydra/launcher={launcher}"], RunMode.MULTIRUN)
    context: Any = SimpleNamespace(config_loader=pair[1])
    sweeper: Any = Plugins.instance().instantiate_sweeper(
        hydra_context=context, task_function=print, config=config
    )
    if launcher == "stacked":
        sweeper.validate_batch_is_legal([["no_such_option=1"]])
    else:
        with pytest.raises(ConfigCompositionException, match="no_such_option"):
            sweeper.validate_batch_is_legal([["no_such_option=1"]])
