"""The search for a constant rate: as many trials for every arm that is tuned."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bsscale.records.run_record import RunRecord
from bsscale.records.study_record import TrialRecord, TuningRecord

__all__ = ["Search", "Trial", "search"]

# How often an optimum at the edge of the space extends it; after that it is flagged.
EXTENSIONS = 2
EXTEND_BY = 4.0


@dataclass(frozen=True)
class Trial:
    """One rate, over the tuning seeds.

    Attributes
    ----------
    lr
        The rate.
    best_value
        Median of the best values of the metric; that of chance for a run that has none, infinitely
        bad where that is not known.
    samples_to_target
        Median, censored ones infinite; None where there is no target yet.
    seeds
        Runs.
    sign
        1 where higher values of the metric are better, −1 where lower ones are.
    """

    lr: float
    best_value: float
    samples_to_target: float | None
    seeds: int
    sign: int = 1

    @classmethod
    def of(cls, lr: float, records: Sequence[RunRecord], chance: float | None = 0.5) -> Trial:
        """Sum up the runs at one rate; `chance`: the value at chance, None where not known."""
        sign = records[0].criterion.sign
        worst = -sign * math.inf if chance is None else chance
        reached = [
            math.inf if r.samples_to_target is None else r.samples_to_target for r in records
        ]
        return cls(
            lr=lr,
            best_value=statistics.median(
                worst if r.best_value is None else r.best_value for r in records
            ),
            samples_to_target=None
            if any(r.target is None for r in records)
            else statistics.median(reached),
            seeds=len(records),
            sign=sign,
        )

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is better: fewer samples to the target, where there is one, then the metric."""
        samples = 0.0 if self.samples_to_target is None else -self.samples_to_target
        return samples, self.sign * self.best_value

    def record(self) -> TrialRecord:
        """For study.json, where a censored number is None."""
        samples = self.samples_to_target
        if samples is not None and not math.isfinite(samples):
            samples = None
        best = self.best_value if math.isfinite(self.best_value) else None
        return TrialRecord(self.lr, best, samples, self.seeds)


@dataclass(frozen=True)
class Search:
    """The results of a search.

    Attributes
    ----------
    trials
        In rising order of their rates.
    best
        The best of them.
    edge
        low or high if it is the lowest or the highest rate that was tried, else None.
    extended
        How often the space was extended for it.
    """

    trials: tuple[Trial, ...]
    best: Trial
    edge: Literal["low", "high"] | None
    extended: int

    def record(self, name: str, gpus: int, samples: int) -> TuningRecord:
        """For study.json."""
        return TuningRecord(
            name=name,
            gpus=gpus,
            samples=samples,
            lowest=self.trials[0].lr,
            highest=self.trials[-1].lr,
            best=self.best.lr,
            edge=self.edge,
            extended=self.extended,
            trials=tuple(trial.record() for trial in self.trials),
        )


def search(
    low: float,
    high: float,
    trials: int,
    seed: int,
    evaluate: Callable[[Sequence[float]], Mapping[float, Trial]],
    journal: Path,
) -> Search:
    """Try rates that cover a range evenly, and extend the range if the best rate is at its edge.

    Optuna's quasi-random sampler (Owen-scrambled Sobol points) draws the rates on a logarithmic
    scale. They do not depend on results, so all of them are trained together.

    Parameters
    ----------
    low, high
        The space.
    trials
        Rates to try; each extension tries half as many more.
    seed
        Of the sampler.
    evaluate
        Trains at some rates.
    journal
        Optuna's journal, to look at what was tried (for instance with optuna-dashboard).
    """
    seen: dict[float, Trial] = {}
    extended = 0
    rates = sample_rates(low, high, trials, seed)
    while True:
        seen |= evaluate(rates)
        ordered = sorted(seen.values(), key=lambda trial: trial.lr)
        best = max(ordered, key=lambda trial: trial.rank)
        edge: Literal["low", "high"] | None = None
        if best is ordered[0]:
            edge = "low"
        elif best is ordered[-1]:
            edge = "high"
        if edge is None or extended == EXTENSIONS:
            break
        extended += 1
        low, high = (low / EXTEND_BY, low) if edge == "low" else (high, high * EXTEND_BY)
        rates = sample_rates(low, high, -(-trials // 2), seed + extended)
    result = Search(tuple(ordered), best, edge, extended)
    write_journal(journal, result)
    return result


def sample_rates(low: float, high: float, trials: int, seed: int) -> list[float]:
    """Rates to try, three significant digits each, in rising order."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.QMCSampler(scramble=True, seed=seed)
    study = optuna.create_study(sampler=sampler)
    space: dict[str, Any] = {"lr": optuna.distributions.FloatDistribution(low, high, log=True)}
    drawn = [study.ask(space).params["lr"] for _ in range(trials)]
    return sorted({float(f"{rate:.3g}") for rate in drawn})


def write_journal(path: Path, result: Search) -> None:
    """Record the trials as an Optuna study, each once."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path.parent.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))),
        study_name=path.stem,
        direction="maximize" if result.best.sign == 1 else "minimize",
        load_if_exists=True,
    )
    known = {trial.params["lr"] for trial in study.trials}
    for trial in result.trials:
        if trial.lr in known:
            continue
        study.add_trial(
            optuna.trial.create_trial(
                params={"lr": trial.lr},
                distributions={
                    "lr": optuna.distributions.FloatDistribution(trial.lr, trial.lr, log=True)
                },
                value=trial.best_value,
            )
        )
