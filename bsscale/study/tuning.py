"""Searches for learning rates, trained in rounds: all rates of a round together."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bsscale.errors import ConfigError
from bsscale.objectives import Metric
from bsscale.objectives.target import crossing
from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import RunRecord
from bsscale.records.study_record import TrialRecord, TuningRecord
from bsscale.stats.median_rule import Bar, median_bar
from bsscale.stats.search import Result, Search, Trial
from bsscale.study.arms import Searched, at_rate
from bsscale.study.runs import Runs
from bsscale.study.specs import Specs
from bsscale.terminal.numbers import metric_number
from bsscale.terminal.tables import render_table
from bsscale.terminal.words import counted
from bsscale.training.spec import RunSpec
from bsscale.training.trajectory import STOPPED

__all__ = ["Judge", "Tuner", "Tuning"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judge:
    """Judges runs by their records.

    Attributes
    ----------
    metric
        What judges them.
    chance
        Its value at chance; None: not known.
    """

    metric: Metric
    chance: float | None

    def samples_to(self, directory: Path, target: float, of_script: bool = False) -> float:
        """Samples to a target, by a run's own evaluations; infinite for a miss."""
        points = read_evals(directory)
        values = [point.metrics.get(self.metric.name) for point in points]
        samples = [point.samples for point in points]
        hit = crossing(samples, values, target, self.metric.direction, ended_itself=of_script)
        return math.inf if hit is None else hit.samples

    def result(self, record: RunRecord, directory: Path, target: float | None) -> Result:
        """What a run has reached."""
        value = record.best_value
        if value is None:
            value = -self.metric.sign * math.inf if self.chance is None else self.chance
        of_script = record.trainer == "script"
        return Result(
            value=value,
            samples=None if target is None else self.samples_to(directory, target, of_script),
            diverged=record.status == "diverged",
        )


@dataclass
class Tuning:
    """One search: what it trains, and what it has found.

    Attributes
    ----------
    name
        Its name in records; its runs lie in ``tuning/NAME``.
    trained
        What is trained at each rate.
    base_lr
        For a schedule with a peak: see `at_rate`.
    momentum
        The highest momentum; None: as it is configured.
    target
        The value of the metric to reach; None: there is none yet.
    stops
        Whether runs are trained towards it, and stop there.
    budget
        The most samples of a run.
    search
        Its rounds and their results.
    runs
        Directory and record of each run, by rate; none for a rate whose runs all failed.
    seeds
        Seeds that each rate was trained on.
    provisional
        The best rate before there was a target, if that was another objective.
    """

    name: str
    trained: Searched
    base_lr: float
    target: float | None
    stops: bool
    budget: int
    search: Search
    runs: dict[float, list[tuple[Path, RunRecord]]] = field(default_factory=dict)
    seeds: dict[float, int] = field(default_factory=dict)
    provisional: float | None = None
    momentum: float | None = None

    @property
    def samples(self) -> int:
        """Samples trained on."""
        return sum(record.samples_seen for runs in self.runs.values() for _, record in runs)

    @property
    def stopped(self) -> int:
        """Runs that the median rule has stopped."""
        records = (record for runs in self.runs.values() for _, record in runs)
        return sum(record.reason.startswith(STOPPED) for record in records)

    def bar(self, judge: Judge) -> Bar:
        """What a run of the next round must reach, by the runs of the rounds before."""
        name = judge.metric.name
        curves = [
            [(point.samples, point.metrics.get(name)) for point in read_evals(directory)]
            for runs in self.runs.values()
            for directory, _ in runs
        ]
        return median_bar(curves, self.budget)

    def judge(self, judge: Judge) -> None:
        """Tell the search what all runs have reached, by the present target."""
        sign = judge.metric.sign
        self.search.tell(
            Trial(rate, tuple(judge.result(record, d, self.target) for d, record in runs), sign)
            for rate, runs in self.runs.items()
        )

    def record(self) -> TuningRecord:
        """For study.json."""
        search, trials = self.search, self.search.ordered
        return TuningRecord(
            name=self.name,
            gpus=self.trained.gpus,
            samples=self.samples,
            lowest=trials[0].lr,
            highest=trials[-1].lr,
            best=search.best.lr,
            edge=search.edge,
            extended=search.extended,
            trials=tuple(map(_trial_record, trials)),
            flat=tuple(trial.lr for trial in search.flat),
            provisional=self.provisional,
            momentum=self.momentum,
        )

    def table(self, judge: Judge) -> str:
        """The trials, for a terminal."""
        flat = {trial.lr for trial in self.search.flat}
        rows = []
        for trial in self.search.ordered:
            record, samples = _trial_record(trial), trial.samples_to_target
            missed = samples is not None and math.isinf(samples)
            says = "not told apart from the best" if trial.lr in flat else ""
            rows.append(
                [
                    f"{trial.lr:g}",
                    metric_number(record.best_value),
                    "-" if samples is None else "missed" if missed else f"{samples:,.0f}",
                    str(record.seeds),
                    "best" if trial.lr == self.search.best.lr else says,
                ]
            )
        header = ("lr", f"best {judge.metric.title}", "samples to target", "seeds", "")
        return render_table("", header, rows)


