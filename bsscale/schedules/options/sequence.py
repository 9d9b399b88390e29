"""Schedules one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from bsscale.errors import ConfigError
from bsscale.schedules import Schedule, Sequence, checks
from bsscale.schedules.options.base import (
    OptionsT,
    Reader,
    ScheduleConfig,
    ScheduleContext,
    Typed,
)
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
    LateDropConfig,
    LinearWarmupConfig,
    RangeTestConfig,
    WSDConfig,
)
from bsscale.schedules.options.units import given_length

__all__ = ["PARTS", "SequenceConfig"]

# What a part may be, by its name in conf/schedule.
PARTS: dict[str, type[ScheduleConfig]] = {
    options.name: options
    for options in (
        FixedConfig,
        LinearScalingConfig,
        SqrtScalingConfig,
        ScaledConfig,
        LinearWarmupConfig,
        CosineConfig,
        WSDConfig,
        LateDropConfig,
        RangeTestConfig,
        OneCycleConfig,
        OneCycleTorchConfig,
        DeepSpeedConfig,
    )
}


@dataclass
class _LengthConfig:
    """The length of a part."""

    length_steps: int | None = None
    length_samples: int | None = None
    length_fraction: float | None = None


def _warmup_then_cosine() -> list[dict[str, Any]]:
    """By default: a warm-up of the default length of linear_warmup, and then a whole cosine."""
    return [{"name": "linear_warmup", "length_fraction": 1 / 3}, {"name": "cosine"}]


@dataclass
class SequenceConfig(ScheduleConfig):
    """Parts joined end to end, each of which starts at its own step 0.

    A part is ``{name: ..., length_...: ..., option: ...}``, as conf/schedule/sequence.yaml says.
    """

    name: str = "sequence"
    parts: list[dict[str, Any]] = field(default_factory=_warmup_then_cosine)

    def resolved(self, reader: Reader) -> SequenceConfig:
        parts = []
        for index, part in enumerate(self.parts):
            with _with_part_number(index):
                length, options = _split(part, reader.typed)
                resolved = options.resolved(reader)
            # Defaults are not written out, unless a file has filled some of them.
            kept = part.keys() if resolved is options else part.keys() | asdict(resolved).keys()
            values = asdict(length) | asdict(resolved)
            parts.append({key: value for key, value in values.items() if key in kept})
        return self if parts == self.parts else replace(self, parts=parts)

    def build(self, context: ScheduleContext) -> Schedule:
        schedules: list[Schedule] = []
        lengths: list[int] = []
        for index, part in enumerate(self.parts):
            with _with_part_number(index):
                length, options = _split(part, _converted)
                schedules.append(options.build(context))
                if index < len(self.parts) - 1:
                    lengths.append(_steps(length, context))
                elif given := [key for key, value in asdict(length).items() if value is not None]:
                    raise ConfigError(
                        f"{', '.join(given)} of the last part does nothing: it has no end",
                        "leave it out, or add a part after it",
                    )
        return Sequence(tuple(schedules), tuple(lengths))


def _split(part: Mapping[str, Any], typed: Typed) -> tuple[_LengthConfig, ScheduleConfig]:
    """The length of a part, and its other options."""
    name = part.get("name")
    if not isinstance(name, str) or name not in PARTS:
        raise ConfigError(f"its name is {name!r}", f"give one of {', '.join(PARTS)}")
    length = {key: value for key, value in part.items() if key.startswith("length_")}
    own = {key: value for key, value in part.items() if key not in length}
    return (
        typed(_LengthConfig, length, "the length of a part"),
        typed(PARTS[name], own, f"the options of {name}"),
    )


def _converted(kind: type[OptionsT], values: Mapping[str, Any], where: str) -> OptionsT:
    """Options from values that have their types already."""
    checks.keys(values, [field.name for field in fields(kind)], where)
    return kind(**values)


def _steps(length: _LengthConfig, context: ScheduleContext) -> int:
    steps = given_length(length, context, "length")
    if steps is None:
        raise ConfigError(
            "it has no length",
            "give length_steps, length_samples or length_fraction (of one pass)",
        )
    return steps


@contextmanager
def _with_part_number(index: int) -> Iterator[None]:
    """Say which part an error is about."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"part {index} of the sequence: {error.fact}", error.remedy) from None
