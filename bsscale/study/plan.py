"""The plan of a study: its runs as far as they are known, and its maximum cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from bsscale.config import Config
from bsscale.config.objectives import build_objective
from bsscale.data import Dataset
from bsscale.errors import ConfigError
from bsscale.planning.devices import Devices
from bsscale.planning.memory import count
from bsscale.planning.stacks import make_stacks
from bsscale.records.study_record import Registered
from bsscale.schedules.options import FixedConfig
from bsscale.schedules.options.scaling import CustomRule, ScalingConfig
from bsscale.study.adopted import read_adopted
from bsscale.study.arms import at_rate, depends_on_base_lr, make_arms, tuned_arms
from bsscale.study.bounds import Most, fitted, given_up
from bsscale.study.options import StudyOptions
from bsscale.study.registered import to_register
from bsscale.study.registration import check_registration
from bsscale.study.rules import (
    pass_of_study,
    search_rules,
    stops_hopeless,
    trial_budget_samples,
)
from bsscale.study.specs import Specs
from bsscale.study.spent import measured_speed
from bsscale.study.target import check_target
from bsscale.training.spec import RunSpec

__all__ = [
    "StudyPlan",
    "check_study",
    "default_directory",
    "most_samples",
]

# Passes of a run's budget, until the study has settled one.
_PASSES = 8


def check_study(config: Config, dataset: Dataset, devices: Devices) -> list[RunSpec]:
    """Raise BsscaleError for a study that cannot be carried out; gives a run of each arm."""
    plan = StudyPlan(config, dataset, devices)
    runs = plan.first_runs()
    plan.check_rates()
    plan.check_target()
    check_registration(plan.directory, plan.registered())
    return runs


def most_samples(config: Config, dataset: Dataset, devices: Devices) -> int:
    """The most samples that a study trains on, over all its runs."""
    return StudyPlan(config, dataset, devices).most_samples_from(2)


class StudyPlan:
    """A study's arms, its runs as far as they are known, and its cost.

    Parameters
    ----------
    config
        The run at N GPUs that the question is about; its task is a `StudyOptions`.
    dataset
        Its data.
    devices
        Of the machine that trains.
    logs
        The logging configuration, for processes that a run starts.
    order
        Names of arms whose runs are trained one group after the other; empty: all together.

    Attributes
    ----------
    budget_samples, seeds
        What the cost depends on, as far as it is known.
    given_up
        What the bounds of the study have cost it, for a person; empty for nothing.
    groups
        The arms that are trained, as `order` groups them; a bound may leave some out.
    stops_hopeless, search_rules
        Whether the median rule stops runs of a search, and the numbers of every search.
    adopted
        The runs that exist already, in the place of the baseline's; None: it is trained.

    Raises
    ------
    ConfigError
        For a study that compares nothing.
    """

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        devices: Devices,
        logs: Mapping[str, Any] | None = None,
        order: Sequence[Sequence[str]] = (),
    ) -> None:
        assert isinstance(config.task, StudyOptions)
        self.config, self.task = config, config.task
        self.task.check()
        if config.gpus is None or config.gpus < 2:
            raise ConfigError(
                f"task=study with gpus={config.gpus} compares 1 GPU with itself",
                "give the number of GPUs that the question is about, e.g. gpus=8",
            )
        if config.scaling.name != "none":
            raise ConfigError(
                f"task=study with scaling={config.scaling.name}: its arms have their own rules",
                "give an arm the rule, e.g. "
                f"+task.arms.{config.scaling.name}='{{schedule: fixed, "
                f"scaling: {config.scaling.name}}}'",
            )
        self.arms = make_arms(self.task, config.gpus)
        self.given_up = ""
        if (self.task.max_runs, self.task.max_hours) != (None, None):
            asked = self.task
            self.task = fitted(
                asked,
                self.arms,
                lambda task: StudyPlan(_unbounded(config, task), dataset, devices).most(),
            )
            self.given_up = given_up(asked, self.task)
            self.config = replace(config, task=self.task)
            self.arms = make_arms(self.task, config.gpus)
        by_name = {arm.name: arm for arm in self.arms}
        ordered = [[by_name[name] for name in names if name in by_name] for names in order]
        groups = [group for group in ordered if group] or [self.arms]
        self.stops_hopeless = stops_hopeless(self.task, config.trainer)
        self.search_rules = search_rules(self.task, self.stops_hopeless)
        self.budget_samples, self.seeds = config.budget_samples, self.task.look_list()[-1]
        self.directory = Path(self.task.directory or self._default_directory()).absolute()
        passes, key = pass_of_study(dataset), dataset.key
        counts = count(config.model, dataset)
        self.specs = Specs(
            self.config,
            passes,
            key,
            self.directory,
            logs,
            devices,
            counts,
            evaluated_rows=len(dataset.evaluated),
        )
        self.held_out = dataset.validation
        baseline = next(arm for arm in self.arms if arm.role == "baseline")
        self.adopted = read_adopted(self.task, self.specs, baseline)
        if self.adopted is not None:
            self.config = self.specs.config = replace(self.config, base_lr=self.adopted.base_lr)
            groups = [[arm for arm in group if arm is not baseline] for group in groups]
        self.groups = [group for group in groups if group]

    def first_runs(self) -> list[RunSpec]:
        """A run of each arm, as far as it is known before the searches; raises for a bad one."""
        return [
            self.specs.run(
                Path("-"),
                arm.name,
                FixedConfig() if arm.preset else arm.schedule,
                gpus=arm.gpus,
                rate=self.config.base_lr or 1.0,
                seed=self.task.first_seed,
                target=self.config.target,
                # (long enough for every schedule; the budget is found later)
                budget=self.config.budget_samples or _PASSES * self.specs.one_pass,
                scaling=arm.scaling,
                own=arm.own,
            )
            for arm in self.arms
        ]

    def searched(self) -> tuple[float, float]:
        """The first range of a search for the learning rate; raises if it is not known."""
        low, high = self.task.lowest_lr, self.task.highest_lr
        if not low or not high:
            lowest, highest = self.config.optimizer.rates_to_search()
            low, high = low or lowest, high or highest
        return low, high

    def check_rates(self) -> None:
        """Raise ConfigError where a search or a range test has no rates or momenta to try."""
        self._check_momenta()
        if self.searches():
            self.searched()
        if self.range_tests():
            self.config.optimizer.rates_to_test()

    def _check_momenta(self) -> None:
        """Raise ConfigError for a momentum that no tuned arm can have."""
        if self.task.momenta is None:
            return
        tuned = tuned_arms(self.arms)
        if not tuned:
            raise ConfigError(
                f"task.momenta={self.task.momenta} has no effect: no arm has rate=tuned",
                "leave it out, or give an arm rate: tuned",
            )
        for arm in tuned.values():
            for momentum in self.task.momentum_list():
                self.specs.run(
                    Path("-"), arm.name, at_rate(arm.schedule, 1.0, 1.0)[0], gpus=arm.gpus,
                    rate=1.0, seed=self.task.first_seed, target=None,
                    budget=_PASSES * self.specs.one_pass, scaling=arm.scaling, own=arm.own,
                    momentum=momentum,
                )  # fmt: skip

    def check_target(self) -> None:
        """Raise ConfigError where no target can follow from the runs at 1 GPU."""
        metric = build_objective(self.config.objective).metric(self.config.metric)
        check_target(self.config, self.task, metric, self.held_out, self.adopted)

    def searches(self) -> list[str]:
        """What is searched for, in words."""
        tuned = [f"{name} at gpus={arm.gpus}" for name, arm in tuned_arms(self.arms).items()]
        return ([] if self.config.base_lr is not None else ["base_lr at gpus=1"]) + tuned

    def range_tests(self) -> list[int]:
        """At which GPUs a range test configures arms."""
        return sorted({arm.gpus for arm in self.arms if arm.preset})

    def registered(self) -> Registered:
        """What the study registers."""
        rates: tuple[float | None, float | None]
        try:
            rates = self.searched()
        except ConfigError:  # (nothing is searched for: `check_rates` has seen to it)
            rates = (None, None)
        key, device = self.specs.data_key, self.specs.probe(gpus=1).device
        return to_register(self.config, self.arms, self.stacks(), key, device, rates)

    def stacks(self) -> list[dict[str, Any]]:
        """The stacks of the runs; they do not depend on rates and budgets."""
        made = []
        looks = pairwise((0, *self.task.look_list()))
        for (first, last), group in product(looks, self.groups):
            runs = {
                f"{arm.name} seed {seed}": self.specs.run(
                    Path("-"), arm.name, FixedConfig(), gpus=arm.gpus, rate=1.0, seed=seed,
                    target=None, budget=self.specs.one_pass, scaling=_without_warmup(arm.scaling),
                    own=arm.own,
                ).plan
                for arm in group
                for seed in self.task.seed_list()[first:last]
            }  # fmt: skip
            labels = list(runs)
            made += [
                {"width": stack.width, "runs": [labels[number] for number in stack.members]}
                for stack in make_stacks(list(runs.values()))
            ]
        return made

    def most(self, speed: float | None = None) -> Most:
        """What the whole study takes at most.

        Parameters
        ----------
        speed
            Samples that one run trains on in a second; None: as the trainer's options say.
        """
        counted = [each for steps in self._steps().values() for each in steps]
        runs, samples = sum(count for count, _ in counted), self.most_samples_from(2)
        speed = speed or self.config.trainer.speed
        at_once = self.config.workers if isinstance(self.config.workers, int) else 1
        hours = None if speed is None else samples / speed / at_once / 3600
        return Most(runs, samples, hours)

    def known_speed(self) -> float | None:
        """Samples a second of a run: the user's, or of the finished runs of this study."""
        if self.config.trainer.ours or self.config.trainer.speed is not None:
            return self.config.trainer.speed
        return measured_speed(self.directory)

    def most_samples_from(self, number: int) -> int:
        """The most samples that this step and the later ones train on."""
        steps = self._steps().items()
        return sum(runs * each for step, all_ in steps if step >= number for runs, each in all_)

    def _steps(self) -> dict[int, list[tuple[int, int]]]:
        """For each step of the protocol, how many runs it has at most, and the samples of each."""
        task, one_pass = self.task, self.specs.one_pass
        budget = self.budget_samples or _PASSES * one_pass
        trial = trial_budget_samples(budget, one_pass, self.specs.eval_interval_samples)
        tuned, given = len(tuned_arms(self.arms)), self.config.base_lr is not None
        runs = self.search_rules.most_runs(*self.searched()) if tuned or not given else 0
        ends = 0 if given else 2 * sum(map(depends_on_base_lr, self.arms)) * task.tuning_seeds
        return {
            2: [] if given else [(runs, self.specs.trial_pass)],
            3: [] if self.adopted is not None else [(task.target_seeds, one_pass)],
            4: [
                (len(self.range_tests()) * task.range_test_seeds, one_pass),
                (tuned * len(task.momentum_list()) * runs + ends, trial),
            ],
            5: [(sum(map(len, self.groups)) * self.seeds, budget)],
        }

    def _default_directory(self) -> str:
        return default_directory(self.config, f"gpus{self.config.gpus}")


def default_directory(config: Config, ending: str) -> str:
    """The directory of a study that is given none; raises ConfigError where it has no name."""
    names = (config.dataset["name"], config.model["name"], config.optimizer.name)
    name = "-".join(str(each) for each in names if each is not None)
    if "/" in name or name.startswith("."):
        raise ConfigError(f"no directory can be named after {name}", "give task.directory=PATH")
    return f"studies/{name}-{ending}"


def _unbounded(config: Config, task: StudyOptions) -> Config:
    """A study with other options and without bounds, for its cost."""
    return replace(config, task=replace(task, max_runs=None, max_hours=None))


def _without_warmup(scaling: ScalingConfig) -> ScalingConfig:
    """The same rule for a constant rate."""
    return replace(scaling, warmup="none") if isinstance(scaling, CustomRule) else scaling
