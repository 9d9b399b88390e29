"""What a script can do wrong: each has its status and its message, and no other run suffers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bsscale.errors import BsscaleError, ScriptError
from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import RunRecord, read_run
from tests.bridge.scripts import sh, spec, train

GOOD = 'echo \'{"samples": 200, "auc": 0.6}\'; echo \'{"samples": 400, "auc": 0.71}\'; '
CONFIRMED = 'echo \'{"samples": 600, "auc": 0.72}\'; '


@dataclass(frozen=True)
class Case:
    """A script, and what becomes of its run."""

    command: str
    status: str
    words: str
    trainer: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def line(text: str) -> str:
    return f"echo '{text}'; "


CASES = {
    "cannot be started": Case("/no/such/command", "failed", "cannot be started: No such file"),
    "exits with an error": Case(
        sh("echo Traceback >&2; echo 'ValueError: no data' >&2; exit 3"),
        "failed",
        "ended with exit code 3: ValueError: no data",
    ),
    "exits with an error after reports": Case(
        sh(GOOD + "exit 1"), "failed", "ended with exit code 1"
    ),
    "is killed": Case(sh(GOOD + "kill -9 $$"), "failed", "ended with signal 9"),
    "hangs": Case(
        sh(GOOD + "exec sleep 100"), "failed", "nothing for 0.4 s", trainer={"silence_s": 0.4}
    ),
    "hangs from the start": Case(
        sh("exec sleep 100"), "failed", "nothing for 0.4 s", trainer={"silence_s": 0.4}
    ),
    "reports nothing": Case(sh("echo hello"), "failed", "ended and reported nothing"),
    "prints JSON of its own": Case(
        sh(line('{"epoch": 1}') + line("[1]") + line("{broken")),
        "failed",
        "ended and reported nothing",
    ),
    "out of order": Case(
        sh(GOOD + line('{"samples": 300, "auc": 0.7}')),
        "failed",
        "reported 300 samples after 400",
        options={"gpus": 1},
    ),
    "twice the same": Case(
        sh(GOOD + line('{"samples": 400, "auc": 0.7}')), "failed", "400 samples after 400"
    ),
    "another metric": Case(
        sh(line('{"samples": 200, "accuracy": 0.9}')),
        "failed",
        "reported accuracy, and auc judges it",
    ),
    "no metric": Case(sh(line('{"samples": 200}')), "failed", "reported no metric, and auc"),
    "a word": Case(
        sh(line('{"samples": 200, "auc": "high"}')), "failed", "auc='high', which is no number"
    ),
    "samples that are no number": Case(
        sh(line('{"samples": "many", "auc": 0.6}')), "failed", "which is no whole number"
    ),
    "negative samples": Case(sh(line('{"samples": -20, "auc": 0.6}')), "failed", "samples=-20"),
    "samples of another batch": Case(
        sh(line('{"samples": 210, "auc": 0.6}')),
        "failed",
        "210 samples, which is no multiple of its global batch of 20",
    ),
    "steps of one replica": Case(
        sh(line('{"samples": 200, "step": 20, "auc": 0.6}')),
        "failed",
        "reported step 20 with 200 samples, which are 10 updates of 20",
    ),
    "another rate": Case(
        sh(line('{"samples": 200, "auc": 0.6, "lr": 0.2}')),
        "failed",
        "learning rate 0.2 at step 10, where the schedule has 0.1",
    ),
    "first report beyond the budget": Case(
        sh(line('{"samples": 4000, "auc": 0.6}')), "failed", "beyond its budget of 2,000"
    ),
    "NaN": Case(
        sh(GOOD + line('{"samples": 600, "auc": NaN}') + "exec sleep 100"),
        "diverged",
        "non-finite AUC",
    ),
    "null": Case(
        sh(GOOD + line('{"samples": 600, "auc": null}') + "exec sleep 100"),
        "diverged",
        "non-finite AUC",
    ),
    "infinite training loss": Case(
        sh(line('{"samples": 200, "auc": 0.6, "train_loss": Infinity}') + "exec sleep 100"),
        "diverged",
        "non-finite training loss",
    ),
    "goes on after its target": Case(
        sh(GOOD + CONFIRMED + "exec sleep 100"), "reached", "confirmed by the next evaluation"
    ),
    "fails after its target": Case(
        sh(GOOD + CONFIRMED + "exit 9"), "reached", "confirmed by the next evaluation"
    ),
    "leaves a process behind": Case(
        sh(GOOD + CONFIRMED + "sleep 100 & exit 0"), "reached", "confirmed by the next evaluation"
    ),
    "ends itself at its first hit": Case(
        sh(GOOD), "reached", "ended itself after 400 samples, before its budget was spent; the last"
    ),
    "ends itself without a hit": Case(
        sh(line('{"samples": 200, "auc": 0.6}')),
        "exhausted",
        "ended itself after 200 samples, before its budget was spent; the target was not",
    ),
    "trains beyond its budget": Case(
        sh(line('{"samples": 200, "auc": 0.6}') + line('{"samples": 2400, "auc": 0.9}')),
        "exhausted",
        "the budget is spent; the target was not confirmed",
    ),
    "prints much else": Case(
        sh("seq 20000; " + GOOD + "seq 20000 >&2; " + CONFIRMED), "reached", "confirmed"
    ),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Path]]:
    """All of them, many at a time."""
    root = tmp_path_factory.mktemp("runs")
    specs = [
        spec(root / str(number), case.command, case.trainer, **case.options)
        for number, case in enumerate(CASES.values())
    ]
    trained = train(specs, at_once=8)
    return {
        name: (result, each.directory)
        for name, each, result in zip(CASES, specs, trained, strict=True)
    }


@pytest.mark.parametrize("name", CASES)
def test_each_has_its_status_and_its_message(
    name: str, results: dict[str, tuple[Any, Path]]
) -> None:
    case, (result, directory) = CASES[name], results[name]
    record = read_run(directory)
    assert record.status == case.status
    assert case.words in record.reason
    if case.status == "failed":
        assert isinstance(result, ScriptError) and case.words in result.fact and result.remedy
    else:
        assert isinstance(result, RunRecord)


def test_what_was_reported_before_an_error_is_kept(
    results: dict[str, tuple[Any, Path]],
) -> None:
    _, directory = results["is killed"]
    assert [point.samples for point in read_evals(directory)] == [200, 400]
    assert (directory / "stdout.log").read_text().count("samples") == 2


def test_a_hit_at_the_end_of_a_script_that_ends_itself_is_interpolated(
    results: dict[str, tuple[Any, Path]],
) -> None:
    record, _ = results["ends itself at its first hit"]
    assert record.samples_to_target_interval == (200, 400)
    assert record.samples_to_target == pytest.approx(200 + 200 * (0.7 - 0.6) / (0.71 - 0.6))


def test_no_record_has_what_bsscale_does_not_know(
    results: dict[str, tuple[Any, Path]],
) -> None:
    record, _ = results["goes on after its target"]
    assert record.trainer == record.executor == "script"
    unknown = (record.model, record.dataset, record.optimizer, record.data_key, record.columns)
    assert unknown == (None, None, None, None, None)
    assert (record.metric, record.objective, record.steps) == ("auc", "reported", 30)


@pytest.mark.parametrize(
    ("trainer", "options", "words"),
    [
        ({"command": ""}, {}, "trainer=script without a command"),
        ({"command": "python 'train.py"}, {}, "No closing quotation"),
        ({"command": "train {gpu}"}, {}, "{gpu}, which is no placeholder"),
        ({"command": "train {"}, {}, "cannot be read"),
        ({"silence_s": 0.0}, {}, "trainer.silence_s=0.0 is not a positive number"),
        ({"samples_per_pass": 0}, {}, "trainer.samples_per_pass=0 is below 1"),
        ({"direction": "up"}, {}, "trainer.direction=up"),
        ({}, {"metric": "recall"}, "metric=recall is not a metric that bsscale knows"),
        ({"direction": "min"}, {"metric": "auc"}, "contradicts metric=auc"),
        ({}, {"budget_samples": None}, "the samples of a pass are not known"),
    ],
)
def test_options_with_which_no_script_can_train(
    tmp_path: Path, trainer: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    given = {"command": "true", **trainer}
    with pytest.raises(BsscaleError) as raised:
        run = spec(tmp_path, given.pop("command"), given, **options)
        run.plan.config.trainer.check()
    assert words in str(raised.value) and raised.value.remedy
