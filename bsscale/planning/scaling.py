"""The schedule and the parameter groups of a run, computed from its options and scaling rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bsscale.config import Config
from bsscale.errors import ConfigError
from bsscale.optimizers import OptimizerConfig
from bsscale.optimizers.groups import ParameterGroup
from bsscale.schedules import Schedule
from bsscale.schedules.options import ScheduleContext
from bsscale.schedules.scaling_rule import GroupRule, ScalingRule, power

__all__ = ["scaled_context", "scaled_schedule_and_groups"]


def scaled_schedule_and_groups(
    config: Config, context: ScheduleContext
) -> tuple[Schedule, tuple[ParameterGroup, ...]]:
    """The schedule and the parameter groups of a run.

    The ratio of the batches is `gpus`: the 1-GPU batch is micro_batch x grad_accum.

    Parameters
    ----------
    config
        The run; its schedule's options are resolved.
    context
        The numbers of the run, before the rule is applied.

    Raises
    ------
    ConfigError
        If the rule changes a value that the schedule or the optimizer does not have, or that the
        schedule changes itself.
    """
    rule, options = config.scaling.build(), config.schedule
    if config.scaling.name != "none" and rule == ScalingRule(config.scaling.name):
        raise ConfigError(
            f"scaling={config.scaling.name} moves nothing as configured",
            "give one of its options, such as scaling.lr=sqrt, or scaling=none",
        )
    if config.scaling.keeps_timescale and not config.optimizer.decoupled:
        raise ConfigError(
            f"scaling={config.scaling.name} keeps the timescale of AdamW's weight decay, and the "
            f"decay of optimizer={config.optimizer.name} is not decoupled from its gradient",
            "give optimizer=adamw, or weight_decay as none, sqrt, linear or an exponent",
        )
    if rule == ScalingRule():
        return options.build(context), (ParameterGroup("all", config.optimizer),)
    ratio = float(context.gpus)
    scaled = scaled_context(rule, context)
    schedule = options.build(scaled)
    _check_schedule(config, rule, schedule, scaled)
    if rule.embeddings is None:
        return schedule, (ParameterGroup("all", _scaled(config, rule.dense, ratio)),)
    options_of_tables = _scaled(config, rule.embeddings, ratio, "embeddings.")
    if rule.embeddings.follows_schedule:
        embeddings = ParameterGroup("embeddings", options_of_tables, rule.lr_ratios(ratio)[1])
    else:
        embeddings = ParameterGroup("embeddings", options_of_tables, constant_lr=context.base_lr)
    return schedule, (ParameterGroup("dense", _scaled(config, rule.dense, ratio)), embeddings)


def scaled_context(rule: ScalingRule, context: ScheduleContext) -> ScheduleContext:
    """The numbers that a schedule is built from, after a scaling rule.

    Parameters
    ----------
    rule
        The run's; the empty rule changes nothing.
    context
        The numbers of the run, before the rule is applied.
    """
    ratio = float(context.gpus)
    return replace(
        context,
        lr_factor=rule.dense.lr_factor(ratio) if rule.dense.lr else None,
        warmup_factor=power(ratio, rule.warmup) if rule.warmup else None,
    )


def _check_schedule(
    config: Config, rule: ScalingRule, schedule: Schedule, context: ScheduleContext
) -> None:
    """Raise ConfigError if the rule has no effect on the schedule, or both set the same value.

    Schedules can be compared: if another factor gives an equal schedule, it has no effect.
    """
    options = config.schedule
    name = f"schedule={options.name}"
    groups_differ = (
        rule.embeddings is not None
        and rule.embeddings.follows_schedule
        and rule.embeddings.lr != rule.dense.lr
    )
    if context.lr_factor is not None:
        other = replace(context, lr_factor=2 * context.lr_factor)
        if options.build(other) == schedule:
            raise ConfigError(
                f"scaling={rule.name} moves the rate, and {name} has no rate that a rule gives: "
                "rates that are given explicitly are never changed",
                "leave the explicit peak out; or give scaling.lr=none, and scaling.embeddings.lr "
                "as an exponent for the ratio of embedding tables to all else",
            )
    elif config.scaling.keeps_timescale and _moves_itself(config, context, schedule):
        raise ConfigError(
            f"scaling={rule.name} keeps the timescale of the weight decay by scaling.lr, which is "
            f"none, and {name} moves its rates with gpus itself",
            "give scaling.lr=linear or sqrt with a schedule that leaves its peak to the rule "
            "(schedule=fixed, say), or schedule.scaling=none",
        )
    elif groups_differ and _moves_itself(config, context, schedule):
        raise ConfigError(
            f"scaling.embeddings.lr is given beside scaling.lr=none, and {name} moves its rates "
            "with gpus itself, so that the rate of the embeddings would move twice",
            "give scaling.lr=linear or sqrt with a schedule that leaves its peak to the rule "
            "(schedule=fixed, say), or schedule.scaling=none",
        )
    if context.warmup_factor is not None:
        other = replace(context, warmup_factor=1e3 * context.warmup_factor)
        if options.build(other) == schedule:
            raise ConfigError(
                f"scaling.warmup={rule.warmup:g} moves the warm-up, and {name} has none",
                "give schedule=linear_warmup or wsd, or scaling.warmup=none",
            )
    moves_momentum = [
        f"scaling.{where}momentum={each.momentum}"
        for where, each in (("", rule.dense), ("embeddings.", rule.embeddings))
        if each is not None and each.momentum != "none"
    ]
    if moves_momentum and schedule.momentum(0) is not None:
        raise ConfigError(
            f"{moves_momentum[0]} with {name}, which moves the momentum itself",
            "leave the momentum to one of them: "
            f"{moves_momentum[0].partition('=')[0]}=none, or schedule.cycle_momentum=false",
        )


def _moves_itself(config: Config, context: ScheduleContext, schedule: Schedule) -> bool:
    """Whether a schedule moves its rates with the batch by a rule of its own."""
    return config.schedule.build(replace(context, gpus=2 * context.gpus)) != schedule


def _scaled(config: Config, rule: GroupRule, ratio: float, where: str = "") -> OptimizerConfig:
    """The optimizer's options at `ratio` times the batch."""
    optimizer = config.optimizer
    moved: dict[str, Any] = {}
    for key in rule.moved:
        option = optimizer.momentum_option if key == "momentum" else key
        value = getattr(optimizer, option, None) if option is not None else None
        if not value:
            has = f"has no {key} that a rule can move" if value is None else f"has {option}=0"
            raise ConfigError(
                f"scaling={config.scaling.name} moves {key} (scaling.{where}{key}="
                f"{getattr(rule, key)}), and optimizer={optimizer.name} {has}",
                f"give scaling.{where}{key}=none, or another optimizer (of optimizer=custom a rule "
                "moves the rate and weight_decay only)",
            )
        assert option is not None
        moved[option] = rule.option_at(key, value, ratio, where)
    return replace(optimizer, **moved) if moved else optimizer
