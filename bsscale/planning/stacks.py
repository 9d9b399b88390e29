"""Which runs share a training step, and how many at a time.

A stack's width and each run's slot are fixed beforehand and follow from the runs alone, never
from how they fare: the numbers of a run must not depend on when another one ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from bsscale.planning.plan import Plan
from bsscale.planning.training_step import choose_training_step

__all__ = ["Stack", "make_stacks", "split"]

T = TypeVar("T")

# Samples of all runs in one update up to which a wider stack is faster on a CPU: beyond it the
# activations leave the cache. Four runs share what there is to share; more gain nothing.
CPU_SAMPLES = 1024
CPU_WIDTH = 4
# On a GPU all fit; so many that a study of any sensible size is one stack.
CUDA_WIDTH = 64


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


def make_stacks(plans: Sequence[Plan]) -> list[Stack]:
    """Group runs into stacks, in the order in which each group first occurs.

    Parameters
    ----------
    plans
        One a run. Runs over many processes are stacks of their own.
    """
    groups: dict[Any, list[int]] = {}
    for number, plan in enumerate(plans):
        alone = plan.executor != "virtual"
        groups.setdefault((number,) if alone else _what_they_share(plan), []).append(number)
    stacks = []
    for members in groups.values():
        plan = plans[members[0]]
        updates = sum(plans[number].steps for number in members)
        step, reason = choose_training_step(
            plan.config, plan.executor, plan.device, updates, plan.global_batch
        )
        width = 1 if step == "eager" else _width(len(members), plan)
        stacks.append(Stack(tuple(members), width, step, reason))
    return stacks


def split(items: Sequence[T], width: int) -> list[list[T]]:
    """Each slot's items: item k goes to slot k mod width."""
    return [list(items[slot::width]) for slot in range(width)]


def _width(runs: int, plan: Plan) -> int:
    if plan.device == "cuda":
        most = CUDA_WIDTH
    else:
        most = max(1, min(CPU_WIDTH, CPU_SAMPLES // plan.global_batch))
    # As even as possible: five runs at most four at a time are three and two.
    return -(-runs // -(-runs // most))


def _what_they_share(plan: Plan) -> Any:
    """What has to be equal for runs to share a step."""
    config = plan.config
    optimizer = asdict(config.optimizer)
    moved = config.optimizer.momentum_option
    if moved is not None and config.optimizer.momentum_now is not None:  # each run has its own
        del optimizer[moved]
    return repr(
        (
            config.dataset,
            config.model,
            config.objective,
            type(config.optimizer),  # (a class of its own may have the same options)
            optimizer,
            plan.global_batch,
            config.precision,
            config.clip_grad_norm,
            plan.device,
            config.executor.threads,
            config.executor.compile,
        )
    )
