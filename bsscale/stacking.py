"""Which runs share a training step, how many at a time, and whether that step is compiled.

A stack's width and each run's slot are fixed beforehand and follow from the runs alone, never
from how they fare: the numbers of a run must not depend on when another one ends.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from bsscale.config import Config
from bsscale.errors import ConfigError

if TYPE_CHECKING:
    from bsscale.plan import Plan

__all__ = ["Stack", "choose_training_step", "make_stacks"]

T = TypeVar("T")

# Samples of all runs in one update up to which a wider stack is faster on a CPU: beyond it the
# activations leave the cache. Four runs share what there is to share; more gain nothing.
CPU_SAMPLES = 1024
CPU_WIDTH = 4
# On a GPU all fit; so many that a study of any sensible size is one stack.
CUDA_WIDTH = 64

# Seconds that compiling takes, and that it saves per update of one run against torch's autograd.
# The CPU's are roughly those of one MLP on two cores, executor.compile=true against false; CUDA's
# are an estimate.
COMPILE_S = {"cpu": 25.0, "cuda": 40.0}
SAVED_PER_UPDATE_S = {"cpu": 5e-4, "cuda": 1e-3}
SAVED_PER_SAMPLE_S = {"cpu": 5e-7, "cuda": 0.0}


@dataclass(frozen=True)
class Stack:
    """Runs that are trained together.

    Attributes
    ----------
    members
        Their numbers in the sequence that they came in.
    width
        How many at a time: run number k of the stack has slot k mod width.
    training_step, training_step_reason
        layers, compiled or eager, and why.
    """

    members: tuple[int, ...]
    width: int
    training_step: str
    training_step_reason: str


def make_stacks(runs: Sequence[tuple[Config, Plan]]) -> list[Stack]:
    """Group runs into stacks, in the order in which each group first occurs.

    Parameters
    ----------
    runs
        Configuration and plan of each. Runs over many processes are stacks of their own.
    """
    groups: dict[Any, list[int]] = {}
    for number, (config, plan) in enumerate(runs):
        alone = plan.executor != "virtual"
        groups.setdefault((number,) if alone else _what_they_share(config, plan), []).append(number)
    stacks = []
    for members in groups.values():
        config, plan = runs[members[0]]
        updates = sum(runs[number][1].steps for number in members)
        step, reason = choose_training_step(
            config, plan.executor, plan.device, updates, plan.global_batch
        )
        width = 1 if step == "eager" else _width(len(members), plan)
        stacks.append(Stack(tuple(members), width, step, reason))
    return stacks


def choose_training_step(
    config: Config, executor: str, device: str, updates: int, global_batch: int
) -> tuple[str, str]:
    """How updates are taken, and why.

    Parameters
    ----------
    config
        Of any of the runs.
    executor, device
        As planned.
    updates
        Of all runs that would be trained with the one step.
    global_batch
        Samples of one update.

    Returns
    -------
    str
        ``layers``: the shipped models' own forward and backward passes over stacked runs;
        ``compiled``: any model's, by torch.func and torch.compile; ``eager``: torch's autograd,
        run by run.
    str
        Why, in a few words.

    Raises
    ------
    ConfigError
        If what is asked for cannot be had.
    """
    wanted = config.executor.compile
    if executor == "ddp":
        if wanted is True:
            raise ConfigError(
                "executor.compile=true with executor=ddp", "only executor=virtual compiles its step"
            )
        step, reason = "eager", "ddp"
    elif config.precision == "bf16":
        if wanted is True:
            raise ConfigError(
                "executor.compile=true with precision=bf16",
                "give executor.compile=auto: bf16 is trained run by run, by torch.autocast; or "
                "precision=fp32",
            )
        step, reason = "eager", "precision=bf16 is torch.autocast's, run by run"
    else:
        shipped = str(config.model.get("_target_", "")).startswith("bsscale.models.")
        saved_s = _saved_s(shipped, device, updates, global_batch)
        compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
        cost_s = COMPILE_S[device]
        prediction = f"compiling would take about {cost_s:.0f} s and save about {saved_s:.0f} s"
        if wanted is True:
            if compiler is None:
                raise ConfigError(
                    "executor.compile=true without a C++ compiler",
                    "install one (apt-get install g++), or name it in CXX",
                )
            step, reason = "compiled", "asked for"
        elif shipped:
            step, reason = "layers", "not compiled: the shipped models' layers are as fast"
        elif wanted is False:
            step, reason = "eager", "compile=false and no model that ships"
        elif compiler is None:
            step, reason = "eager", "no C++ compiler to compile the step with"
        elif saved_s > cost_s:
            step, reason = "compiled", prediction
        else:
            step, reason = "eager", prediction
    if config.optimizer.sparse is True and step != "layers":
        raise ConfigError(
            f"optimizer.sparse=true with a training step that is {step} ({reason})",
            "give optimizer.sparse=auto; touched rows alone are updated with executor=virtual, "
            "executor.compile=auto, precision=fp32 or fp64 and a model that ships",
        )
    return step, reason


def split(items: Sequence[T], width: int) -> list[list[T]]:
    """Each slot's items: item k goes to slot k mod width."""
    return [list(items[slot::width]) for slot in range(width)]


def _saved_s(shipped: bool, device: str, updates: int, global_batch: int) -> float:
    """What compiling is predicted to save, in seconds, against the best that is uncompiled."""
    if shipped:
        return 0.0
    return updates * (SAVED_PER_UPDATE_S[device] + SAVED_PER_SAMPLE_S[device] * global_batch)


def _width(runs: int, plan: Plan) -> int:
    if plan.device == "cuda":
        most = CUDA_WIDTH
    else:
        most = max(1, min(CPU_WIDTH, CPU_SAMPLES // plan.global_batch))
    # As even as possible: five runs at most four at a time are three and two.
    return -(-runs // -(-runs // most))


def _what_they_share(config: Config, plan: Plan) -> Any:
    """What has to be equal for runs to share a step."""
    optimizer = asdict(config.optimizer)
    if config.optimizer.momentum_now is not None:
        # Each run has its own.
        optimizer.pop("momentum", None)
        optimizer.pop("beta1", None)
    return repr(
        (
            config.dataset,
            config.model,
            optimizer,
            plan.global_batch,
            plan.precision,
            config.clip_grad_norm,
            plan.device,
            plan.threads,
            config.executor.compile,
        )
    )
