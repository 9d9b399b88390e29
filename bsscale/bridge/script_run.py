"""One run that a script trains: bsscale starts it, reads its reports and writes its records."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bsscale.bridge.contract import SPEC, Contract, contract_of, write_contract
from bsscale.bridge.judged import Judged
from bsscale.bridge.noise import recorded_noise
from bsscale.bridge.options import ScriptOptions, placeholders
from bsscale.bridge.process import ScriptProcess, earlier_reports, end_earlier
from bsscale.bridge.rates import write_rates
from bsscale.data import Dataset
from bsscale.errors import ScriptError
from bsscale.files.locks import hold
from bsscale.records.checkpoints import Checkpoint, write_plan
from bsscale.records.directories import busy_error
from bsscale.records.evaluation import EvalPoint, read_evals
from bsscale.terminal.progress import Display
from bsscale.training.outcome import Outcome
from bsscale.training.recorded_run import RecordedRun
from bsscale.training.spec import RunSpec

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["ScriptRun"]

log = logging.getLogger(__name__)

# How long a script that has joined by the bridge may take to end by itself once it is told.
FAREWELL_S = 10.0
_LOCK = ".script.lock"


@dataclass
class _Started:
    """A script that has been started, and how it is judged."""

    process: ScriptProcess
    judged: Judged
    began_s: float
    decided_s: float | None = None


class ScriptRun(RecordedRun):
    """One run: its script, its reports, its records."""

    def __init__(self, spec: RunSpec, dataset: Dataset, progress: Display, number: int) -> None:
        super().__init__(spec, dataset, progress, number)
        options = spec.plan.config.trainer
        assert isinstance(options, ScriptOptions)
        self._options = options
        self._script: _Started | None = None
        self._earlier: list[EvalPoint] = []
        self._script_lock: FileLock | None = None
        self._has_begun = self._is_ours = False

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not, and no process of its script is left."""
        return self.result is not None and (
            self._script is None or self._script.process.has_ended()
        )

    def launch(self) -> None:
        """Start the script; an error ends this run and no other."""
        directory = self.spec.directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._script_lock = hold(directory / _LOCK, busy_error(directory))
            end_earlier(directory)
            resumed = (directory / SPEC).exists()
            self._is_ours = True
            contract = contract_of(self.plan, self.spec.arm, resumed, self.spec.bar)
            earlier = _earlier(directory, contract)
            self._earlier = earlier.trajectory.points
            if earlier.status is not None:  # (bsscale was killed before it recorded the end)
                self.begin_at(self._earlier)
                self._conclude(earlier)
                return
            write_contract(directory, contract)
            write_plan(directory, self.plan.training)
            values = placeholders(self.plan, str(directory))
            if self._options.wants_rates:
                write_rates(directory, self.plan)
            else:
                del values["rates"]
            environment = {f"BSSCALE_{name.upper()}": value for name, value in values.items()}
            process = ScriptProcess(
                self._options.words(self.plan, str(directory)),
                {**environment, "BSSCALE_RUN": str(directory)},
                directory,
            )
            judged = Judged(contract, self._earlier)
            self._script = _Started(process, judged, time.perf_counter())
        except Exception as error:
            self.fail(error)

    def attend(self) -> None:
        """Take what the script has reported, and look whether it goes on."""
        if self._script is None or self.result is not None:
            return
        try:
            self._attend(self._script)
        except Exception as error:
            self.fail(error)
            self._script.process.tell_to_end()

    def stop(self) -> None:
        """End the script, whatever it is at."""
        if self._script is not None:
            self._script.process.end()

    def begin_at(self, kept: Sequence[EvalPoint]) -> None:
        """Begin the records, with the evaluations of an earlier start that are kept."""
        self._has_begun = True
        wall_s = max((point.wall_s or 0.0 for point in kept), default=0.0)
        self.checkpoint = Checkpoint(
            step=kept[-1].step if kept else 0,
            arrays={},
            evals=tuple(kept),
            wall_s=wall_s,
            eval_s=0.0,
            training=self.plan.training,
        )
        self.begin()
        self.on_step(self.checkpoint.step)

    def fail(self, error: Exception) -> None:
        if not self._is_ours:  # the directory is another process's: nothing is written to it
            self.result = error
            self._progress.ended(self._number, "failed")
            log.error("error: %s", error)
            return
        if not self._has_begun and self._earlier:
            self.begin_at(self._earlier)  # (what an earlier start has recorded stays)
        super().fail(error)
        self._release()

    def interrupt(self) -> None:
        if not self._has_begun:
            self.begin_at(self._earlier)
        super().interrupt()

    def end(self, outcome: Outcome, model: Any) -> None:
        super().end(outcome, model)
        self._release()

    def _say_anew(self) -> None:
        """The script knows where it begins; its first report tells."""

    def _release(self) -> None:
        if self._script_lock is not None:
            self._script_lock.release()
            self._script_lock = None
            (self.spec.directory / _LOCK).unlink(missing_ok=True)

    def _attend(self, script: _Started) -> None:
        process, judged = script.process, script.judged
        code = process.code  # (first: what it has reported before its end is read after it)
        for data in process.reports():
            if judged.status is None:
                self._take(script, data)
        if judged.status is not None:
            script.decided_s = script.decided_s or time.monotonic()
            if not process.uses_bridge or time.monotonic() - script.decided_s > FAREWELL_S:
                process.tell_to_end()
            if process.has_ended():
                self._conclude(judged)
            return
        if code is not None:
            self._ended_itself(script, code)
        elif self._options.silence_s is not None and process.silent_s > self._options.silence_s:
            raise ScriptError(
                f"the script has printed and reported nothing for {self._options.silence_s:g} s",
                "see its stdout.log and stderr.log; trainer.silence_s=SECONDS (null: no limit) "
                "lets it be silent for longer",
            )

    def _take(self, script: _Started, data: dict[str, object]) -> None:
        judged = script.judged
        earlier_s = max((point.wall_s or 0.0 for point in self._earlier), default=0.0)
        fresh = not judged.begun
        point = judged.add(data, earlier_s + time.perf_counter() - script.began_s)
        if fresh:
            points = judged.trajectory.points
            self.begin_at(points[:-1] if point is not None else points)
        if point is not None:
            self.on_step(point.step)
            self.on_eval(point)

    def _ended_itself(self, script: _Started, code: int) -> None:
        """The script has ended, and nothing is decided yet."""
        process, judged = script.process, script.judged
        if code != 0:
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            said = process.last_words()
            raise ScriptError(
                f"the script ended with {how}" + (f": {said}" if said else ""),
                f"see {self.spec.directory / 'stderr.log'}",
            )
        if not judged.begun:
            raise ScriptError(
                "the script ended and reported nothing",
                "let it call run.report of bsscale.bridge, or print lines of JSON such as "
                f'{{"samples": 8192, "{judged.contract.metric}": 0.71}}',
            )
        judged.trajectory.end_itself()
        if process.has_ended():
            self._conclude(judged)

    def _conclude(self, judged: Judged) -> None:
        """Write the record of a run that is decided."""
        run = judged.trajectory
        assert run.status is not None
        last = run.points[-1]
        outcome = Outcome(
            status=run.status,
            reason=run.reason,
            crossing=run.crossing() if run.status == "reached" else None,
            best_value=run.best_value,
            final_value=run.last_value,
            test_value=None,
            steps=last.step,
            samples_seen=last.samples,
            wall_s=last.wall_s or 0.0,
            eval_s=0.0,
            noise=recorded_noise(self.spec.directory),
        )
        self.end(outcome, None)


def _earlier(directory: Path, contract: Contract) -> Judged:
    """The evaluations of earlier starts, with those that bsscale was killed before recording."""
    points = read_evals(directory) if (directory / "evals.jsonl").exists() else []
    judged = Judged(contract, points[:-1])
    judged.begin(sys.maxsize)
    for point in points[-1:]:
        judged.trajectory.add(point, decides=point.step > 0)
    wall_s = points[-1].wall_s if points else 0.0
    recorded = points[-1].samples if points else -1
    for data in earlier_reports(directory):
        try:
            if judged.status is None and data["samples"] > recorded:
                judged.add(data, wall_s)
        except (ScriptError, TypeError):
            break
    return judged
