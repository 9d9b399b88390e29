"""The options below ``scaling.``, and the scaling rule that they define."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from bsscale.errors import ConfigError
from bsscale.schedules.scaling_rule import GroupRule, ScalingRule

__all__ = ["SCALINGS", "GroupScaling", "ScalingConfig", "given_scaling", "make_scaling"]

_EXPONENTS = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}
_DECAYS = ("momentum", "beta2")
# The rate of embedding tables that does not follow the schedule.
_CONSTANT = "constant"
# The weight decay that keeps AdamW's timescale: see `AdamWTimescaleRule`.
_TIMESCALE = "timescale"


@dataclass
class GroupScaling:
    """How the hyperparameters of a group change; None: as those of all other parameters."""

    lr: int | float | str | None = None
    momentum: str | None = None
    beta2: str | None = None
    eps: int | float | str | None = None
    weight_decay: int | float | str | None = None


@dataclass
class ScalingConfig:
    """Options of every rule. This class is the rule ``none``: only the schedule scales rates."""

    name: str = "none"

    @property
    def keeps_timescale(self) -> bool:
        """Whether the weight decay moves against the rate, so that AdamW's timescale stays."""
        return False

    def build(self) -> ScalingRule:
        """The rule; raises ConfigError for an invalid option or one without effect."""
        return ScalingRule()


@dataclass
class CustomRule(ScalingConfig):
    """A rule that changes the hyperparameters with an option here, and no others."""

    name: str = "custom"
    lr: int | float | str = "none"
    momentum: str = "none"
    beta2: str = "none"
    eps: int | float | str = "none"
    weight_decay: int | float | str = "none"
    warmup: int | float | str = "none"
    embeddings: GroupScaling = field(default_factory=GroupScaling)

    @property
    def keeps_timescale(self) -> bool:
        return _TIMESCALE in (self.weight_decay, self.embeddings.weight_decay)

    def build(self) -> ScalingRule:
        keys = [each.name for each in fields(GroupScaling)]
        dense = {key: _rule(f"scaling.{key}", getattr(self, key)) for key in keys}
        own = {
            key: _rule(f"scaling.embeddings.{key}", value)
            for key, value in asdict(self.embeddings).items()
            if value is not None
        }
        defaults = type(self)().embeddings
        for key, value in own.items():
            # (What the rule itself has there can be switched off.)
            if value == dense[key] and getattr(defaults, key) is None:
                raise ConfigError(
                    f"scaling.embeddings.{key}={getattr(self.embeddings, key)} does nothing: it "
                    "is the rule of all parameters",
                    f"leave it out, or give another scaling.{key}",
                )
        return ScalingRule(
            name=self.name,
            dense=_group_rule(dense),
            embeddings=_group_rule({**dense, **own}) if own else None,
            warmup=_rule("scaling.warmup", self.warmup),
        )


@dataclass
class LinearRule(CustomRule):
    """The linear rule (Goyal et al. 2017)."""

    name: str = "linear"
    lr: int | float | str = "linear"


@dataclass
class SqrtRule(CustomRule):
    """The square-root rule (Krizhevsky 2014)."""

    name: str = "sqrt"
    lr: int | float | str = "sqrt"


@dataclass
class AdamSDERule(CustomRule):
    """The square-root rule of Adam (Malladi et al. 2022)."""

    name: str = "adam_sde"
    lr: int | float | str = "sqrt"
    momentum: str = "complement"
    beta2: str = "complement"
    eps: int | float | str = -0.5


@dataclass
class AdamHalfLifeRule(CustomRule):
    """Adam's beta2 with its half-life in samples kept (Marek et al. 2025)."""

    name: str = "adam_half_life"
    beta2: str = "power"


@dataclass
class AdamWTimescaleRule(CustomRule):
    """AdamW's timescale kept (Bergsma et al. 2025): B / (lr λ D), the share of the run's D samples
    over which its update averages. So λ is multiplied by κ over the factor of the rate.
    """

    name: str = "adamw_timescale"
    weight_decay: int | float | str = _TIMESCALE


