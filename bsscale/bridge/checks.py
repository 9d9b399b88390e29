"""What a script cannot train, as far as bsscale can tell before it is started."""

from __future__ import annotations

import numpy as np

from bsscale.bridge.options import ScriptOptions
from bsscale.errors import ConfigError
from bsscale.planning.plan import Plan
from bsscale.planning.world import World

__all__ = ["check_script"]


def check_script(plan: Plan) -> None:
    """Raise ConfigError for a run that its script cannot train."""
    config = plan.config
    options = config.trainer
    assert isinstance(options, ScriptOptions)
    world = World.here()
    if world is not None and world.size > 1:
        raise ConfigError(
            f"trainer=script in {world.size} processes that {world.source} has started",
            "start bsscale once; name the processes in trainer.command, such as torchrun "
            "--nproc-per-node {gpus} train.py",
        )
    if len(plan.groups) > 1:
        raise ConfigError(
            f"scaling={config.scaling.name} has a rate of its own for embedding tables, which only "
            "the script knows",
            "leave it out; run.attach(optimizer, ratios=[...]) scales groups of the script's",
        )
    moved = plan.schedule.momentum(np.arange(plan.steps))
    for name, values in (("lr", plan.schedule.lr(np.arange(plan.steps))), ("momentum", moved)):
        if name in options.placeholders and values is not None and np.ptp(values):
            raise ConfigError(
                f"trainer.command has {{{name}}}, one number for the whole run, and "
                f"schedule={config.schedule.name} changes it",
                "let the script take the schedule from bsscale (run.attach or run.schedule.lr), or "
                "give a constant schedule",
            )
