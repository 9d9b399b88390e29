"""Runs that exist already as a study's arm at 1 GPU: its target, its records, what is refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bsscale.cli.jobs import Job
from bsscale.errors import ConfigError, RecordsError
from bsscale.planning.devices import Devices
from bsscale.records.evaluation import read_evals
from bsscale.records.registered_runs import target_faults
from bsscale.records.run_record import read_run
from bsscale.study.description import describe_study
from bsscale.study.plan import check_study
from tests.bridge.small_studies import DATASET, WORDS, a_script, auc, carried_out
from tests.composing import composed, hydra
from tests.conftest import Finished

__all__ = ["hydra"]  # (a fixture)

# The median of three runs, that of seed 1 after a pass of 1,000 samples, less 0.005.
TARGET = 0.80709005


def write_curves(
    path: Path, seeds: tuple[int, ...] = (0, 1, 2), last: int = 2000, **columns: object
) -> str:
    """Curves of 1 GPU; gives the option that adopts them."""
    names = ["arm", "seed", "samples", "auc", *columns]
    lines = [
        ",".join(map(str, ["mine", seed, samples, f"{auc(samples, seed):.9f}", *columns.values()]))
        for seed in seeds
        for samples in range(200, last + 1, 200)
    ]
    path.write_text("\n".join([",".join(names), *lines]) + "\n")
    return f"task.adopt={path}"


@pytest.mark.usefixtures("hydra")
def test_adopted_curves_fix_the_target_and_are_compared_with_the_arms(tmp_path: Path) -> None:
    words = (a_script(tmp_path), write_curves(tmp_path / "curves.csv"), "base_lr=0.1")
    record = carried_out(tmp_path, words)
    study = tmp_path / "study"
    assert record.target == pytest.approx(TARGET, abs=1e-7) and record.base_lr == 0.1
    # 8 times the median samples of 1 GPU, 967.9, in whole intervals, and one more.
    assert record.budget_samples == 7800 + 200
    assert not (study / "target").exists() and not (study / "tuning").exists()
    settled = record.settled["adopted seed-1"]
    assert settled["source"] == str(tmp_path / "curves.csv") and settled["format"] == "CSV"
    assert settled["best_value"] == pytest.approx(auc(1000, 1), abs=1e-9)
    own = read_run(study / "runs" / "one_gpu" / "seed-1")
    assert own.adopted == settled and own.study == record.hash and own.environment == {}
    assert own.status == "reached" and own.samples_to_target_interval == (800, 1000)
    assert own.samples_to_target == pytest.approx(967.9, abs=0.1)
    assert [point.samples for point in read_evals(study / "runs/one_gpu/seed-1")] == [
        *range(200, 2001, 200)
    ]
    assert target_faults(study, record) == []
    data = json.loads((study / "report" / "report.json").read_text())
    arms = {arm["arm"]: arm for arm in data["arms"]}
    assert arms["fixed"]["ratio_to_baseline"]["ratio"] == pytest.approx(1.0, abs=1e-6)
    assert arms["linear_scaling"]["ratio_to_baseline"]["ratio"] > 1.5
    said = (
        f"Adopted, not registered: the 3 runs of one_gpu (CSV, from {tmp_path}/curves.csv) existed "
        "before the study, and the target follows from them. Nothing shows whether they were "
        "chosen after their results were known."
    )
    assert said in data["verdict"] and "are not recorded" in data["verdict"]
    page = (study / "report" / "report.md").read_text()
    assert (
        "existed before the study, and" in page
        and "The registered plan was followed: 3 arms x 3 seeds" in page
    )
    # The source is not needed again; more seeds do not move the target.
    before = {path: path.read_bytes() for path in study.glob("runs/*/*/run.json")}
    (tmp_path / "curves.csv").unlink()
    assert carried_out(tmp_path, words).deviations == []
    write_curves(tmp_path / "curves.csv", seeds=(0, 1, 2, 3))
    grown = carried_out(tmp_path, words, seeds=4)
    assert grown.target == record.target and grown.deviations == []
    assert (study / "runs" / "one_gpu" / "seed-3" / "run.json").exists()
    assert all(path.read_bytes() == content for path, content in before.items())
    # What is exchanged is found.
    path = study / "runs" / "one_gpu" / "seed-1" / "run.json"
    path.write_text(path.read_text().replace('"steps": ', '"steps": 1'))
    with pytest.raises(RecordsError, match="its records were changed after it had ended"):
        carried_out(tmp_path, words, seeds=4)


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    ("columns", "words", "fault"),
    [
        (
            {},
            (),
            r"the learning rate of the runs of .* is not in their records\n  -> give",
        ),
        ({"global_batch": 40}, ("base_lr=0.1",), "has a global batch of 40, and one_gpu has 10"),
        ({}, ("base_lr=0.1", "metric=log_loss", "target=0.4"), "log_loss"),
        ({}, ("base_lr=0.1", "target=0.899"), "0 of the 3 runs of .* have reached the target"),
        ({}, ("base_lr=0.1", "task.seeds=5"), "3, 4 are missing\n  -> give task.seeds=NUMBER"),
        ({}, ("base_lr=0.1", "task.adopt=nowhere"), "there is no such directory or file"),
        ({}, ("base_lr=0.1", "task.adopt=."), "holds no run that has ended"),
    ],
)
def test_what_cannot_be_adopted_is_refused(
    columns: dict[str, Any], words: tuple[str, ...], fault: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    adopt = write_curves(tmp_path / "curves.csv", **columns)
    given = (*WORDS, 'trainer.command="true"', adopt, "task.directory=study", *words)
    with pytest.raises(ConfigError, match=fault):
        check_study(Job(composed(*given), None).config, DATASET, Devices(0))


@pytest.mark.usefixtures("hydra")
def test_several_arms_need_a_name_and_the_plan_says_what_is_adopted(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    words = (*WORDS, 'trainer.command="true"', write_curves(path), "base_lr=0.1")
    config = Job(composed(*words, "task.seeds=2"), None).config
    text = describe_study(config, DATASET, Devices(0))
    assert f"adopted  2 runs of {path} (CSV) as one_gpu, unregistered" in text
    assert "runs  4 of the arms" in text and "in at most 4 runs" in text
    other = path.read_text().replace("mine,0", "one_gpu,0").replace("mine,1", "one_gpu,1")
    path.write_text(other)
    assert "2 runs of" in describe_study(config, DATASET, Devices(0))
    path.write_text(other.replace("one_gpu", "yours"))
    with pytest.raises(ConfigError, match="several arms: yours, mine"):
        describe_study(config, DATASET, Devices(0))


@pytest.mark.slow
def test_a_multirun_and_an_earlier_study_can_be_adopted(
    bsscale: Callable[..., Finished], tmp_path: Path
) -> None:
    script = a_script(tmp_path)
    sweep = [word for word in WORDS if "task" not in word and not word.startswith("gpus")]
    done = bsscale(
        *sweep, script, "-m", "seed=0,1,2", "gpus=1,4", "base_lr=0.1", "budget_samples=2000",
        "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert done.code == 0, done.text
    done = bsscale(*WORDS, script, "task.adopt=sweep", "task.directory=first")
    assert done.code == 0 and "warning: the arm one_gpu is adopted" in done.text, done.text
    study = json.loads((tmp_path / "first" / "study.json").read_text())
    assert study["target"] == pytest.approx(TARGET, abs=1e-7) and study["base_lr"] == 0.1
    done = bsscale(*WORDS, script, "task.adopt=first", "task.directory=second")
    assert done.code == 0, done.text
    again = json.loads((tmp_path / "second" / "study.json").read_text())
    assert again["target"] == study["target"]
    (tmp_path / "other.sh").write_text("true")
    other = f'trainer.command="sh {tmp_path}/other.sh"'
    done = bsscale(*WORDS, other, "task.adopt=first", "task.directory=third", "dry_run=true")
    assert done.code == 1 and "was trained otherwise: trainer.command was" in done.text, done.text


@pytest.mark.slow
def test_killed_while_it_adopts_it_ends_the_same(tmp_path: Path) -> None:
    words = [*WORDS, a_script(tmp_path), write_curves(tmp_path / "curves.csv"), "base_lr=0.1"]
    words += ["task.directory=study"]
    from tests.test_study import environment, outcome

    def start(directory: Path, **watched: str) -> int:
        directory.mkdir(exist_ok=True)
        command = ["python", "-m", "tests.killed_at", *words]
        where = {**environment(tmp_path / "cache"), **watched}
        return subprocess.run(command, cwd=directory, env=where, capture_output=True).returncode

    assert start(tmp_path / "whole", OPERATIONS=str(tmp_path / "operations")) == 0
    operations = (tmp_path / "operations").read_text().splitlines()
    moments = [at for at, each in enumerate(operations, 1) if "runs/one_gpu/" in each]
    moment = moments[len(moments) // 2]
    assert start(tmp_path / "killed", KILL_AT=str(moment)) == -9
    assert start(tmp_path / "killed") == 0
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")
