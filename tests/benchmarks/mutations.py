"""One-line changes of decisions, each of which must fail a fast test.

    python -m tests.benchmarks.mutations               # all; three seconds each
    python -m tests.benchmarks.mutations tuning loop   # those whose file's name holds one of these

Each change is made to a copy of the tree, in which the tests that are named beside it run. Printed
are the change and the first test that fails. A change that no test notices is marked SURVIVED, one
whose line is no longer there NOT FOUND; either ends the command with 1.
"""

# ruff: noqa: E501 (a line of code is quoted whole)

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Mutation:
    """A change: `old`, which is there once, becomes `new`; `tests` are what pytest is given."""

    file: str
    tests: tuple[str, ...]
    old: str
    new: str


def group(file: str, tests: str, *changes: tuple[str, str]) -> Iterator[Mutation]:
    names = tuple(f"tests/{'' if '/' in name else 'test_'}{name}" for name in tests.split())
    return (Mutation(f"bsscale/{file}.py", names, old, new) for old, new in changes)


MUTATIONS = [
    *group(
        "stats/ratios", "stats_ratios.py",
        # One tail for both ends; the rank of an end; where an interval begins.
        ("expanded((1 - confidence) / 2,", "expanded((1 - confidence),"),
        ("place = max(math.floor(", "place = 1 + max(math.floor("),
        ("place = max(math.floor(", "place = max(math.ceil("),
        ("* (resamples + 1))", "* resamples - 1)"),
        ("place - 1)[place - 1]", "place)[place]"),
        ("-place)[-place]", "-place - 1)[-place - 1]"),
        ("float(lows.min())", "float(np.sort(lows)[min(1, len(lows) - 1)])"),
        ("pairs.shape[1] < fewest_seeds(confidence)", "pairs.shape[1] <= fewest_seeds(confidence)"),
        ("math.ceil(1 - math.log2", "math.ceil(-math.log2"),
        ("baseline_reached=int(np.isfinite(pairs[1])", "baseline_reached=int(np.isfinite(pairs[0])"),
        ("FEWEST_SEEDS = 6", "FEWEST_SEEDS = 5"),
        ("resamples: int = 4000", "resamples: int = 400"),
    ),
    *group(
        "stats/bootstrap", "stats_ratios.py",
        ("special.stdtrit(n - 1,", "special.stdtrit(n,"),
        ("_medians(samples[:, draws])", "_medians(np.stack([each[draws[::1 - 2 * (k % 2)]] for k, each in enumerate(samples)]))"),
        ("np.where(unknown, 0.0, ratios)", "np.where(unknown, 1.0, ratios)"),
        ("if low == high else (medians + middle[..., high]) / 2", ""),
    ),
    *group(
        "stats/family", "stats_family.py",
        ("own if arm == self.primary else", "together[arm] if arm == self.primary else"),
        ("bonferroni = outside / len(arms)", "bonferroni = outside"),
        ("fewest_seeds(1 - bonferroni)", "fewest_seeds(confidence)"),
        ("math.floor(outside * RESAMPLES)", "math.floor(outside * RESAMPLES / 2)"),
        ("2 * rank / (RESAMPLES + 1)", "rank / (RESAMPLES + 1)"),
        ("lows.shape[1] + 1 - _ranks", "lows.shape[1] - _ranks"),
        ("np.minimum(from_below, from_above).min", "np.minimum(from_below, from_above).max"),
    ),
    *group(
        "stats/looks", "stats_family.py",
        ("alpha * math.log1p((math.e - 1) * n / last)", "alpha * n / last"),
        ("levels.append(2 * float", "levels.append(float"),
        ("(total - used)", "total"),
        ("density, before = points, bound * weights", "density, before = points, weights"),
        ("place = self._place(seeds) + 1", "place = self._place(seeds) + 2"),
        ("family.each_alone or not decided", "not decided"),
        ("estimate.told_apart or estimate.within(margin)", "estimate.told_apart"),
        ("looks.after(seeds) if undecided else None", "looks.after(seeds)"),
    ),
    *group(
        "stats/rates", "stats_family.py",
        ("DIVERGES_ABOVE = 0.3", "DIVERGES_ABOVE = 0.25"),
        ("tail = (1 - confidence) / 2", "tail = 1 - confidence"),
        ("n - count + 1, tail", "n - count, tail"),
    ),
    *group(
        "stats/winner", "stats_family.py",
        ("rest = (counts == 0)", "rest = (counts > 0)"),
        (".argmin(axis=0)", ".argmax(axis=0)"),
        ("if math.isfinite(medians[arm])", "if True"),
        ("upto >= total // 2 + 1", "upto >= (total + 1) // 2"),
    ),
    *group(
        "stats/medians", "stats.py",
        ("return Spread(len(runs), reached, statistics.median(runs)", "return Spread(len(runs), reached, statistics.median_low(runs)"),
        ("return statistics.median(checked(values))", "return statistics.median_low(checked(values))"),
        ("return math.nan if value == 0 else math.inf", "return math.inf"),
    ),
    *group(
        "stats/planning", "stats_planning.py",
        ("(1 + confidence) / 2) +", "confidence) +"),
        ("special.stdtrit(n - 1,", "special.stdtrit(n,"),
        ("+ special.ndtri(power)", "- special.ndtri(power)"),
        ("math.pi / 2 * (sigma_a**2", "(sigma_a**2"),
        ("- 2 * tau * sigma_a", "- tau * sigma_a"),
        ("- 2 * tau * sigma_a", "+ 2 * tau * sigma_a"),
        ("- 0.375) / (n + 0.25)", "- 0.5) / n"),
        ("/ (n * (n - 1))", "/ (n * n)"),
        ("enough = n * distance**2 >= variance", "enough = (n + 1) * distance**2 >= variance"),
        ("np.arange(fewest, most + 1)", "np.arange(fewest, most)"),
        ("both = (1 + power) / 2", "both = power"),
        ("math.log1p(margin)", "margin"),
    ),
    *group(
        "stats/survival", "stats_survival.py",
        ("tail, count = (1 - confidence) / 2", "tail, count = (1 - confidence)"),
        ("share <= _HALF)", "share < 0.5 - 1e-9)"),
        ("share < 1 - _HALF", "share <= _HALF"),
        ("low=_first(at, low_end <= 0.5)", "low=_first(at, low_end < 0.25)"),
        ("1 - tail ** (1 / max(count, 1))", "tail ** (1 / max(count, 1))"),
        ("right=times[~there]", "right=times[~there] / 2"),
    ),
    *group(
        "stats/verdicts", "stats_verdicts.py",
        ("divergence.diverges:", "divergence.count > 1:"),
        ("elif each_of > 1", "if each_of > 1"),
        ("of {runs + failed} runs", "of {runs} runs"),
        ("2 * estimate.baseline_reached <= estimate.n", "2 * estimate.baseline_reached < estimate.n"),
        ("2 * estimate.arm_reached <= runs", "2 * estimate.arm_reached < runs"),
        ("if high < 1:", "if high <= 1:"),
        ("if low > 1:", "if low >= 1:"),
        ("margin: float = 0.1", "margin: float = 0.05"),
        ("_rounded(low, math.floor), _rounded(high, math.ceil)", "_rounded(low, math.ceil), _rounded(high, math.ceil)"),
    ),
    *group(
        "stats/range_test", "lr_range.py",
        ("good[index:] & (loss[index:] < before.min())", "good[index:] & (loss[index:] <= before.min())"),
        ("good[index:] & (loss[index:] < before.min())", "(loss[index:] < before.min())"),
        ("UNSTABLE_BY = 0.1", "UNSTABLE_BY = 0.0"),
        ("PEAK_OF_EDGE = 1 / 2", "PEAK_OF_EDGE = 1 / 3"),
        ("lowest = min(reading.edge.lr", "lowest = max(reading.edge.lr"),
        ('f"{rate:.2g}"', 'f"{rate:.1g}"'),
        ("RISE_LASTS = 3", "RISE_LASTS = 2"),
        ("RISE_LASTS = 3", "RISE_LASTS = 4"),
        ("RISE_OF_NOISE = 4.0", "RISE_OF_NOISE = 8.0"),
        ("RISE_OF_NOISE = 4.0", "RISE_OF_NOISE = 3.0"),
        ("curve.lr[max(index - 1, 0)]", "curve.lr[index]"),
        ("index, reason = min(signs)", "index, reason = max(signs)"),
        ("for index in range(first + 1, len(good))", "for index in range(first + 2, len(good))"),
        ("math.sqrt(6)", "math.sqrt(2)"),
        ("if len(loss) < 5:", "if len(loss) < 50:"),
        ("width: int = 5", "width: int = 3"),
        ("noise = _noise(loss[: lowest + 1])", "noise = _noise(loss)"),
        ("if len(loss) < 2 * RISE_LASTS", "if len(loss) <= 2 * RISE_LASTS"),
        ("index = len(above) - int(", "index = len(above) - 1 - int("),
        ("usable = ends & (curve.lr <= edge.lr)", "usable = ends & (curve.lr < edge.lr)"),
        ("if len(lr) < 3:", "if len(lr) < 4:"),
    ),
    *group(
        "stats/readings", "lr_range.py",
        ("length // 3 + length // 6", "2 * length // 3"),
        ("length // 6, 0)", "length // 6 + 1, 0)"),
        ("loss[:index] > loss[index]", "loss[:index] >= loss[index]"),
        ("np.diff(np.log(lr))", "np.diff(lr)"),
    ),
    *group(
        "objectives/divergence", "decisions.py",
        ("patience: int = 5", "patience: int = 4"),
        ("patience: int = 5", "patience: int = 6"),
        ("if self._in_a_row < self.patience", "if self._in_a_row <= self.patience"),
        ("self._in_a_row + 1 if lost else 0", "self._in_a_row + 1 if lost else self._in_a_row"),
        ("improved = loss < self._lowest_loss", "improved = loss <= self._lowest_loss"),
        ("lost = loss > self.loss_at_chance and", "lost = loss >= self.loss_at_chance and"),
        ("value is None or value < bound", "value is None or value <= bound"),
        ("value is None or value < bound", "value is not None and value < bound"),
        ("and not improved and", "and"),
        ("min(loss, self._lowest_loss)", "loss"),
        ("if train_loss is None:", "if train_loss is None and False:"),
    ),
    *group(
        "objectives/target", "decisions.py metrics.py",
        ("if all(confirmed)", "if any(confirmed)"),
        ("return _interpolate(samples, values, target, i)", "return _interpolate(samples, values, target, i + 1)"),
        ("samples[hit - 1], values[hit - 1]", "samples[max(hit - 2, 0)], values[max(hit - 2, 0)]"),
        ("return Crossing((high, high), float(high))", "return Crossing((0, high), float(high))"),
        ("return Crossing((low, high), float(high))", "return Crossing((low, high), float(low))"),
        ("(target - missed) /", "(reached - target) /"),
    ),
    *group(
        "objectives/metric", "decisions.py metrics.py",
        ("value >= target if", "value > target if"),
        ("else value <= target", "else value < target"),
        ("statistics.median(best_values) - self.sign * margin", "statistics.median(best_values) + self.sign * margin"),
        ("statistics.median(best_values) - self.sign * margin", "statistics.median(best_values) - margin"),
        ("statistics.median(best_values) - self.sign * margin", "max(best_values) - self.sign * margin"),
        ("MARGIN_SHARE = 0.02", "MARGIN_SHARE = 0.05"),
        ("max(defined, key", "min(defined, key"),
        ("key=lambda value: self.sign * value,", "key=lambda value: value,"),
    ),
    *group(
        "objectives/binary", "metrics.py",
        ("return 0.5 + 3 * math.sqrt", "return 0.5 + 2 * math.sqrt"),
        ("(positives + negatives + 1) /", "(positives + negatives) /"),
        ("return won_twice / (2 *", "return 1 - won_twice / (2 *"),
        ("np.where(positive, -values, values)", "np.where(positive, values, -values)"),
    ),
    *group(
        "study/rules", "decisions.py",
        ("interval) + interval", "interval)"),
        ("median = samples_per_pass", "median = 0.0"),
        ("max(factor * median, samples_per_pass)", "factor * median"),
        ("max(factor * median, samples_per_pass)", "factor * median + samples_per_pass"),
        ("median = statistics.median(samples_to_target)", "median = min(samples_to_target)"),
        ("math.ceil(samples / interval)", "math.floor(samples / interval)"),
    ),
    *group(
        "study/options", "decisions.py",
        ("1_000_000 - self.seeds", "1_000_001 - self.seeds"),
        ("1_000_000 - self.seeds", "999_999 - self.seeds"),
        ("first_seed: int = 1_000_000", "first_seed: int = 0"),
        ("range(3_000_000, 3_000_000 +", "range(2_000_000, 2_000_000 +"),
        ("if self.trials < 3", "if self.trials < 4"),
    ),
    *group(
        "study/plan", "decisions.py",
        ("budget = self.budget_samples or _PASSES * one_pass", "budget = self.budget_samples or one_pass"),
        ("2: 0 if given else runs", "2: runs"),
        ("ends = 0 if given else 2", "ends = 0 if given else 1"),
        ("3: task.target_seeds * one_pass", "3: task.target_seeds * budget"),
        ("(tuned * runs + ends) * trial", "(tuned * runs + ends) * one_pass"),
        ("if step >= number)", "if step > number)"),
    ),
    *group(
        "study/range_test", "range_test.py::test_at_one_gpu_it_suggests_a_grid_for_base_lr",
        ("for power in range(7, 0, -1)", "for power in range(6, -1, -1)"),
        ("momentum_gain(OneCycleConfig().cycle_min_mom)", "momentum_gain(OneCycleConfig().cycle_max_mom)"),
    ),
    *group(
        "stats/search", "search.py",
        ("return (0.0 if samples is None else -samples), value", "return (0.0 if samples is None else samples), value"),
        ("return (0.0 if samples is None else -samples), value", "return 0.0, value"),
        ("if missed and result.diverged else", "if result.diverged else"),
        ("if missed and result.diverged else", "if False else"),
        ("else self.sign * result.value", "else result.value"),
        ("max(map(self._key, self.results)) >= min(map(other._key", "max(map(self._key, self.results)) > min(map(other._key"),
        ("max(map(self._key, self.results)) >= min(map(other._key", "min(map(self._key, self.results)) >= min(map(other._key"),
        ("if len(samples) == len(self.results) else None", "if samples else None"),
        ("finalists: int = 3", "finalists: int = 2"),
        ("gap: float = 1.6", "gap: float = 1.7"),
        ("extend_by: float = 4.0", "extend_by: float = 5.0"),
        ("extensions: int = 2", "extensions: int = 1"),
        ("extensions: int = 2", "extensions: int = 3"),
        ("math.log(high / low) / (rules.trials - 1)", "math.log(high / low) / rules.trials"),
        ("return max(self.ordered, key", "return max(reversed(self.ordered), key"),
        ("self._first -= points", "self._first -= points + 1"),
        ("range(self._last - points + 1, self._last + 1)", "range(self._last - points, self._last)"),
        ("return min(2, max(1,", "return min(3, max(1,"),
        ("math.log(gap * 0.99)) - 1))", "math.log(gap * 0.99))))"),
        ("if ratio <= gap:", "if ratio < gap * 0.99:"),
        ("ranked[: self.rules.finalists]", "ranked[:1]"),
        ("if self._asked[rate] < seeds", "if True"),
        ("key=lambda gap: gap[0] / gap[1])", "key=lambda gap: gap[1] / gap[0])"),
        ("max(0, at_least - self.tried)", "max(0, at_least - self.tried + 1)"),
    ),
    *group(
        "stats/evidence", "evidence.py",
        ("FEWEST_EVALUATIONS = 10", "FEWEST_EVALUATIONS = 9"),
        ("FEWEST_LEARNING = 3", "FEWEST_LEARNING = 2"),
        ("FEWEST_LEARNING = 3", "FEWEST_LEARNING = 4"),
        ("if peak < curve.lr[0]", "if peak <= curve.lr[0]"),
        ("(curve.lr <= peak)).sum()", "(curve.lr <= edge.lr)).sum()"),
        ("if edge.instability is not None:", "if False:"),
    ),
    *group(
        "study/tuning", "tuning.py",
        ("-self.metric.sign * math.inf if self.chance is None", "self.metric.sign * math.inf if self.chance is None"),
        ('record.status == "diverged"', 'record.status != "reached"'),
        ("self._seeds[done:seeds]", "self._seeds[:seeds]"),
        ("max(at_least, *(", "max(0, *("),
        ("tuning.target if tuning.stops else None", "tuning.target"),
    ),
    *group(
        "training/loop", "decisions.py",
        ("            self._diverged(point)\n        self._reason", "            pass\n        self._reason"),
        ("self._test_value = start.test_value", "self._test_value = None"),
        ("schedule.lr(step - 1) if step", "schedule.lr(step) if step"),
        ("schedule.momentum(step - 1) if step", "schedule.momentum(step) if step"),
        ('if self.status == "diverged" or self._crossing() is not None', 'if self.status == "diverged"'),
        ("return self.status is not None or self._hit()", "return self.status is not None"),
        ("return self.status is not None or self._hit()", "return self._hit()"),
        ("final_value=self._value(self._points[-1])", "final_value=self._value(self._points[-2])"),
        ('self._crossing() if self.status == "reached" else None', "self._crossing()"),
        ("if self.step < plan.steps and not (hit and", "if self.step < plan.steps and not (hit or"),
        ("if self.step < plan.steps and not", "if self.step <= plan.steps and not"),
        ('None if self.status == "diverged" else self._test_value', "self._test_value"),
        ("self.evaluation = self.checkpoint = start.step", "self.evaluation = self.checkpoint = start.step + 1"),
        ("if signal or run.step == run.checkpoint", "if signal or run.step == run.evaluation"),
        ("self.step * self.plan.global_batch", "self.step * self.plan.config.micro_batch"),
    ),
    *group(
        "planning/plan", "decisions.py plan.py",
        ("min(-(-samples // self.global_batch), self.steps)", "min(samples // self.global_batch, self.steps)"),
        ("min(-(-samples // self.global_batch), self.steps)", "-(-samples // self.global_batch)"),
        ("passed = step * self.global_batch // self.eval_interval_samples", "passed = (step * self.global_batch - 1) // self.eval_interval_samples"),
        ("due = -(-samples // self.global_batch)", "due = samples // self.global_batch"),
        ("return self.next_evaluation(due - 1)", "return self.next_evaluation(due)"),
        ("passed = step * self.global_batch // self.checkpoint_interval_samples", "passed = (step * self.global_batch - 1) // self.checkpoint_interval_samples"),
    ),
    *group(
        "planning/derive", "decisions.py plan.py",
        ("steps = math.ceil(budget / global_batch)", "steps = budget // global_batch"),
        ("DEFAULT_BUDGET_PASSES = 8.0", "DEFAULT_BUDGET_PASSES = 4.0"),
        ("DEFAULT_EVAL_INTERVAL_MICRO_BATCHES = 128", "DEFAULT_EVAL_INTERVAL_MICRO_BATCHES = 64"),
        ("checkpoint_interval_samples=config.checkpoint_interval_samples or samples_per_pass", "checkpoint_interval_samples=config.checkpoint_interval_samples or budget"),
    ),
    *group(
        "report/summarize", "decisions.py",
        ("record.budget_samples if record", "record.samples_seen if record"),
        ('if record.status == "diverged" else record.samples_seen', 'if record.status != "diverged" else record.samples_seen'),
        ("reached.append(record.samples_to_target is not None)", 'reached.append(record.status == "reached")'),
        ("math.inf if samples is None else samples", "float(run.record.samples_seen) if samples is None else samples"),
        ("known = first.setdefault((_key(run), run.record.seed), run)", "known = first[_key(run), run.record.seed] = run"),
        ("QUARTILES_FROM = 4", "QUARTILES_FROM = 5"),
        ("QUARTILES_FROM = 4", "QUARTILES_FROM = 3"),
        ("values[position - 1]", "values[min(position, len(values) - 1)]"),
        ("bisect.bisect_right(grid, samples)", "bisect.bisect_left(grid, samples)"),
        ('result.status == "diverged" and math.isinf(result.samples)', 'result.status == "diverged"'),
        ('if run.record.status != "failed"]', "]"),
        ("if run.record.target is not None)", "if run.record.samples_to_target is not None)"),
        ('method="inclusive"', 'method="exclusive"'),
    ),
    *group(
        "report/sentences", "decisions.py",
        ("value = criterion.best(", "value = max("),
        ("if arm.criterion == criterion]", "]"),
    ),
    *group(
        "report/ratios", "decisions.py",
        ("if len(alone) == 1", "if alone"),
        ("peer.gpus == 1]", "peer.gpus > 1]"),
        ("return min(together, key=lambda peer: _median(peer), default=None)", "return max(together, key=lambda peer: _median(peer), default=None)"),
        ('("metric", "target", "data_key")', '("metric", "data_key")'),
        ('("metric", "target", "data_key")', '("target", "data_key")'),
        ('("metric", "target", "data_key")', '("metric", "target")'),
        ("lowest = min(\n", "lowest = max(\n"),
        ("if peer.runs[0].study is study]", "]"),
        ("for peer in (*together, *judged)", "for peer in (*judged, *together)"),
        ("if peer.record.arm == study.record.baseline", "if peer.gpus == 1"),
    ),
    *group(
        "report/ratios", "report_families.py",
        ('if arm.role != "control"]', "]"),
        ("len(reference.seeds) + reference.failed", "1"),
        ("if n >= seeds), looks.seeds[-1])", "if n > seeds), looks.seeds[-1])"),
        ("each_of = len(family.own) if", "each_of = 1 if"),
    ),
    *group(
        "report/easier", "report_families.py",
        ("SHARES = (0.0, 0.01,", "SHARES = (0.0, 0.02,"),
        ("target - criterion.sign * share * way", "target + criterion.sign * share * way"),
        ("statistics.median(known)", "max(known)"),
    ),
    *group(
        "report/held_out", "report_families.py",
        ("chance = 2 * float", "chance = 4 * float"),
        ("if estimate.low <= 1 else better > worse", "if estimate.low > 1 else better > worse"),
        ("LEVEL = 0.05", "LEVEL = 0.2"),
    ),
    *group(
        "engines/stacked/graphs", "engines/test_accelerator.py",
        ("for own, new in zip(self._inputs, inputs, strict=True)", "for own, new in zip(self._inputs[:-1], inputs[:-1], strict=True)"),
        ("for number in range(updates):", "for number in range(updates - 1):"),
        ("self._label[number].copy_", "self._label[0].copy_"),
        ("if updates == self.updates:", "if True:"),
    ),
    *group(
        "engines/stacked/layers", "engines/test_accelerator.py",
        # A number of the device's that the host waits for; one of the host's that a graph keeps.
        ("rows = categorical + self._offsets", "rows = categorical + self._offsets + 0 * int(categorical.max())"),
        ("rows = categorical + self._offsets", "self.taken = 1 - getattr(self, 'taken', 1); rows = categorical * self.taken + self._offsets"),
    ),
]  # fmt: skip


