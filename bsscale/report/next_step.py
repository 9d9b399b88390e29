"""The next command of somebody whom a report does not answer yet."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from bsscale.report.comparison import ArmSummary
from bsscale.report.read import Sources
from bsscale.report.use import command_of, option_value, setting_words
from bsscale.stats import FEWEST_SEEDS, required_seeds

__all__ = ["NextStep", "add_baseline", "easier", "joined", "more_seeds", "study_of"]

BSSCALE = ["python", "-m", "bsscale"]


@dataclass(frozen=True)
class NextStep:
    """What to do next: why, and the commands, one a line; none where bsscale has none."""

    says: str
    commands: tuple[str, ...]


def more_seeds(one: ArmSummary, other: ArmSummary | None, found: Sources) -> NextStep | None:
    """As many seeds as would tell two arms apart, if they differ as it seems; twice at least."""
    here = len(one.seeds)
    a, b = (
        {} if arm is None else {each.seed: each.samples for each in arm.seeds}
        for arm in (one, other)
    )
    needed = required_seeds(a, b) if len(a.keys() & b.keys()) > 2 else None
    seeds = max(needed or 0, FEWEST_SEEDS if here < FEWEST_SEEDS else 2 * here)
    enough = ", about as many as tell the two apart" if seeds == needed else ""
    if one.imported:  # (their runs are trained elsewhere)
        return NextStep(f"Add seeds to your curves, {seeds} for each arm in all{enough}", ())
    words = _words_of(one, found)
    if words is None:
        return None
    words = words if _of_study(one) or "-m" in words else ["-m", *words]
    if _of_study(one):
        says = f"Add seeds, {seeds} in all{enough}; what is trained is kept"
        return NextStep(says, (joined(_with(words, "task.seeds", str(seeds))),))
    first = min((each.seed for each in one.seeds), default=0)
    says = f"Train {seeds} seeds{enough}"
    return NextStep(says, (joined(_with(words, "seed", f"range({first},{first + seeds})")),))


def add_baseline(arms: Sequence[ArmSummary], found: Sources) -> NextStep | None:
    """The job of the first arm at 1 GPU, on the same seeds, and the report of all.

    Of imported curves, the report again, with the name of one of the arms.
    """
    best, record = arms[0], arms[0].record
    if any(arm.imported for arm in arms):
        first = next(run.record.arm for run in found.runs if run.imported is not None)
        says = f"Name the arm that ratios refer to, for instance {first}"
        if not found.report_command:
            return None
        return NextStep(
            says, (joined(_with(found.report_command, "task.baseline", option_value(first))),)
        )
    if record.trainer != "bsscale":
        return None
    seeds = ",".join(str(each.seed) for each in best.seeds)
    words = ["-m", "schedule=fixed", "gpus=1", f"seed={seeds}", *setting_words(record)]
    if record.target is not None:
        words.append(f"target={record.target!r}")
    here = dict.fromkeys(str(run.directory.parent) for arm in arms for run in arm.runs)
    runs = ",".join([*here, "baseline_1gpu"])
    return NextStep(
        "Train the baseline at 1 GPU, and write the report of all",
        (
            joined([*words, "hydra.sweep.dir=baseline_1gpu"]),
            joined(["task=report", f"task.runs=[{runs}]"]),
        ),
    )


def easier(arms: Sequence[ArmSummary], found: Sources, *, first: bool) -> NextStep | None:
    """A target that the arms can reach, or fewer GPUs."""
    values = [arm.median_best_value for arm in arms if arm.median_best_value is not None]
    words = _words_of(arms[0], found)
    if not values or words is None:
        return None
    sign = arms[0].criterion.sign
    value = sign * min(sign * each for each in values) if first else (
        # (A value that no other one confirmed may lie beyond the target.)
        sign * min(
            max(sign * each for each in values),
            *(sign * arm.target for arm in arms if arm.target is not None),
        )
    )  # fmt: skip
    target = f"{value - sign * 0.001 * abs(value):.4g}"
    changed = _with(words, "task.target" if arms[0].imported else "target", target)
    if _of_study(arms[0]):
        gpus = max(2, arms[0].gpus // 2)
        changed = _with(words, "gpus", str(gpus))
        directory = next((w for w in words if w.startswith("task.directory=")), None)
        if directory is not None:
            changed = _with(changed, "task.directory", f"{directory.partition('=')[2]}-gpus{gpus}")
        return NextStep(f"Try fewer GPUs, here {gpus}", (joined(changed),))
    says = "Give a target that the arms can reach"
    return NextStep(says, (joined(changed),))


def study_of(arm: ArmSummary) -> NextStep | None:
    """A study that compares the arm with others."""
    record = arm.record
    if record.trainer != "bsscale":
        return None
    words = ["task=study", f"gpus={max(record.gpus, 2)}"]
    words += [word for word in setting_words(record) if not word.startswith("base_lr=")]
    return NextStep("Compare it with other schedules", (joined(words),))


def _words_of(arm: ArmSummary, found: Sources) -> list[str] | None:
    """The words of the command that trained or imported an arm; None where it is not recorded."""
    if arm.imported:
        return found.report_command or None
    study = arm.runs[0].study
    commands = found.commands if study is None else study.record.commands
    if not commands:
        if arm.record.trainer != "bsscale":
            return None
        commands = [command_of(arm.record)]
    words = shlex.split(commands[-1] if study is not None else commands[0])
    return words[3:] if words[:3] == BSSCALE else None


def _of_study(arm: ArmSummary) -> bool:
    return arm.runs[0].study is not None


def _with(words: Sequence[str], key: str, value: str) -> list[str]:
    """The words of a command with another value of an option."""
    pattern = re.compile(rf"\+{{0,2}}{re.escape(key)}=")
    return [*(word for word in words if not pattern.match(word)), f"{key}={value}"]


def joined(words: Sequence[str]) -> str:
    """A command line of bsscale with some words."""
    return shlex.join([*BSSCALE, *words])
