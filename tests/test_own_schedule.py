"""schedule=custom: any object with lr(step) is a schedule like any other, or is refused before."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bsscale.cli.jobs import Job
from bsscale.errors import BsscaleError, ConfigError, RecordsError
from bsscale.optimizers import AdagradConfig
from bsscale.planning.description import describe_plan
from bsscale.planning.devices import Devices
from bsscale.records.evaluation import read_evals
from bsscale.records.run_record import read_run
from bsscale.schedules import Custom, to_deepspeed
from bsscale.schedules.options import CustomScheduleConfig
from bsscale.schedules.options.base import ScheduleContext
from bsscale.schedules.options.given import given_options, make_schedule
from bsscale.study.plan import StudyPlan
from bsscale.study.work import Work, describe
from tests.composing import composed, hydra, typed
from tests.conftest import SMALL, Finished
from tests.engines.runs import all_at_once, by_torch
from tests.helpers import prepare, small_config

__all__ = ["hydra"]

OWN = "tests.own_parts"
CONTEXT = ScheduleContext(0.1, 4, 128, 12_800, None)


def config(name: str, **options: Any) -> CustomScheduleConfig:
    return CustomScheduleConfig(_target_=f"{OWN}.{name}", options=options)


# --- The command line ---

TRIANGLE = '''
class Triangle:
    """Up to gpus x base_lr and down to zero, `length` updates in all."""

    def __init__(self, base_lr, gpus, length):
        self.base_lr, self.peak, self.length = base_lr, gpus * base_lr, length

    def lr(self, step):
        height = 1 - abs(2 * step / self.length - 1)
        return self.peak * max(0.0, height)

    def momentum(self, step):
        return 0.9 - 0.1 * self.lr(step) / self.peak

    def phases(self):
        return [("up", 0), ("down", self.length // 2)]
'''


def test_a_schedule_of_ones_own_trains_from_the_command_line(
    bsscale: Callable[..., Finished], tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(TRIANGLE)
    words = (
        *SMALL, "schedule=custom", "schedule._target_=own.Triangle", "schedule.length=200",
        "gpus=2", "hydra.run.dir=run",
    )  # fmt: skip
    done = bsscale(*words)
    assert done.code == 0, done.text
    assert "lr 0, rise to 0.2 (step 100)" in done.out
    record = read_run(tmp_path / "run")
    assert (record.schedule, record.status) == ("custom", "exhausted")
    assert record.config["schedule"]["_target_"] == "own.Triangle"
    assert record.config["schedule"]["options"] == {"length": 200}
    point = read_evals(tmp_path / "run")[1]
    rate = 0.2 * (1 - abs(2 * (point.step - 1) / 200 - 1))
    assert 0 < rate == pytest.approx(point.lr)
    assert point.momentum == pytest.approx(0.9 - rate / 2)


def test_it_is_drawn_as_any_other(bsscale: Callable[..., Finished], tmp_path: Path) -> None:
    words = ("task=show_schedule", "schedule=custom", f"schedule._target_={OWN}.Power")
    done = bsscale(*SMALL, *words, "schedule.steps=300", "gpus=2", "hydra.run.dir=run")
    assert done.code == 0, done.text
    assert "decay  from step 0" in done.out and "warning  it ends at zero" in done.out
    points = json.loads((tmp_path / "run" / "schedule.json").read_text())
    assert points[0]["lr"] == 0.2


# --- A value like any other ---


def test_it_is_given_the_numbers_of_the_run_that_it_asks_for() -> None:
    schedule = config("Power", steps=100).build(CONTEXT)
    assert schedule == Custom(f"{OWN}.Power", {"base_lr": 0.1, "gpus": 4, "steps": 100})
    assert (schedule.lr(0), schedule.lr(50), schedule.length) == (0.4, 0.1, 100)
    assert config("Power", steps=100, base_lr=1.0).build(CONTEXT).lr(0) == 4.0  # given ones win
    assert schedule.phases() == (("decay", 0), ("zero", 100)) and schedule.momentum(3) is None
    steps = np.arange(120)
    assert schedule.lr(steps).tolist() == [schedule.lr(int(step)) for step in steps]
    assert hash(schedule) == hash(pickle.loads(pickle.dumps(schedule)))
    assert schedule == pickle.loads(pickle.dumps(schedule))
    assert schedule != config("Power", steps=101).build(CONTEXT)


def test_every_engine_trains_with_it() -> None:
    plan, dataset = prepare(small_config(schedule=config("Wave"), budget_samples=4096))
    assert plan.training_step == "layers"
    [stacked] = all_at_once([plan], dataset, updates=50)
    eager = by_torch(plan, dataset, updates=50)
    assert stacked.keys() == eager.keys()
    for name, value in stacked.items():
        np.testing.assert_allclose(value, eager[name], rtol=1e-4, atol=1e-6)
    assert plan.training["schedule"] == {
        "shape": "Custom", "target": f"{OWN}.Wave", "arguments": {}
    }  # fmt: skip
    assert "momentum 0.9, fall to 0.8 (step 1" in describe_plan(plan, dataset, "arm")


def test_deepspeed_has_no_such_schedule() -> None:
    with pytest.raises(ConfigError, match=r"no schedule like Custom(.|\n)*it has OneCycle"):
        to_deepspeed(config("Wave").build(CONTEXT))


@pytest.mark.usefixtures("hydra")
def test_its_options_come_with_and_without_a_plus() -> None:
    chosen = ("schedule=custom", f"schedule._target_={OWN}.Power")
    plain = typed(*chosen, "schedule.steps=7").schedule
    assert plain == typed(*chosen, "+schedule.steps=7").schedule == config("Power", steps=7)
    assert make_schedule(given_options(plain)) == plain


@pytest.mark.usefixtures("hydra")
def test_it_is_an_arm_of_a_study() -> None:
    schedule = f"{{name:custom,_target_:{OWN}.Power,steps:50}}"
    own = ("task=study", "gpus=2", f"+task.arms.own={{schedule:{schedule}}}")
    job = Job(composed(*SMALL[:-2], "tracker=none", *own), hydra=None)
    plan = StudyPlan(job.config, job.dataset, Devices(0))
    [arm] = [arm for arm in plan.arms if arm.name == "own"]
    assert arm.schedule == config("Power", steps=50)
    assert arm.registered().schedule["options"] == {"steps": 50}
    [spec] = [spec for spec in plan.first_runs() if spec.arm == "own"]
    described = describe(spec, plan.directory)
    [again] = Work("hash", [described]).specs(plan.specs, job.config.tracker)
    assert again.plan.training == spec.plan.training
    # A file of a study's work names no code that the command does not name.
    described["schedule"]["_target_"] = f"{OWN}.Wave"
    with pytest.raises(RecordsError, match="which no arm of this command has"):
        Work("hash", [described]).specs(plan.specs, job.config.tracker)


# --- What is refused, before anything is trained ---


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    ("target", "words", "facts"),
    [
        (None, [], ["schedule._target_ is not given", "give an import path"]),
        ("nowhere.Own", [], ["cannot import schedule._target_=nowhere.Own", "check the path"]),
        ("math.pi", [], ["is a float, which cannot be called"]),
        ("builtins.dict", [], ["gave a dict, which has no method lr(step)"]),
        (f"{OWN}.Power", [], ["failed with TypeError", "'steps'", "its options are: base_lr, gp"]),
        (f"{OWN}.Power", ["schedule.stepz=3"], ["(base_lr=0.1, gpus=1, stepz=3)", "'stepz'"]),
        (f"{OWN}.Power", ["schedule.steps=100000"], ["takes 100,000 steps", "budget_samples="]),
        (f"{OWN}.Endless", [], ["has a length of -1", "an int of 0 or more"]),
        (f"{OWN}.Strict", [], ["check(640)", "640 updates are too many", "the budget"]),
        (f"{OWN}.Moody", [], ["a momentum at step 0 and none at step 3", "at every step"]),
        (
            f"{OWN}.Says",
            ["schedule.what=not finite"],
            ["a learning rate of nan at step 50", "finite"],
        ),
        (f"{OWN}.Says", ["schedule.what=negative"], ["a learning rate of -0.0", "at step 11"]),
        (f"{OWN}.Says", ["schedule.what=none"], ["lr(0)=None, which is not a number"]),
        (f"{OWN}.Says", ["schedule.what=array"], ["lr(0)=an array of shape (3,)", "one number"]),
        (f"{OWN}.Says", ["schedule.what=text"], ["lr(0)='0.1', which is not a number"]),
        (f"{OWN}.Says", ["schedule.what=error"], ["lr(2)", "IndexError: list index out of"]),
        (f"{OWN}.Says", ["schedule.what=stateful"], ["when it is asked again", "the same step"]),
    ],
)
def test_what_is_no_schedule_is_refused(
    target: str | None, words: list[str], facts: list[str]
) -> None:
    own = [] if target is None else [f"schedule._target_={target}"]
    with pytest.raises(BsscaleError) as refusal:
        _ = Job(composed(*SMALL, "schedule=custom", *own, *words), hydra=None).plan
    assert refusal.value.remedy
    for fact in facts:
        assert fact in str(refusal.value)


def test_its_momentum_needs_an_optimizer_with_one() -> None:
    with pytest.raises(ConfigError, match=r"cycles the momentum(.|\n)*has no momentum"):
        prepare(small_config(schedule=config("Wave"), optimizer=AdagradConfig()))
