"""A configuration that says one thing and would do another is refused, wherever it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose
from omegaconf import DictConfig, open_dict

from bsscale.cli.composed import check_composed
from bsscale.cli.explain import explained
from bsscale.cli.jobs import typed_config
from bsscale.cli.launchers.register import register_launchers
from bsscale.cli.store import register_schemas
from bsscale.cli.tasks import TASKS
from bsscale.cli.tasks.task import refuse_replaced
from bsscale.errors import BsscaleError, ConfigError
from tests.composing import composed, hydra

__all__ = ["hydra"]
pytestmark = pytest.mark.usefixtures("hydra")


def checked(cfg: DictConfig) -> None:
    check_composed(cfg)
    typed_config(cfg)


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("schedule", "onecycle"),
        ("schedule", "foo"),
        ("optimizer", "adam"),
        ("task", "study"),
        ("executor", "gpu"),
        ("tracker", "none"),
        ("scaling", "linear"),
        ("dataset", "synthetic"),
        ("dataset", "mine"),
        ("model", "mlp"),
        ("model", None),
        ("objective", "regression"),
    ],
)
def test_the_name_of_a_part_is_that_of_the_part(group: str, name: str) -> None:
    """As an experiment, a sweep or a file of the user's own may set it."""
    cfg = composed()
    with open_dict(cfg):
        cfg[group].name = name
    with pytest.raises(BsscaleError) as caught:
        check_composed(cfg)
        typed_config(cfg)
        if group == "executor":
            from bsscale.planning.checks import check_config

            check_config(typed_config(cfg))
    assert str(name) in caught.value.fact and caught.value.remedy


def test_another_target_is_not_given_a_shipped_name() -> None:
    cfg = composed("model._target_=my.Net")
    with pytest.raises(ConfigError, match="under the name dlrm") as caught:
        check_composed(cfg)
    assert "model=custom model._target_=my.Net" in caught.value.remedy
    check_composed(composed("model=custom", "model._target_=my.Net"))
    check_composed(composed("model=custom", "model._target_=my.Net", "model.name=mine"))


def test_a_part_that_is_gone_is_named() -> None:
    cfg = composed()
    with open_dict(cfg):
        del cfg["schedule"]
    with pytest.raises(ConfigError, match="has no schedule"):
        check_composed(cfg)


