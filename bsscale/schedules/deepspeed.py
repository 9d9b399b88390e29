"""From the scheduler section of a DeepSpeed configuration to a schedule, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any

from bsscale.errors import ConfigError
from bsscale.schedules import checks
from bsscale.schedules.base import Schedule
from bsscale.schedules.deepspeed_groups import as_lists, without_lists
from bsscale.schedules.deepspeed_warmup import WarmupCosineLR, WarmupDecayLR, WarmupLR
from bsscale.schedules.onecycle import OneCycle
from bsscale.schedules.range_test import RangeTest

__all__ = ["from_deepspeed", "groups_from_deepspeed", "to_deepspeed"]


# DeepSpeed's schedulers by name: the schedule, whose fields have the names of the parameters, and
# the defaults that only DeepSpeed has. None: the learning rate that its optimizer is made with.
_SCHEDULERS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "OneCycle": (OneCycle, {"cycle_first_step_size": 2000}),
    "LRRangeTest": (
        RangeTest,
        {"lr_range_test_min_lr": 1e-3, "lr_range_test_step_size": 2000},
    ),
    "WarmupLR": (WarmupLR, {"warmup_max_lr": None}),
    "WarmupDecayLR": (WarmupDecayLR, {"warmup_max_lr": 0.001}),
    "WarmupCosineLR": (WarmupCosineLR, {}),
}


# What the Hugging Face Trainer writes for "auto".
_AUTO = {
    "warmup_min_lr": "0",
    "warmup_max_lr": "its learning_rate",
    "warmup_num_steps": "its warmup_steps, or warmup_ratio of all updates",
    "total_num_steps": "the updates of the whole training",
}


def from_deepspeed(section: Mapping[str, Any], base_lr: float | None = None) -> Schedule:
    """The schedule of a DeepSpeed configuration.

    >>> from_deepspeed({"type": "WarmupLR", "params": {"warmup_max_lr": 0.1}}).lr(1001)
    0.1

    Parameters
    ----------
    section
        A whole configuration (the content of a ds_config.json), of which only ``scheduler`` is
        read, or that section: ``{"type": ..., "params": {...}}`` with OneCycle, LRRangeTest,
        WarmupLR, WarmupDecayLR or WarmupCosineLR. Parameters that are left out have DeepSpeed's
        defaults. For OneCycle ``post_cycle_decay_step_size`` is another name of
        ``decay_step_size``, a stair count of 0 or less means continuous, and decay rates without a
        decay_step_size, or for a momentum that is not cycled, do nothing, as in DeepSpeed.
    base_lr
        The learning rate that the optimizer is configured with. WarmupCosineLR needs it, and so
        does WarmupLR without warmup_max_lr; the others do not look at it.

    Raises
    ------
    ConfigError
        For an unknown type or key, a missing one, or a value that the schedule does not accept;
        for lists with a rate for each parameter group, which `groups_from_deepspeed` reads.
    """
    schedule, ratios = groups_from_deepspeed(section, base_lr)
    if any(ratio != 1 for ratio in ratios):
        raise ConfigError(
            f"the DeepSpeed scheduler has lists with other rates for {len(ratios)} parameter "
            "groups, whose parameters it does not name",
            "give one number for each rate; scaling.embeddings.lr gives embedding tables a rate of "
            "their own, and in a loop of your own groups_from_deepspeed reads the lists",
        )
    return schedule


def groups_from_deepspeed(
    section: Mapping[str, Any], base_lr: float | None = None
) -> tuple[Schedule, tuple[float, ...]]:
    """The schedule of a DeepSpeed configuration that may have lists, and each group's ratio to it.

    >>> params = {"warmup_min_lr": [0.0, 0.0], "warmup_max_lr": [0.1, 0.4]}
    >>> schedule, ratios = groups_from_deepspeed({"type": "WarmupLR", "params": params})
    >>> schedule.lr(1001), ratios
    (0.1, (1.0, 4.0))

    Parameters
    ----------
    section, base_lr
        As `from_deepspeed`. A list has a number for each parameter group of the optimizer.

    Returns
    -------
    The schedule of the first parameter group, and for each group its learning rate relative to that
    one: the `ratios` of `bsscale.schedules.torch_form.attach`. ``(1.0,)`` where there are no lists.

    Raises
    ------
    ConfigError
        As `from_deepspeed`; and if the lists are not proportional: then the groups have no schedule
        in common.
    """
    name, given = _read(section)
    _refuse_auto(name, given)
    numbers, ratios = without_lists(name, given)
    return _schedule(name, numbers, base_lr), ratios


def _schedule(name: str, given: dict[str, Any], base_lr: float | None) -> Schedule:
    shape, defaults = _SCHEDULERS[name]
    if name == "OneCycle" and "post_cycle_decay_step_size" in given:
        if "decay_step_size" in given:
            raise ConfigError(
                f"decay_step_size={given['decay_step_size']} and post_cycle_decay_step_size="
                f"{given['post_cycle_decay_step_size']} are two names of one length",
                "give one of them",
            )
        given["decay_step_size"] = given.pop("post_cycle_decay_step_size")
    if given.pop("last_batch_iteration", -1) != -1:
        raise ConfigError(
            "last_batch_iteration resumes a DeepSpeed training in the middle",
            "leave it out: a schedule starts at step 0, and a scheduler's state resumes it",
        )
    parameters = _parameters_of(shape)
    checks.keys(given, [field.name for field in parameters], f"the params of {name}")
    needed = [field.name for field in parameters if field.default is MISSING]
    missing = [key for key in needed if key not in given and key not in defaults]
    if missing:
        raise ConfigError(
            f"{name} has no {' and no '.join(missing)}", f"give it in the params of {name}"
        )
    params = {**defaults, **{key: _plain(value) for key, value in given.items()}}
    if name == "WarmupCosineLR":
        params["base_lr"] = _base_lr(base_lr, "WarmupCosineLR scales the optimizer's learning rate")
    elif name == "WarmupLR" and params["warmup_max_lr"] is None:
        params["warmup_max_lr"] = _base_lr(
            base_lr, "WarmupLR without warmup_max_lr warms up to the optimizer's learning rate"
        )
    elif name == "OneCycle":
        params = _onecycle(params)
    schedule: Schedule = shape(**params)
    return schedule


def to_deepspeed(schedule: Schedule, ratios: Sequence[float] | None = None) -> dict[str, Any]:
    """The ``scheduler`` section of a DeepSpeed configuration with the same learning rates.

    Parameters
    ----------
    schedule
        A OneCycle, RangeTest, WarmupLR, WarmupDecayLR or WarmupCosineLR; DeepSpeed has no other
        shapes. `from_deepspeed` gives an equal one back (told the base_lr of a WarmupCosineLR,
        which a section has no place for).
    ratios
        For each parameter group its learning rate relative to the schedule's, as `attach` takes
        them: rates become lists, which `groups_from_deepspeed` reads. None: all groups alike.

    Returns
    -------
    dict
        ``{"type": ..., "params": {...}}``, for json.dump.

    Raises
    ------
    ConfigError
        If DeepSpeed has no such schedule, or none with a rate for each group.

    Notes
    -----
    DeepSpeed makes another momentum of the same OneCycle at two places: at step 0, and after the
    cycle where decay_mom_rate is above 0; see `OneCycle`.
    """
    for name, (shape, _) in _SCHEDULERS.items():
        if type(schedule) is shape:
            values = {field.name: getattr(schedule, field.name) for field in _parameters_of(shape)}
            # None stands for a default in both.
            params = {key: value for key, value in values.items() if value is not None}
            if ratios is not None:
                params |= as_lists(name, params, ratios)
            return {"type": name, "params": params}
    remedy = f"it has {', '.join(_SCHEDULERS)}"
    match type(schedule).__name__:
        case "Constant":
            remedy += "; for a constant rate leave the section out, and give the optimizer's lr"
        case "LinearWarmup":
            remedy += "; WarmupLR with warmup_type='linear' comes near, one step later"
    raise ConfigError(f"DeepSpeed has no schedule like {type(schedule).__name__}", remedy)


def _parameters_of(shape: type[Any]) -> list[Field[Any]]:
    """The fields of a schedule that are parameters of DeepSpeed's."""
    return [field for field in fields(shape) if field.name != "base_lr"]


