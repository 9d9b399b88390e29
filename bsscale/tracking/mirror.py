"""The process that talks to W&B: it follows records, so that W&B can neither slow nor stop a run.

`bsscale.tracking.tracker` starts it, one for each process that trains, and writes a line of JSON on
its standard input for each run: ``{"open": DIRECTORY}``, later ``{"finish": DIRECTORY}``. What to
call the run is in the directory's wandb.json, what happens to it in evals.jsonl, how it ended in
run.json. Each finished or failed run is answered by a line on standard output. When the input ends,
this process finishes the open runs and ends. If W&B hangs, it ends a minute later.

Nothing of bsscale is imported here, because every run would pay the time of the import.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
import threading
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
# An unreachable server is given up after this, not after W&B's own 90 s.
INIT_S = 20.0
STATUSES = ("reached", "exhausted", "diverged", "failed")
# How long an upload may continue after the input has ended.
GRACE_S = 60.0


def main() -> None:
    """Carry out the commands of the input until it ends."""
    # W&B prints to standard output. Redirect it, so that only answers reach the reader.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # W&B imports pandas to check whether a table is a pandas table. The import takes longer than
    # sending the table.
    sys.modules["pandas"] = None  # type: ignore[assignment]
    runs: dict[str, _Mirrored] = {}
    buffer, reachable = b"", True
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
                run = _Mirrored(Path(directory), reachable)
                if _try_call(answers, directory, run.start):
                    runs[directory] = run
                    reachable = reachable and run.note is None
            elif (opened := runs.pop(directory, None)) and _try_call(
                answers, directory, opened.finish
            ):
                _answer(answers, directory, finished=True, url=opened.url, note=opened.note)
    watchdog = threading.Timer(GRACE_S, os._exit, [1])
    watchdog.daemon = True
    watchdog.start()
    for directory, run in runs.items():
        _try_call(answers, directory, run.finish)


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


class _Mirrored:
    """A W&B run, and the directory whose records it shows.

    If the server was not `reachable` for an earlier run, this run is offline from the start.
    """

    def __init__(self, directory: Path, reachable: bool) -> None:
        self.url: str | None = None
        self.note: str | None = None
        self._directory, self._reachable = directory, reachable
        self._offset = 0  # in evals.jsonl, of the first byte not read
        self._points: list[dict[str, Any]] = []
        self._sent = 0
        self._run: Run | None = None

    def start(self) -> None:
        """Begin the W&B run, or continue it."""
        self._about = json.loads((self._directory / "wandb.json").read_text(encoding="utf-8"))
        mode = self._about["mode"]
        if mode == "online" and not self._reachable:
            mode = "offline"
        try:
            self._run = self._init(mode)
        except Exception as error:
            if mode != "online":
                raise
            self._run = self._init("offline")
            why = " ".join(str(error).split())[:300]
            self.note = f"W&B could not be reached ({why}); kept offline, for `wandb sync`"
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

    def _init(self, mode: str) -> Run:
        import wandb

        about = self._about
        if mode != "online":
            # Offline, the whole run is written again, because W&B draws parts that are synced
            # separately over each other. An earlier part that was not synced would also be sent
            # twice.
            for earlier in (self._directory / "wandb").glob(f"offline-run-*-{about['id']}"):
                if not any(earlier.glob("*.synced")):
                    shutil.rmtree(earlier, ignore_errors=True)
        return wandb.init(
            id=about["id"],
            resume="allow" if mode == "online" and about["resumed"] else None,
            mode=mode,  # type: ignore[arg-type]
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
            self._run.finish()
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
        self._run.finish(exit_code=1 if record["status"] == "failed" else 0)

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
            # Commit now: a row that is committed later would overwrite the summary.
            table = wandb.Table(columns=columns, data=data)
            self._run.log({name: table}, step=step, commit=True)

    def _save_records(self, paths: Sequence[Path]) -> None:
        import wandb

        assert self._run is not None
        artifact = wandb.Artifact(f"records-{self._run.id}", type="records")
        for path in paths:
            if path.exists():
                # Records of a run that has ended do not change: no copy is needed.
                artifact.add_file(str(path), policy="immutable", skip_cache=True)
        self._run.log_artifact(artifact)


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
