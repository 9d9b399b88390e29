"""Runs that scripts train, one after the other or several at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Self

from bsscale.bridge.script_run import ScriptRun
from bsscale.data import Dataset
from bsscale.planning.devices import Devices
from bsscale.training.recorded_run import log_how_to_resume
from bsscale.training.run import progress_of
from bsscale.training.run_trainer import Result
from bsscale.training.signals import Deferred
from bsscale.training.spec import RunSpec

__all__ = ["Scripts"]

POLL_S = 0.02


class Scripts:
    """Trains runs by the user's command, several at a time if `workers` says so.

    Parameters
    ----------
    at_once
        How many scripts run at the same time.
    devices
        Of this machine.
    """

    def __init__(self, at_once: int, devices: Devices) -> None:
        self.at_once, self.devices = at_once, devices
        self.step = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """No process outlives `train`."""

    def train(
        self,
        specs: Sequence[RunSpec],
        datasets: Sequence[Dataset],
        finished: Collection[int] = (),
    ) -> dict[int, Result]:
        """Train runs, or what is left of them; see `RunTrainer`."""
        progress = progress_of(specs, finished, self.step)
        runs = {
            number: ScriptRun(spec, datasets[number], progress, number)
            for number, spec in enumerate(specs)
            if number not in finished
        }
        for run in runs.values():
            run.find_start()
        try:
            self._train([run for run in runs.values() if run.result is None])
        finally:
            progress.close()
        return {number: run.result for number, run in runs.items() if run.result is not None}

    def _train(self, runs: Sequence[ScriptRun]) -> None:
        waiting, live = deque(runs), list[ScriptRun]()
        try:
            with Deferred() as signals:
                while waiting or live:
                    while waiting and len(live) < self.at_once:
                        live.append(waiting.popleft())
                        live[-1].launch()
                    for run in live:
                        run.attend()
                    live = [run for run in live if not run.is_over]
                    if signals.pending:
                        signals.deliver(signals.pending)
                    if live:
                        time.sleep(POLL_S)
        except KeyboardInterrupt:
            for run in live:
                run.stop()
                run.interrupt()
            log_how_to_resume(*(run.spec for run in runs))
            raise
        except SystemExit:
            for run in live:
                run.stop()
                run.close_for_resume()
            log_how_to_resume(*(run.spec for run in runs))
            raise
        finally:
            for run in live:
                run.stop()
