"""The sources of Hydra's configuration: conf/, sweeps/ and the typed options of the parts."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from bsscale import config
from bsscale.bridge.options import TRAINER_OPTIONS
from bsscale.cli.tasks import TASKS
from bsscale.config.shipped import CONFIG_DIRECTORY, shipped_options
from bsscale.optimizers import OPTIMIZERS, CustomConfig
from bsscale.schedules.options import SCHEDULES, CustomScheduleConfig
from bsscale.schedules.options.scaling import SCALINGS
from bsscale.tracking.options import WandbOptions

__all__ = ["CONFIG_DIRECTORY", "SWEEPS_DIRECTORY", "choices", "choices_with", "register_schemas"]

SWEEPS_DIRECTORY = CONFIG_DIRECTORY.with_name("sweeps")

SCHEMAS: dict[str, Any] = {
    "config": config.Config,
    "executor/executor": config.ExecutorOptions,
    "tracker/none": config.TrackerOptions,
    "tracker/wandb": WandbOptions,
    **{f"optimizer/{name}": options for name, options in OPTIMIZERS.items()},
    "optimizer/custom": CustomConfig,
    **{f"task/{name}": task.options for name, task in TASKS.items()},
    **{f"trainer/{name}": options for name, options in TRAINER_OPTIONS.items()},
    **{f"schedule/{name}": options for name, options in SCHEDULES.items()},
    **{f"scaling/{name}": options for name, options in SCALINGS.items()},
}
# What takes options of the user's own, beside those that it declares.
ANY_OPTION = (CustomConfig, CustomScheduleConfig)


def register_schemas() -> None:
    """Register with Hydra what is not below conf/: the typed configurations and the sweeps.

    The typed configurations go into a hidden group, where the YAML files refer to them.
    """
    store = ConfigStore.instance()
    for path, node in SCHEMAS.items():
        group, _, name = path.rpartition("/")
        if node in ANY_OPTION:
            node = OmegaConf.structured(node, flags={"struct": False})
        store.store(group="_schema/" + group if group else "_schema", name=name, node=node)
    # (A second entry on Hydra's search path would make every folder beside sweeps/ a group.)
    for sweep in sorted(SWEEPS_DIRECTORY.glob("*.yaml")):
        file = OmegaConf.load(sweep)
        store.store(group="sweeps", name=sweep.stem, node=file, package="_global_")


def choices() -> dict[str, set[str]]:
    """The choices of each group of files, by the name of the group."""
    folders = [each for each in CONFIG_DIRECTORY.iterdir() if each.is_dir()]
    return {
        folder.name: {file.stem for file in folder.glob("*.yaml")}
        for folder in [*folders, SWEEPS_DIRECTORY]
        if folder.name != "hydra"
    }


def choices_with(group: str, option: str) -> list[str]:
    """The choices of a group that have an option; the user's own have any, and are left out."""
    found = []
    for choice in sorted(choices().get(group, set()) - {"custom"}):
        kind = SCHEMAS.get(f"{group}/{choice}")
        typed = {field.name for field in fields(kind)} if kind is not None else set()
        if option in typed | (shipped_options(group, choice) or {}).keys() - {"defaults"}:
            found.append(choice)
    return found