def _trial_record(trial: Trial) -> TrialRecord:
    """For study.json, where a censored number is None."""
    samples, best = trial.samples_to_target, trial.best_value
    return TrialRecord(
        lr=trial.lr,
        best_value=best if math.isfinite(best) else None,
        samples_to_target=None if samples is None or math.isinf(samples) else samples,
        seeds=len(trial.results),
        diverged=trial.diverged,
    )


class Tuner:
    """Carries out searches side by side.

    Parameters
    ----------
    runs, specs
        What trains, and what makes the specifications of runs.
    seeds
        The seeds of all searches.
    judge
        What judges runs.
    stops_hopeless
        Whether the median rule stops runs.
    """

    def __init__(
        self,
        runs: Runs,
        specs: Specs,
        seeds: Sequence[int],
        judge: Judge,
        stops_hopeless: bool = False,
    ) -> None:
        self._runs, self._specs, self._seeds, self._judge = runs, specs, seeds, judge
        self._stops_hopeless = stops_hopeless

    def carry_out(self, tunings: Sequence[Tuning], at_least: int = 0) -> None:
        """Train the searches to their ends, with as many rates for one as for the other.

        Parameters
        ----------
        tunings
            What is searched for.
        at_least
            Rates that each tries at least.
        """
        while True:
            due = [tuning.search.ask() for tuning in tunings]
            if not any(due):
                most = max(at_least, *(tuning.search.tried for tuning in tunings))
                due = [tuning.search.ask(most) for tuning in tunings]
            if not any(due):
                break
            self._train(tunings, due)
        for tuning in tunings:
            log.info("tuning %s\n%s", tuning.name, tuning.table(self._judge))
            search = tuning.search
            if tuning.stopped:
                log.info("%s", f"stopped by the median rule: {counted(tuning.stopped, 'run')}")
            if search.edge is not None:
                log.warning(
                    "warning: the best rate of %s, %g, is the %sest that was tried",
                    tuning.name,
                    search.best.lr,
                    search.edge,
                )

    def _train(self, tunings: Sequence[Tuning], due: Sequence[dict[float, int]]) -> None:
        asked: list[tuple[Tuning, float, RunSpec]] = []
        for tuning, rates in zip(tunings, due, strict=True):
            bar = tuning.bar(self._judge) if self._stops_hopeless and rates else ()
            for rate, seeds in rates.items():
                done = tuning.seeds.get(rate, 0)
                tuning.seeds[rate] = seeds
                asked += [
                    (tuning, rate, replace(self._spec(tuning, rate, seed), bar=bar))
                    for seed in self._seeds[done:seeds]
                ]
        records = self._runs.train([spec for _, _, spec in asked])
        for (tuning, rate, spec), record in zip(asked, records, strict=True):
            if record is not None:
                tuning.runs.setdefault(rate, []).append((spec.directory, record))
        for tuning in tunings:
            if not tuning.runs:
                raise ConfigError(
                    f"no run of the search {tuning.name} could be trained: {self._runs.failed[-1]}",
                    "look at its log",
                )
            tuning.judge(self._judge)

    def _spec(self, tuning: Tuning, rate: float, seed: int) -> RunSpec:
        trained = tuning.trained
        schedule, base_lr = at_rate(trained.schedule, rate, tuning.base_lr)
        return self._specs.run(
            Path("tuning") / tuning.name / f"lr-{rate:g}" / f"seed-{seed}",
            f"lr {rate:g}",
            schedule,
            gpus=trained.gpus,
            rate=base_lr,
            seed=seed,
            target=tuning.target if tuning.stops else None,
            budget=tuning.budget,
            scaling=trained.scaling,
            own=trained.own,
            momentum=tuning.momentum,
        )