@dataclass
class LEGWRule(CustomRule):
    """The square-root rule with a longer warm-up (You et al. 2019)."""

    name: str = "legw"
    lr: int | float | str = "sqrt"
    warmup: int | float | str = "linear"


def _of_cowclip() -> GroupScaling:
    return GroupScaling(lr=_CONSTANT, weight_decay="linear")


@dataclass
class CowClipRule(CustomRule):
    """The rule of CowClip (Zheng et al. 2022)."""

    name: str = "cowclip"
    lr: int | float | str = "sqrt"
    embeddings: GroupScaling = field(default_factory=_of_cowclip)


# By the name of their file in conf/scaling.
SCALINGS: dict[str, type[ScalingConfig]] = {
    rule.name: rule
    for rule in (
        ScalingConfig,
        LinearRule,
        SqrtRule,
        LEGWRule,
        AdamSDERule,
        AdamHalfLifeRule,
        AdamWTimescaleRule,
        CowClipRule,
        CustomRule,
    )
}


def make_scaling(given: object) -> ScalingConfig:
    """The options of a rule from its name, or from its name and options.

    Parameters
    ----------
    given
        ``"sqrt"``, or ``{"name": "sqrt", "embeddings": {"lr": "none"}}``.

    Raises
    ------
    ConfigError
        If there is no such rule or option.
    """
    options: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = options.pop("name", None)
    if name not in SCALINGS:
        raise ConfigError(f"scaling={name} is not a rule", f"give one of {', '.join(SCALINGS)}")
    try:
        if "embeddings" in options:
            options["embeddings"] = GroupScaling(**options["embeddings"])
        return SCALINGS[name](**options)
    except TypeError as error:
        raise ConfigError(f"scaling={given}: {error}", f"see conf/scaling/{name}.yaml") from None


def given_scaling(options: ScalingConfig) -> dict[str, Any]:
    """The name of a rule and its options without the defaults; `make_scaling` reads it."""
    default = asdict(type(options)())
    given = {key: value for key, value in asdict(options).items() if value != default[key]}
    if "embeddings" in given:
        own = given["embeddings"].items()
        given["embeddings"] = {key: value for key, value in own if value is not None}
    return {"name": options.name, **given}


def _group_rule(rules: Mapping[str, Any]) -> GroupRule:
    """The rule of a group; λ at p = 1 − (the rate's exponent) keeps κ / (κ^lr λ) as it was."""
    rules = dict(rules)
    if rules["lr"] == _CONSTANT:
        rules |= {"lr": 0.0, "follows_schedule": False}
    if rules["weight_decay"] == _TIMESCALE:
        rules["weight_decay"] = 1.0 - rules["lr"]
    return GroupRule(**rules)


def _rule(option: str, value: float | str) -> Any:
    """The rule of one hyperparameter: a word for a decay, an exponent otherwise."""
    if option.rpartition(".")[2] in _DECAYS:
        if value not in ("none", "complement", "power"):
            raise ConfigError(
                f"{option}={value} is not one of its values",
                "give none, complement (1 - ratio x (1 - value)) or power (value to the power of "
                "the ratio)",
            )
        return value
    if value == _CONSTANT and option == "scaling.embeddings.lr":
        return value
    if value == _TIMESCALE and option.endswith("weight_decay"):
        return value
    if isinstance(value, str):
        if value not in _EXPONENTS:
            raise ConfigError(
                f"{option}={value} is not one of its values",
                f"give {', '.join(_EXPONENTS)}, or an exponent of the ratio such as 0.75"
                + (f", or {_TIMESCALE}" if option.endswith("weight_decay") else "")
                + (f", or {_CONSTANT}" if option == "scaling.embeddings.lr" else ""),
            )
        return _EXPONENTS[value]
    if isinstance(value, bool) or not abs(value) < float("inf"):
        raise ConfigError(f"{option}={value} is not a finite number", "give 0.5, say, or sqrt")
    return float(value)