def copied(directory: Path) -> None:
    """The tree as it is, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, directory / name)


def first_failure(tests: Sequence[str], directory: Path) -> str | None:
    """The first test that fails there, or how pytest ended otherwise; None: all pass."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-o", "addopts=", "-m", "not slow and not gpu", "-x",
         "-q", "--timeout=30", "-p", "no:xdist", "-p", "no:cacheprovider", *tests],
        cwd=directory, capture_output=True, text=True,
        # (Bytecode of the line before would be taken for that of the line now.)
        env={**os.environ, "PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    failed = re.search(r"^(?:FAILED|ERROR) tests/(.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if failed:
        return failed[1]
    return f"pytest ended with {done.returncode}" if done.returncode else None


def noticed_by(mutation: Mutation, directory: Path) -> str:
    """The test that notices a change, or why there is none."""
    path = directory / mutation.file
    original = path.read_text(encoding="utf-8")
    if original.count(mutation.old) != 1:
        return "NOT FOUND"
    path.write_text(original.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        return first_failure(mutation.tests, directory) or "SURVIVED"
    finally:
        path.write_text(original, encoding="utf-8")


def main(names: list[str]) -> int:
    chosen = [m for m in MUTATIONS if not names or any(name in m.file for name in names)]
    if not chosen:
        print(f"no file's name holds {' or '.join(names)}")
        return 1
    unnoticed = 0
    with tempfile.TemporaryDirectory() as scratch:
        copied(Path(scratch))
        tests = list(dict.fromkeys(name for mutation in chosen for name in mutation.tests))
        if failure := first_failure(tests, Path(scratch)):
            print(f"without any change: {failure}")
            return 1
        for mutation in chosen:
            found = noticed_by(mutation, Path(scratch))
            unnoticed += "::" not in found
            old, new = (" ".join(text.split()) for text in (mutation.old, mutation.new))
            print(f"{mutation.file}: {old}  ->  {new}\n    {found}", flush=True)
    print(f"{len(chosen)} changes, {len(chosen) - unnoticed} noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
