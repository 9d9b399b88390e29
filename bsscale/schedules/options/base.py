"""Base of the options of all schedules, and the run and the reader that they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from bsscale.errors import ConfigError
from bsscale.schedules import Schedule

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["OptionsT", "Reader", "ScheduleConfig", "ScheduleContext", "Typed", "unread_file_error"]

OptionsT = TypeVar("OptionsT", bound="DataclassInstance")


@dataclass(frozen=True)
class ScheduleContext:
    """The numbers of a run that a schedule may depend on. Never the budget.

    Attributes
    ----------
    base_lr
        The best fixed learning rate at one GPU.
    gpus
        Number of replicas.
    global_batch
        Samples of one update.
    samples_per_pass
        Samples of one pass over the training split; None: not known.
    momentum
        The optimizer's configured momentum or beta1; None if it has none.
    lr_factor
        What a scaling rule multiplies base_lr with for the peak of every shape; None where no rule
        moves the rate, so that the schedule does as it says.
    warmup_factor
        What a rule multiplies the length of a warm-up in samples with; None where none does.
    """

    base_lr: float
    gpus: int
    global_batch: int
    samples_per_pass: int | None
    momentum: float | None
    lr_factor: float | None = None
    warmup_factor: float | None = None

    def steps(self, samples: float) -> int:
        """The whole number of updates nearest to `samples`, at least one if there are any."""
        return max(1, round(samples / self.global_batch)) if samples > 0 else 0

    def steps_of_passes(self, passes: float) -> int:
        """The same for passes over the training split; raises ConfigError for an unknown pass."""
        if self.samples_per_pass is None:
            raise ConfigError(
                f"a length of {passes:.4g} passes, and the samples of a pass are not known",
                "give trainer.samples_per_pass=NUMBER, or the schedule's lengths in steps or "
                "samples",
            )
        return self.steps(passes * self.samples_per_pass)


class Typed(Protocol):
    """A function that creates typed options from untyped values."""

    def __call__(self, kind: type[OptionsT], values: Mapping[str, Any], where: str, /) -> OptionsT:
        """The options; raises ConfigError for an unknown one or a value of the wrong type."""


class Reader(Protocol):
    """The reader of files that options name: `bsscale.config.files` implements it."""

    @property
    def typed(self) -> Typed:
        """The function that creates typed options from the content of a file."""

    def read_yaml(self, option: str, path: str) -> dict[str, Any]:
        """The mapping in a YAML file that `option` names; raises ConfigError."""

    def read_json(self, option: str, path: str) -> dict[str, Any]:
        """The object in a JSON file that `option` names; raises ConfigError."""


@dataclass
class ScheduleConfig:
    """Options that every schedule has."""

    name: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ScheduleConfig:
        """The options with these values; raises TypeError for an unknown one."""
        return cls(**values)

    @property
    def scaling_rule(self) -> str | None:
        """The rule by which its rates follow the batch; None if it has none."""
        rule: str | None = getattr(self, "scaling", None)
        return rule

    def resolved(self, reader: Reader) -> ScheduleConfig:
        """The same with the content of every file that it names in place of the name.

        A record that only has a path would lose its meaning when the file changes.
        """
        return self

    def at_peak(self, peak: float) -> ScheduleConfig | None:
        """The same with a peak that a search tries; None where the search moves base_lr instead.

        Raises
        ------
        ConfigError
            If the options fix the peak already.
        """
        return None

    def at_momentum(self, momentum: float) -> ScheduleConfig | None:
        """The same with a highest momentum that a search tries; None where it sets no momentum."""
        return None

    def build(self, context: ScheduleContext) -> Schedule:
        """The schedule of a run, in steps and rates; the options are resolved."""
        raise ConfigError(
            f"schedule {self.name!r} has no shape", "choose one of the schedules in --help"
        )


def unread_file_error(option: str, path: str) -> ConfigError:
    """The error for options that are built before their file was read."""
    return ConfigError(
        f"schedule.{option}={path} has not been read",
        "build the options that bsscale.config.schedules.resolve returns for these",
    )
