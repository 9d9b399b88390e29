"""The process that talks to W&B: it follows records, so that W&B can neither slow nor stop a run.

`bsscale.tracking.process` starts it with the argument online or offline. It then writes lines of
JSON on its standard input: ``{"open": DIRECTORY}`` for each run, later ``{"finish": DIRECTORY}``.
What to call the run is in the directory's wandb.json, what happens to it in evals.jsonl, how it
ended in run.json. A line on standard output answers that a run was opened, has finished or failed.
When the input ends, this process finishes the open runs and ends. If W&B hangs, it ends a minute
later.

Nothing of bsscale is imported here, because every run would pay the time of the import.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb import Run

__all__ = ["main"]

# Evaluations are sent in groups, so often.
FOLLOW_S = 2.0
# An online run needs a server that answers a first request within this time, and W&B's own first
# requests within that one (W&B itself would wait for 90 s).
ANSWER_S, INIT_S = 5.0, 20.0
STATUSES = ("reached", "exhausted", "diverged", "failed")
CENSORED = ("exhausted", "diverged")
# As in `bsscale.tracking.options`.
SHORT_HASH = 8
# How long an upload may continue after the input has ended.
GRACE_S = 60.0
# SLURM sends these to all processes of a job. They are for the run, which then reports its end.
# (W&B's own process ends by SIGTERM all the same; another one writes what it had.)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def main() -> None:
    """Carry out the commands of the input until it ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    threading.Thread(target=_end_with_input, daemon=True).start()
    # W&B prints to standard output. Redirect it, so that only answers reach the reader.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # W&B imports pandas to check whether a table is a pandas table. The import takes longer than
    # sending the table.
    sys.modules["pandas"] = None  # type: ignore[assignment]
    runs: dict[str, _Mirrored] = {}
    buffer, mode = b"", sys.argv[1]
    while True:
        ready, _, _ = select.select([0], [], [], FOLLOW_S if runs else None)
        if not ready:
            for directory, run in list(runs.items()):
                if not _try_call(answers, directory, run.follow):
                    del runs[directory]
            continue
        received = os.read(0, 65536)
        if not received:
            break
        *lines, buffer = (buffer + received).split(b"\n")
        for line in lines:
            [(command, directory)] = json.loads(line).items()
            if command == "open":
                run = _Mirrored(Path(directory), mode)
                if _try_call(answers, directory, run.start):
                    runs[directory] = run
                    _answer(answers, directory, opened=True)
            elif (opened := runs.pop(directory, None)) and _try_call(
                answers, directory, opened.finish
            ):
                _answer(answers, directory, finished=True, url=opened.url)
    for directory, run in runs.items():
        if _try_call(answers, directory, run.finish):
            _answer(answers, directory, finished=True, url=run.url)


def _end_with_input() -> None:
    """End this process some time after its input has ended, even if W&B hangs."""
    poll = select.poll()
    poll.register(0, 0)  # reports only that the other end of the pipe is closed
    poll.poll()
    time.sleep(GRACE_S)
    os._exit(1)


def _try_call(answers: Any, directory: str, function: Any) -> bool:
    """Call `function`; return whether it succeeded.

    If it failed, write the reason to the answers.
    """
    try:
        function()
    except Exception as error:
        _answer(answers, directory, failed=" ".join(str(error).split())[:500])
        return False
    return True


def _answer(answers: Any, directory: str, **values: Any) -> None:
    with suppress(BrokenPipeError):  # the reader has gone
        print(json.dumps({"directory": directory, **values}), file=answers, flush=True)


def _check_server() -> None:
    """Raise OSError if W&B's server does not answer; any answer will do."""
    import ssl

    import wandb

    url = wandb.setup().settings.base_url
    try:
        urllib.request.urlopen(f"{url}/healthz", timeout=ANSWER_S).close()
    except urllib.error.HTTPError:
        pass
    except OSError as error:
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLError):  # (W&B decides about certificates)
            raise OSError(f"{url}: {reason}") from error


