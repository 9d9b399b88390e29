"""Which runs share a training step, and how many at a time.

A stack's width and each run's slot are fixed beforehand and follow from the runs alone, never
from how they fare: the numbers of a run must not depend on when another one ends.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

from bsscale.optimizers import OptimizerConfig
from bsscale.planning.plan import Plan
from bsscale.planning.training_step import choose_training_step

__all__ = ["Piece", "Stack", "cut", "make_stacks", "predicted_s", "split"]

T = TypeVar("T")

# Samples of all runs in one update up to which a wider stack is faster on a CPU: beyond it the
# activations leave the cache. Four runs share what there is to share; more gain nothing.
CPU_SAMPLES = 1024
CPU_WIDTH = 4
# Estimates of the seconds of an update on one core, and of each of its samples, for a small MLP.
# They order the pieces, and decide whether workers=auto starts workers.
UPDATE_S, SAMPLE_S = 1e-4, 2e-6
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


@dataclass(frozen=True)
class Piece:
    """What one worker trains at a time: a stack, or a part of it.

    Attributes
    ----------
    stack
        Whose step and width it has.
    left_out
        Members of the stack, by their place in it, that have ended or that others train: their
        slots stay as they are.
    predicted_s
        How long it takes on one core, roughly.
    """

    stack: Stack
    left_out: frozenset[int]
    predicted_s: float

    @property
    def runs(self) -> list[int]:
        """The runs that it trains, by their numbers in the sequence that they came in."""
        members = enumerate(self.stack.members)
        return [number for place, number in members if place not in self.left_out]


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


def cut(
    stacks: Sequence[Stack],
    plans: Sequence[Plan],
    workers: int = 1,
    finished: Collection[int] = (),
) -> list[Piece]:
    """What is left of some stacks in pieces for so many workers, the longest first.

    Parameters
    ----------
    stacks
        As `make_stacks` gives them.
    plans
        One a run.
    workers
        How many there are; 1: a stack stays whole.
    finished
        Runs that have nothing left to do.

    Notes
    -----
    On a CPU, the bits of a run depend neither on the width nor on its slot where its step is made
    of layers or is torch's own: pieces are stacks of their own. All other pieces keep the step,
    the width and the slots of the stack that they were cut from.
    """
    pieces = []
    for stack in stacks:
        first = plans[stack.members[0]]
        places = [k for k, number in enumerate(stack.members) if number not in finished]
        free = stack.training_step == "eager" or (
            stack.training_step == "layers" and first.device == "cpu"
        )
        for part in _parts(places, stack.width, workers) if workers > 1 else [places]:
            if not part:
                continue
            runs = [stack.members[k] for k in part]
            left_out = frozenset(range(len(stack.members))) - frozenset(part)
            own = stack
            if free and workers > 1:
                width = 1 if stack.width == 1 else _width(len(runs), first)
                own, left_out = replace(stack, members=tuple(runs), width=width), frozenset()
            cost = sum(predicted_s(plans[number]) for number in runs)
            pieces.append(Piece(own, left_out, cost))
    # (with one worker they stay in their order)
    return sorted(pieces, key=lambda each: -each.predicted_s) if workers > 1 else pieces


def predicted_s(plan: Plan) -> float:
    """How long a run takes on one core if it uses its whole budget, roughly, in seconds."""
    return plan.steps * (UPDATE_S + SAMPLE_S * plan.global_batch)


def _parts(places: Sequence[int], width: int, workers: int) -> list[Sequence[int]]:
    """Consecutive places in as many parts as give each worker the same, and each part its width.

    A part of more than `width` runs gives the slot of a run that ends early to the next one; many
    parts balance the workers. Parts of at most two widths do both.
    """
    count = len(places) if width == 1 else -(-len(places) // (2 * width))
    count = min(len(places), -(-count // workers) * workers)
    ends = [k * len(places) // count for k in range(count + 1)] if count else []
    return [places[a:b] for a, b in pairwise(ends)]


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
    return repr(
        (
            config.dataset,
            config.model,
            config.objective,
            type(config.optimizer),  # (a class of its own may have the same options)
            [_rule_of(group.optimizer) for group in plan.groups],
            plan.global_batch,
            config.precision,
            config.clip_grad_norm,
            plan.cowclip,
            plan.average is None,  # (each run may have a half-life of its own)
            plan.device,
            config.executor.threads,
            config.executor.compile,
        )
    )


def _rule_of(optimizer: OptimizerConfig) -> dict[str, Any]:
    """An optimizer's options, less the momentum: each run has its own, as it has its rates."""
    options = asdict(optimizer)
    if optimizer.momentum_option is not None and optimizer.momentum_now is not None:
        del options[optimizer.momentum_option]
    return options
