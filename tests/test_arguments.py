"""What people type wrongly is answered in their words, before Hydra sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bsscale.cli.arguments import check_arguments, ordered
from bsscale.cli.store import choices
from bsscale.errors import ConfigError


@pytest.mark.parametrize(
    ("line", "fact", "remedy"),
    [
        ("schedule=one_cycle", "no schedule=one_cycle", "did you mean schedule=onecycle?"),
        ("-m schedule=fixed,onecycel", "no schedule=onecycel", "there are cosine, custom"),
        ("model=resnet", "no model=resnet", "there are custom, dcnv2, deepfm, dlrm, logistic, mlp"),
        ("task=trian", "no task=trian", "did you mean task=train?"),
        ("+sweeps=stair", "no sweeps=stair", "stair_counts"),
        ("--gpus 8", "no flag --gpus", "gpus=8;"),
        ("-m --gpus=8 seed=0,1", "no flag --gpus=8", "gpus=8;"),
        ("--cfg jop", "invalid choice: 'jop'", "--help"),
        ("taks=study", "no option taks", "did you mean task?"),
        ("scheduler.cycle_max_lr=1", "no option scheduler.cycle_max_lr", "--help"),
        ("lr=0.1", "no option lr", "did you mean base_lr?"),
        ("direction=min", "no option direction", "did you mean task.direction?"),
        ("sweeps=gpus -m", "lacks a plus sign", "+sweeps=gpus"),
        ("gpus", "'gpus' is not key=value", "gpus=8"),
        ("schedule", "'schedule' is not key=value", "write schedule=NAME; there are cosine"),
        ("task.name=study", "changes only the name of the task", "write task=NAME; there are"),
        ("schedule=onecycle gpus= 8", "'8' is not key=value", "without spaces"),
        ("task=train,study", "several values", "-m task=train,study"),
        ("hydra.run.dir=größe", "cannot be read", "'hydra.run.dir=\"größe\"'"),
        ("optimizer.name=adam", "changes only the name of the optimizer", "write optimizer=NAME"),
        ("executor.name=ddp", "changes only the name of the executor", "write executor=NAME"),
        ("tracker.name=none", "changes only the name of the tracker", "write tracker=NAME"),
        ("~schedule", "no run is without a schedule", "write schedule=NAME; there are cosine"),
        ("~tracker", "no run is without a tracker", "tracker=none"),
        ("~gpus", "cannot be removed", "leave it out for its default"),
        ("schedule=null", "chooses no schedule", "write schedule=NAME"),
        ("model=3", "chooses no model", "write model=NAME"),
        ("schedule={name:onecycle}", "chooses no schedule", "write schedule=NAME"),
        ("+schedule=onecycle", "a second schedule", "without the plus: schedule=onecycle"),
        ("+hydra.foo=1", "adds an option that Hydra does not have", "--help"),
        ("+=study", "names no option", "NAME=VALUE"),
        ("=study", "names no option", "NAME=VALUE"),
        ("-m base_lr=interval(0.1,1)", "is an interval", "base_lr=A,B,C"),
        ("--cfg job -m", "ask for two things", "leave --cfg out"),
        ("--resolve", "without --cfg does nothing", "--cfg job --resolve"),
        (f"gpus=1{'0' * 400}", "a number of 401 digits", "give a smaller one"),
        (f"gpus=1{'0' * 5000}", "cannot be read", "quotes"),
    ],
)
def test_each_has_its_fact_and_its_remedy(line: str, fact: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_arguments(line.split(" "), choices())
    assert fact in caught.value.fact and remedy in caught.value.remedy


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--help",
        "--help schedule=fixed,onecycle",
        "dataset.name=mine model.name=mine",
        "--cfg job --resolve",
        "-m schedule=onecycle,fixed gpus=8 seed=range(0,3)",
        "+sweeps=gpus seed=0,1",
        "hydra.mode=MULTIRUN seed=0,1",
        "-sc install=bash",
        "--config-dir mine model=my_net",
        "hydra.searchpath=[mine] model=my_net",
        "task=study experiment=quick ~task.arms.fixed +task.arms.mine={schedule:{name:cosine}}",
        "tracker=none -m seed=0,1",
        "gpus=2 --cfg job seed=1",
        "+hydra.job.env_set.X=1 +hydra.launcher.n_jobs=2 ~dataset.split ~hydra.callbacks.around",
        "++gpus=8 hydra/launcher=basic experiment=null dataset@dataset=synthetic",
        "schedule=onecycle schedule.cycle_first_stair_count=100 dataset.path=a.csv",
    ],
)
def test_what_hydra_understands_is_left_to_it(line: str) -> None:
    check_arguments(line.split(" ") if line else [], choices())


def test_what_a_command_line_asks_for() -> None:
    line = ["-m", "schedule=fixed,onecycle", "gpus=8", "+sweeps=gpus", "task.runs=a", "--help"]
    command = check_arguments(line, choices())
    assert command.help and command.config_folders == []
    assert command.chosen == [("schedule", "fixed"), ("schedule", "onecycle"), ("sweeps", "gpus")]
    assert not check_arguments(["gpus=8"], choices()).help
    assert check_arguments(["-cd", "mine", "-h"], choices()).config_folders == [Path("mine")]


def test_flags_may_stand_between_options() -> None:
    line = ["tracker=none", "-m", "seed=0,1", "--config-dir", "mine", "dry_run=true"]
    assert ordered(line) == [
        "tracker=none",
        "seed=0,1",
        "dry_run=true",
        "-m",
        "--config-dir",
        "mine",
    ]
    assert ordered(["--help"]) == ["--help"]
    assert ordered(["-m", "seed=0,1"]) == ["seed=0,1", "-m"]