class _Mirrored:
    """A W&B run, and the directory whose records it shows."""

    def __init__(self, directory: Path, mode: str) -> None:
        self.url: str | None = None
        self._directory, self._mode = directory, mode
        self._offset = 0  # in evals.jsonl, of the first byte not read
        self._points: list[dict[str, Any]] = []
        self._sent = 0
        self._run: Run | None = None

    def start(self) -> None:
        """Begin the W&B run, or continue it."""
        self._about = json.loads((self._directory / "wandb.json").read_text(encoding="utf-8"))
        self._run = self._init()
        self.url = self._run.url
        self._run.define_metric("samples")
        self._run.define_metric("*", step_metric="samples")
        if self._about["metric"] is not None:
            # The summary has the best value, not the last one: `max` or `min` is the direction.
            self._run.define_metric(
                self._about["metric"], step_metric="samples", summary=self._about["direction"]
            )
        # If the run continues, W&B has the evaluations below this number already.
        self._sent = self._run.starting_step

    def _init(self) -> Run:
        import wandb

        about = self._about
        if self._mode == "online":
            _check_server()
        else:
            # Offline, the whole run is written again: W&B begins at the first row when it syncs a
            # directory, whatever it has. So an earlier part must not be synced after this one.
            self._remove("offline-run", "run")
        return wandb.init(
            id=about["id"],
            resume="allow" if self._mode == "online" and about["resumed"] else None,
            mode=self._mode,  # type: ignore[arg-type]
            dir=str(self._directory),
            **{k: about[k] for k in ("project", "name", "group", "job_type", "tags", "config")},
            # Runs of one stack are open side by side. Usage is that of the process that trains.
            settings=wandb.Settings(
                console="off",
                silent=True,
                init_timeout=INIT_S,
                reinit="create_new",
                x_stats_pid=os.getppid(),
            ),
        )

    def _remove(self, *kinds: str) -> None:
        """Remove what W&B keeps of earlier parts of this run, if it was not synced."""
        for kind in kinds:
            for earlier in (self._directory / "wandb").glob(f"{kind}-*-{self._about['id']}"):
                if not any(earlier.glob("*.synced")):
                    shutil.rmtree(earlier, ignore_errors=True)

    def follow(self) -> None:
        """Send the evaluations that were made since the last call."""
        assert self._run is not None
        path = self._directory / "evals.jsonl"
        if self._about["comparison"] is None and path.exists():
            with path.open("rb") as file:
                file.seek(self._offset)
                *lines, _ = file.read().split(b"\n")  # the last is empty, or being written
            for line in lines:
                self._offset += len(line) + 1
                self._points.append(json.loads(line))
        # The row number is the number of the evaluation, so that a resumed run uses the same one
        # again.
        for number in range(self._sent, len(self._points)):
            # The target is a curve as well, for a line in the figure.
            row = {**self._points[number], "target": self._about["config"].get("target")}
            self._run.log({k: v for k, v in row.items() if v is not None}, step=number)
        self._sent = max(self._sent, len(self._points))

    def finish(self) -> None:
        """Send the rest, the result and the records."""
        assert self._run is not None
        if self._about["comparison"] is not None:
            self._compare(Path(self._about["comparison"]))
            self._end(exit_code=0)
            self._gather()
            return
        self.follow()
        result = self._directory / "run.json"
        record: dict[str, Any] = {"status": "failed", "reason": "the process was killed"}
        if result.exists():
            record = json.loads(result.read_text(encoding="utf-8"))
            self._log_table("evals", self._points, step=len(self._points) - 1)
            self._save_records([result, self._directory / "evals.jsonl"])
        apart = ("config", "environment", "columns", "format_version")
        self._run.summary.update({k: v for k, v in record.items() if k not in apart})
        # These are numbers because W&B can sum numbers, to count the runs of an arm with each
        # status.
        self._run.summary.update({f"runs_{s}": int(s == record["status"]) for s in STATUSES})
        # W&B leaves out runs without a number. A censored run counts with all of its samples here.
        at_least = record.get("samples_to_target")
        if at_least is None and record["status"] in CENSORED and record.get("target") is not None:
            at_least = record.get("budget_samples")
        peak_lr = self._about["config"].get("plan", {}).get("peak_lr")
        self._run.summary.update({"samples_to_target_at_least": at_least, "peak_lr": peak_lr})
        self._end(exit_code=1 if record["status"] == "failed" else 0)

    def _end(self, exit_code: int) -> None:
        assert self._run is not None
        self._run.finish(exit_code=exit_code)
        if self._mode == "online":  # W&B has all of it, and a part must not be synced over it
            self._remove("offline-run")

    def _compare(self, path: Path) -> None:
        """Every arm's curve, the table of arms, and their ratios."""
        assert self._run is not None
        data = json.loads(path.read_text(encoding="utf-8"))
        by_samples: dict[int, dict[str, float]] = defaultdict(dict)
        metrics = {arm["arm"]: arm["metric"] for arm in data["arms"]}
        for arm, curve in data["curves"].items():
            for point in curve:
                by_samples[point["samples"]][f"{metrics[arm]}/{arm}"] = point["median"]
        for number, samples in enumerate(sorted(by_samples)):
            self._run.log({"samples": samples, **by_samples[samples]}, step=number)
        rows = [_flat(arm) for arm in data["arms"]]
        self._log_table("arms", rows, step=max(0, len(by_samples) - 1))
        self._run.summary.update({arm["arm"]: arm for arm in data["arms"]})
        # W&B keeps what the chain of a study ended with, where nobody can write it again.
        for study in data.get("studies", []):
            ends = {key: study[key] for key in ("name", "hash", "head")}
            self._run.summary.update({f"registered {study['hash']}": ends})
            short = study["hash"][:SHORT_HASH]
            self._run.config.update({"plan": {"study": short}})  # type: ignore[no-untyped-call]

    def _gather(self) -> None:
        """Link the compared runs beside the comparison: ``wandb leet`` shows one directory."""
        here = self._directory / "wandb"
        found = [
            run
            for runs in ("*", "runs/*/*")  # of a multirun, of a study
            for run in self._directory.glob(f"{runs}/wandb/*run-*")
            if not run.is_symlink()
        ]
        for gone in here.glob("*run-*"):
            if gone.is_symlink() and not gone.exists():
                gone.unlink()
        for run in found:
            with suppress(OSError):  # linked already, or a file system without links
                (here / run.name).symlink_to(Path(os.path.relpath(run, here)))

    def _log_table(self, name: str, rows: Sequence[Mapping[str, Any]], step: int) -> None:
        import wandb

        if rows and self._run is not None:
            # (an evaluation has the noise scale only where it was measured)
            columns: list[str | int] = list(dict.fromkeys(key for row in rows for key in row))
            data = [[row.get(str(column)) for column in columns] for row in rows]
            table = wandb.Table(columns=columns, data=data)
            # Bound to the run, it is a file of the run. Otherwise, W&B would make an artifact of
            # it, whose parts lie in the user's home directory until they are synced.
            table.bind_to_run(self._run, name, step)  # type: ignore[no-untyped-call]
            # Commit now: a row that is committed later would overwrite the summary.
            self._run.log({name: table}, step=step, commit=True)

    def _save_records(self, paths: Sequence[Path]) -> None:
        """Make the records files of the run.

        An offline run has copies of them, so that its directory can be moved before it is synced.
        """
        assert self._run is not None
        for path in paths:
            if path.exists():
                copy = Path(self._run.dir, path.name)
                shutil.copyfile(path, copy)
                self._run.save(copy, base_path=self._run.dir, policy="now")


# What a row of the table of arms does not have as it is; report.json has all of it.
_PARTED = (
    "divergence",
    "easier_targets",
    "median_interval",
    "ratio_to_baseline",
    "ratio_together",
    "seeds",
)


def _flat(arm: Mapping[str, Any]) -> dict[str, Any]:
    """An arm's row of the table: numbers and words only, an interval as its two ends.

    W&B refuses a column whose cells have parts of different types.
    """
    low, high = arm["median_interval"] or (None, None)
    alone, together = arm["ratio_to_baseline"] or {}, arm["ratio_together"] or {}
    return {
        **{key: value for key, value in arm.items() if key not in _PARTED},
        "median_low": low,
        "median_high": high,
        **{f"ratio_{key}": alone.get(key) for key in ("ratio", "low", "high", "confidence")},
        "ratio_together_low": together.get("low"),
        "ratio_together_high": together.get("high"),
    }


if __name__ == "__main__":
    main()
