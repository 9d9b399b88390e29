"""Schedules one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bsscale.config.files import typed
from bsscale.errors import ConfigError
from bsscale.schedules import Schedule, Sequence
from bsscale.schedules.options.base import ScheduleConfig, ScheduleContext, given_length
from bsscale.schedules.options.constants import (
    FixedConfig,
    LinearScalingConfig,
    ScaledConfig,
    SqrtScalingConfig,
)
from bsscale.schedules.options.deepspeed import DeepSpeedConfig
from bsscale.schedules.options.onecycle import OneCycleConfig, OneCycleTorchConfig
from bsscale.schedules.options.shapes import (
    CosineConfig,
    LinearWarmupConfig,
    RangeTestConfig,
    WSDConfig,
)

__all__ = ["PARTS", "SequenceConfig"]

PARTS: dict[str, type[ScheduleConfig]] = {
    "fixed": FixedConfig,
    "linear_scaling": LinearScalingConfig,
    "sqrt_scaling": SqrtScalingConfig,
    "scaled": ScaledConfig,
    "linear_warmup": LinearWarmupConfig,
    "cosine": CosineConfig,
    "wsd": WSDConfig,
    "range_test": RangeTestConfig,
    "onecycle": OneCycleConfig,
    "onecycle_torch": OneCycleTorchConfig,
    "deepspeed": DeepSpeedConfig,
}


@dataclass
class _LengthConfig:
    """How long a part lasts."""

    length_steps: int | None = None
    length_samples: int | None = None
    length_fraction: float | None = None


def _warmup_then_cosine() -> list[dict[str, Any]]:
    """As long as linear_warmup takes by default, and then a whole cosine."""
    return [{"name": "linear_warmup", "length_fraction": 1 / 3}, {"name": "cosine"}]


@dataclass
class SequenceConfig(ScheduleConfig):
    """Parts joined end to end, each of which starts at its own step 0.

    Attributes
    ----------
    parts
        A list of ``{name: ..., length_...: ..., option: ...}``: the name of another schedule, how
        long it lasts (``length_steps``, ``length_samples``, or ``length_fraction`` of one pass;
        not for the last part, which has no end), and that schedule's own options. By default a
        warmup and a cosine.
    """

    name: str = "sequence"
    parts: list[dict[str, Any]] = field(default_factory=_warmup_then_cosine)

    def resolved(self) -> SequenceConfig:
        parts = []
        for index, part in enumerate(self.parts):
            with _naming(index):
                lengths, own = _split(part)
                resolved = own.resolved()
            parts.append(part if resolved is own else lengths | asdict(resolved))
        return self if parts == self.parts else replace(self, parts=parts)

    def build(self, context: ScheduleContext) -> Schedule:
        schedules: list[Schedule] = []
        lengths: list[int] = []
        for index, part in enumerate(self.parts):
            with _naming(index):
                given, own = _split(part)
                schedules.append(own.build(context))
                if index < len(self.parts) - 1:
                    lengths.append(_steps(given, context))
                elif given:
                    raise ConfigError(
                        f"{', '.join(given)} of the last part does nothing: it has no end",
                        "leave it out, or add a part after it",
                    )
        return Sequence(tuple(schedules), tuple(lengths))


def _split(part: dict[str, Any]) -> tuple[dict[str, Any], ScheduleConfig]:
    """The length of a part as given, and its own configuration."""
    name = part.get("name")
    if name not in PARTS:
        raise ConfigError(f"its name is {name!r}", f"give one of {', '.join(PARTS)}")
    lengths = {key: value for key, value in part.items() if key.startswith("length_")}
    own = {key: value for key, value in part.items() if key not in lengths}
    return lengths, typed(PARTS[name], own, f"the options of {name}")


def _steps(given: dict[str, Any], context: ScheduleContext) -> int:
    steps = given_length(typed(_LengthConfig, given, "the length of a part"), context, "length")
    if steps is None:
        raise ConfigError(
            "it has no length",
            "give length_steps, length_samples or length_fraction (of one pass)",
        )
    return steps


@contextmanager
def _naming(index: int) -> Iterator[None]:
    """Say which part an error is about."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"part {index} of the sequence: {error.fact}", error.remedy) from None
