"""`join`: the run that a training script is, whoever has started it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bsscale.bridge.channel import Following, Reporter, Teller
from bsscale.bridge.contract import Contract, read_contract
from bsscale.bridge.judged import Judged
from bsscale.bridge.noise import NoiseWindows, measured
from bsscale.errors import ConfigError, ScriptError

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from bsscale.schedules import Schedule
    from bsscale.schedules.torch_form import ScheduleLR

__all__ = ["Run", "join"]

ENVIRONMENT = "BSSCALE_RUN"
# How long another rank waits for the report of rank 0 at most.
WAIT_S = 3600.0


class Run:
    """One training run, as its script sees it; `join` makes it.

    Attributes
    ----------
    directory
        The run's. The script keeps its own checkpoints there.
    resumed
        Whether an earlier start has begun this run: there may be a checkpoint.
    seed, gpus, micro_batch, grad_accum, global_batch
        What to train with. One update has ``micro_batch x gpus x grad_accum`` samples.
    target, budget_samples, eval_interval_samples
        The value of `metric` to reach, the most samples, and the evaluation grid.
    rank
        Of this process; rank 0 reports.
    status
        reached, exhausted or diverged once a report has ended the run; None before.
    """

    def __init__(self, contract: Contract, directory: Path, rank: int, teller: Teller) -> None:
        self._contract, self._teller = contract, teller
        self.directory, self.rank = directory, rank
        self.resumed = contract.resumed
        self.seed, self.gpus = contract.seed, contract.gpus
        self.micro_batch, self.grad_accum = contract.micro_batch, contract.grad_accum
        self.global_batch = contract.global_batch
        self.metric, self.target = contract.metric, contract.target
        self.budget_samples = contract.budget_samples
        self.eval_interval_samples = contract.eval_interval_samples
        self.status: str | None = None
        self._scheduler: ScheduleLR | None = None
        self._last_due: int | None = None
        self._asked: int | None = None
        self._windows = NoiseWindows(directory, contract.resumed) if rank == 0 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close(error)

    @cached_property
    def schedule(self) -> Schedule:
        """Learning rate and momentum of each update: ``schedule.lr(step)``, from step 0."""
        return self._contract.built_schedule()

    @property
    def lr(self) -> float:
        """The learning rate of the first update; of every one where the schedule is constant."""
        return self._contract.lr

    def attach(self, optimizer: Optimizer, ratios: Sequence[float] | None = None) -> ScheduleLR:
        """Let the schedule set the learning rate of an optimizer, and its momentum.

        A momentum that neither the schedule moves nor ``trainer.momentum`` names is left alone.

        Parameters
        ----------
        optimizer
            Any torch optimizer. Its own learning rate is not used.
        ratios
            The rate of each parameter group relative to the schedule's; None: 1.

        Returns
        -------
        A torch LRScheduler, to be stepped after every update. `report` compares the number of its
        steps with the samples.
        """
        from bsscale.schedules.torch_form import apply_rates, attach

        self._scheduler = attach(optimizer, self.schedule, ratios=ratios)
        apply_rates(optimizer, self.schedule.lr(0), self._contract.momentum, ratios)
        return self._scheduler

    def due(self, samples: int) -> bool:
        """Whether an evaluation is due: a point of the grid, or the end of the budget, is passed.

        Parameters
        ----------
        samples
            Samples of all replicas so far; call it after every update.
        """
        if samples == self._last_due:
            return True
        before = samples - self.global_batch if self._asked is None else self._asked
        self._asked, grid = samples, self.eval_interval_samples
        if samples // grid <= before // grid and samples < self.budget_samples:
            return False
        self._last_due = samples
        return True

    def report(self, samples: int, **values: float | None) -> bool:
        """Report an evaluation.

        Parameters
        ----------
        samples
            Samples of all replicas so far, a multiple of `global_batch`.
        values
            The metrics on the validation data, `metric` among them, and if they are known
            ``train_loss``, the mean since the last report, and ``lr`` and ``momentum`` of the last
            update. Only rank 0 needs them.

        Returns
        -------
        Whether the run has ended: its target is confirmed, its budget is spent, or it has diverged.
        Every process is told the same.

        Raises
        ------
        ScriptError
            For a report that cannot be, such as one out of order, without `metric`, or with other
            learning rates than the schedule's.
        """
        if self.status is None:
            samples = int(samples)
            numbers = {name: _plain(value) for name, value in values.items()}
            if self._windows is not None:
                recent = self._windows.at_report(samples)
                numbers = {**({} if recent is None else {"noise_scale": recent}), **numbers}
            self.status = self._teller.report(
                {"samples": samples, **self._rates(samples), **numbers}
            )
        return self.status is not None

    def noise_scale(
        self,
        small_squared_norms: Sequence[float] | float,
        large_squared_norm: float,
        small_batch: int | None = None,
        large_batch: int | None = None,
    ) -> None:
        """Measure the gradient noise scale; the next report and the record have it.

        A window is one call. Call it at 10 to 50 updates that are spread evenly over the run: the
        record's interval needs 10 windows. Only rank 0 needs to.

        Parameters
        ----------
        small_squared_norms
            The squared L2 norms of the gradients of one or more small batches, such as those of
            each replica before they are averaged.
        large_squared_norm
            That of the gradient of a large batch, such as their average.
        small_batch, large_batch
            The samples of these batches; None: `micro_batch` and `global_batch`.

        Raises
        ------
        ScriptError
            If the large batch is not larger than the small one, or a norm is negative.
        """
        window = measured(
            small_squared_norms,
            large_squared_norm,
            self.micro_batch if small_batch is None else small_batch,
            self.global_batch if large_batch is None else large_batch,
        )
        if window is not None and self._windows is not None:
            self._windows.add(window)

    def close(self, error: BaseException | None = None) -> None:
        """End the run, which bsscale has not started: write its record if none is written yet.

        A script that ends calls it by itself.
        """
        self._teller.close(error)

    def _rates(self, samples: int) -> dict[str, float | None]:
        """The rate and the momentum of the last update, if a scheduler is attached and in step."""
        if self._scheduler is None or samples < self.global_batch:
            return {}
        step, taken = samples // self.global_batch, self._scheduler.last_epoch
        if taken not in (step, step - 1):
            raise ScriptError(
                f"the attached scheduler has taken {taken:,} steps, and {samples:,} samples are "
                f"{step:,} updates of {self.global_batch:,}",
                "call scheduler.step() once after every update (and load its state with a "
                "checkpoint)",
            )
        moved = self.schedule.momentum(step - 1)
        momentum = self._contract.configured_momentum if moved is None else moved
        return {"lr": self.schedule.lr(step - 1), "momentum": momentum}


def join(*, rank: int | None = None, **keywords: Any) -> Run:
    """The run that this script is.

    Parameters
    ----------
    rank
        Of this process; None: RANK of the environment, or else SLURM_PROCID of a step of several
        tasks, or 0.
    keywords
        For a script that bsscale has not started; see `bsscale.bridge.standalone.begin`. They are
        not read if it has.

    Returns
    -------
    The run that bsscale started this script for (the environment variable BSSCALE_RUN); else one
    from the keywords, which writes its own records.

    Raises
    ------
    RecordsError
        If the run's description cannot be read, or its directory holds another run.
    ConfigError
        For keywords with which no run is possible.
    """
    number = _rank() if rank is None else rank
    started = os.environ.get(ENVIRONMENT)
    if started is None:
        from bsscale.bridge.standalone import begin

        contract, directory, teller = begin(rank=number, limit_s=WAIT_S, **keywords)
        return Run(contract, directory, number, teller)
    directory = Path(started)
    contract = read_contract(directory)
    if number == 0:
        return Run(contract, directory, number, _Started(contract, directory))
    return Run(contract, directory, number, Following(directory, contract.start, number, WAIT_S))


class _Started:
    """Rank 0 of a script that bsscale has started: bsscale writes the records."""

    def __init__(self, contract: Contract, directory: Path) -> None:
        from bsscale.records.evaluation import read_evals

        evals = directory / "evals.jsonl"
        self._judged = Judged(contract, read_evals(directory) if evals.exists() else ())
        self._reporter = Reporter(directory, contract.start)

    def report(self, data: Mapping[str, Any]) -> str | None:
        # (a refused report is sent too: bsscale then refuses it as well, and records why)
        try:
            self._judged.add(data, None)
        finally:
            self._reporter.send(data, self._judged.status)
        return self._judged.status

    def close(self, error: BaseException | None) -> None:
        """Bsscale sees how the script ends."""


def _rank() -> int:
    environ = os.environ
    text = environ.get("RANK")
    if text is None and int(environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        text = environ.get("SLURM_PROCID")
    try:
        return int(text or 0)
    except ValueError:
        raise ConfigError(f"RANK={text} is not a number", "give join(rank=NUMBER)") from None


def _plain(value: Any) -> float | None:
    """A number of Python's, from one of NumPy's or torch's."""
    if value is None or isinstance(value, bool | str | int):
        return value  # type: ignore[return-value]  # (what is no number is refused with its name)
    return float(value)