def _read(section: object) -> tuple[str, dict[str, Any]]:
    """Type and given parameters of a configuration or of its scheduler section."""
    if isinstance(section, Mapping) and "type" not in section and "scheduler" in section:
        section = section["scheduler"]
    if not isinstance(section, Mapping) or "type" not in section:
        raise ConfigError(
            "there is no scheduler in the DeepSpeed configuration",
            'give {"type": "OneCycle", "params": {...}}, or a configuration with such a '
            '"scheduler"',
        )
    checks.keys(section, ("type", "params"), "a DeepSpeed scheduler")
    checks.choice("the type of the DeepSpeed scheduler", section["type"], tuple(_SCHEDULERS))
    params = section.get("params", {})
    if not isinstance(params, Mapping):
        raise ConfigError(f"params is {params!r}", 'give an object, such as {"cycle_min_lr": 0.1}')
    return section["type"], dict(params)


def _refuse_auto(name: str, params: Mapping[str, Any]) -> None:
    """Values that only the Hugging Face Trainer knows."""
    if keys := [key for key, value in params.items() if value == "auto"]:
        filled = ", ".join(f"{key} ({_AUTO.get(key, 'nothing')})" for key in keys)
        raise ConfigError(
            f'"auto" in the params of {name}: {", ".join(keys)}',
            "the Hugging Face Trainer fills in what its own arguments say; write the number in "
            f"its place: {filled}",
        )


def _plain(value: Any) -> Any:
    """JSON writes some whole numbers as 1000.0 or 1e3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _base_lr(base_lr: float | None, why: str) -> float:
    if base_lr is None:
        raise ConfigError(f"{why}, which the section does not name", "give base_lr")
    return base_lr


def _onecycle(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters without what DeepSpeed ignores and OneCycle rejects."""
    kept = dict(params)
    for key in ("cycle_first_stair_count", "cycle_second_stair_count"):
        if isinstance(kept.get(key), int):
            kept[key] = max(kept[key], 0)
    if kept.get("decay_step_size", 0) == 0:
        kept.pop("decay_lr_rate", None)
        kept.pop("decay_mom_rate", None)
    if kept.get("cycle_momentum") is False:
        kept.pop("decay_mom_rate", None)
    return kept