@pytest.mark.parametrize(
    ("override", "fact"),
    [
        ("base_lr=${nope}", "base_lr refers to something that cannot be found"),
        ("base_lr=${base_lr}", "base_lr refers to something that cannot be found"),
        ("gpus=${oc.env:NOPE_N}", "gpus refers to something that cannot be found"),
        (
            "dataset.split=${oc.env:NOPE_N}",
            "dataset.split refers to something that cannot be found",
        ),
        ("schedule.name=${nope}", "schedule.name refers to something that cannot be found"),
        ("+task.ramp.x=1", "there is no option task.ramp.x"),
        ("+executor.gpu=3", "there is no option executor.gpu"),
        ("+tracker.entity=me", "there is no option tracker.entity"),
        ("+foo={a:1}", "there is no option foo"),
    ],
)
def test_what_cannot_be_resolved_or_does_nothing(override: str, fact: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(composed("task=range_test", override))
    assert fact in caught.value.fact and caught.value.remedy


@pytest.mark.parametrize(
    ("override", "fact", "remedy"),
    [
        ("optimizer.lr=99", "there is no option optimizer.lr", "did you mean base_lr?"),
        (
            "schedule.cycle_max_lr=2",
            "schedule=fixed has no option cycle_max_lr",
            "write schedule=onecycle schedule.cycle_max_lr=VALUE",
        ),
        ("model.hiden=3", "there is no option model.hiden", "model=dlrm --help"),
        ("gpus=abc", "gpus=abc is not a whole number", "give gpus as a whole number"),
        ("base_lr=true", "base_lr=true is not a number", "give base_lr as a number"),
        ("dry_run=maybe", "dry_run=maybe is not true or false", "as true or false"),
        ("seed=null", "null is no value of seed", "leave it out"),
        ("tracker.mode=[a]", "tracker.mode=[a] is not a text", "as a text"),
        ("hydra/launcher=foo", "there is no hydra/launcher=foo", "there are basic"),
        ("hydra.run.dri=x", "there is no option hydra.run.dri", "did you mean hydra.run.dir?"),
        ("~foo", "'foo' does not exist", "--help"),
    ],
)
def test_what_hydra_refuses_is_said_in_our_words(override: str, fact: str, remedy: str) -> None:
    with pytest.raises(Exception) as caught:
        compose("config", overrides=[override], return_hydra_config=True)
    error = explained(caught.value)
    assert error is not None
    assert fact in error.fact and remedy in error.remedy
    assert "+" not in str(error) and "HYDRA_FULL_ERROR" not in str(error)


def test_a_custom_part_is_told_how_arguments_are_added() -> None:
    with pytest.raises(Exception) as caught:
        composed("dataset=custom", "dataset._target_=my.load", "dataset.rows=3")
    error = explained(caught.value)
    assert error is not None and "+dataset.rows=VALUE" in error.remedy
    checked(composed("dataset=custom", "dataset._target_=my.load", "+dataset.rows=3"))


def test_a_mistake_of_ours_is_not_explained_away() -> None:
    assert explained(ZeroDivisionError()) is None


@pytest.mark.parametrize(
    ("task", "override"),
    [
        ("range_test", "schedule=onecycle"),
        ("range_test", "target=0.7"),
        ("range_test", "tracker=wandb"),
        ("range_test", "eval_interval_samples=100"),
        ("study", "seed=3"),
        ("study", "schedule.cycle_max_lr=3"),
        ("study", "++budget_passes=2"),
        ("study", "resume=never"),
        ("report", "metric=log_loss"),
        ("report", "gpus=8"),
        ("report", "schedule.cycle_max_lr=3"),
        ("report", "tracker=wandb"),
    ],
)
def test_an_option_that_a_task_sets_itself_is_refused(task: str, override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_replaced(TASKS[task], task, [override])
    assert override in caught.value.fact and caught.value.remedy
    refuse_replaced(TASKS[task], task, ["dry_run=true", "tracker=none", "+task.arms.x={}"])
    refuse_replaced(TASKS["train"], "train", [override])


def test_a_report_says_where_its_metric_and_target_come_from() -> None:
    for option in ("metric", "target"):
        with pytest.raises(ConfigError) as caught:
            refuse_replaced(TASKS["report"], "report", [f"{option}=0.7"])
        said = (
            f"leave it out: the {option} comes from the records; for curves from elsewhere write "
        )
        assert caught.value.remedy.startswith(f"{said}task.{option}=")


def test_relative_paths_start_where_the_command_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where Hydra has changed to the output directory."""
    monkeypatch.chdir(tmp_path)
    register_schemas()
    register_launchers()
    overrides = ["hydra.job.chdir=true", "hydra.mode=RUN"]
    own = ["dataset=table", "dataset.path=c.csv", "dataset.label=y", "schedule=onecycle"]
    cfg = compose(
        "config",
        overrides=[*overrides, *own, "schedule.preset=sub/p.yaml"],
        return_hydra_config=True,
    )
    check_composed(cfg, cfg.hydra)
    assert cfg.dataset.path == str(tmp_path / "c.csv")
    assert cfg.schedule.preset == str(tmp_path / "sub" / "p.yaml")
    assert cfg.resume == "auto"
    report = ["task=report", f"task.runs=[a,{tmp_path}/b]"]
    cfg = compose("config", overrides=[*overrides, *report], return_hydra_config=True)
    check_composed(cfg, cfg.hydra)
    assert list(cfg.task.runs) == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_the_jobs_of_a_sweep_have_one_working_directory() -> None:
    register_schemas()
    register_launchers()
    overrides = ["hydra.job.chdir=true", "hydra.mode=MULTIRUN"]
    cfg = compose("config", overrides=overrides, return_hydra_config=True)
    with pytest.raises(ConfigError, match="share one process"):
        check_composed(cfg, cfg.hydra)
