"""``--help`` is made from the files of conf/ and sweeps/."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bsscale.cli.help import help_text, read_config_file
from bsscale.cli.launchers.register import LAUNCHERS
from bsscale.cli.store import CONFIG_DIRECTORY, SWEEPS_DIRECTORY, choices
from tests.composing import expanded, hydra, typed
from tests.conftest import Finished

__all__ = ["hydra"]
Bsscale = Callable[..., Finished]


def shown(*chosen: tuple[str, str], conf: Path = CONFIG_DIRECTORY) -> str:
    return help_text([conf], SWEEPS_DIRECTORY, LAUNCHERS, chosen)


def test_it_is_one_screen() -> None:
    lines = shown().splitlines()
    assert len(lines) <= 53 and max(map(len, lines)) <= 100


def test_it_names_every_choice_the_default_first() -> None:
    lines = re.sub(r"\|\n\s*", "| ", shown()).splitlines()
    for group, names in choices().items():
        key = "+sweeps=" if group == "sweeps" else f"{group}="
        [line] = [line.strip() for line in lines if line.strip().startswith(key) and "|" in line]
        listed = line.removeprefix(key).split(" | ")
        assert sorted(listed) == sorted(names)
        if group not in ("sweeps", "experiment"):
            assert f"  - {group}: {listed[0]}\n" in (CONFIG_DIRECTORY / "config.yaml").read_text()
    assert "hydra/launcher=stacked | basic | submitit_slurm" in shown()


def test_every_option_of_a_run_is_there_with_its_comment() -> None:
    text = " ".join(shown().split())
    options = read_config_file(CONFIG_DIRECTORY / "config.yaml").options
    assert len(options) > 10
    for option in options:
        if not option.key.startswith("hydra."):
            assert f"{option.key}={option.value} {option.comment}" in text


@pytest.mark.usefixtures("hydra")
def test_its_commands_compose() -> None:
    commands = re.findall(r"python -m bsscale ((?:\S+ )+) ", shown())
    assert len(commands) >= 4
    for command in commands:
        words = [word for word in shlex.split(command) if not word.startswith("-")]
        for overrides in expanded(words):
            typed(*overrides)


def test_a_changed_comment_is_shown(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(CONFIG_DIRECTORY, conf)
    for path, line, comment in (
        ("config.yaml", "grad_accum: 1", "a text of the test"),
        ("schedule/onecycle.yaml", "cycle_min_lr: null", "another text of the test"),
    ):
        text, count = re.subn(rf"^{line} #.*", f"{line} # {comment}", (conf / path).read_text(),
                              flags=re.MULTILINE)  # fmt: skip
        assert count == 1
        (conf / path).write_text(text)
    (conf / "model" / "mine.yaml").write_text("# My model.\nwidth: 3 # its width\n")
    assert re.search(r"grad_accum=1 +a text of the test", shown(conf=conf))
    assert "| logistic | mine | mlp" in shown(conf=conf)
    page = shown(("schedule", "onecycle"), ("model", "mine"), conf=conf)
    assert re.search(r"schedule.cycle_min_lr=null +another text of the test", page)
    assert "model=mine\n  My model.\n\n  model.width=3  its width\n" in page


def test_a_choice_shows_its_file_and_nothing_else(bsscale: Bsscale) -> None:
    done = bsscale("schedule=onecycle", "--help")
    assert done.code == 0 and not done.err
    assert done.out.startswith("schedule=onecycle\n  1-Cycle (Smith 2018)")
    assert re.search(r"schedule.cycle_first_stair_count=0 +stairs of the rising half", done.out)
    assert "schedule.name" not in done.out and "micro_batch" not in done.out


@pytest.mark.parametrize(
    ("chosen", "facts"),
    [
        (("task", "study"), ["task.seeds=10 number of report seeds", "task.arms.one_gpu={"]),
        (("task", "range_test"), ["task.ramp the options of", "task.ramp.mode=exponential"]),
        # The options of ddp are those of auto, which its file is based on.
        (("executor", "ddp"), ["executor.threads=1 CPU threads", "one process for each CUDA"]),
        (("schedule", "sequence"), ["schedule.parts=[{name: linear_warmup, length_fraction:"]),
        (("model", "custom"), ["model._target_=??? the class"]),
        (("experiment", "tutorial"), ["model=deepfm", "model.embedding_init=normal"]),
        (("sweeps", "gpus"), ["+sweeps=gpus", "hydra.sweeper.params.gpus=1,2,4,8,16,32,64"]),
        (("model", "elsewhere"), ["model=elsewhere not a file of conf/model; --cfg job"]),
    ],
)
def test_what_is_shown_of_a_choice(chosen: tuple[str, str], facts: list[str]) -> None:
    text = " ".join(shown(chosen).split())
    for fact in facts:
        assert fact in text


FILES = sorted((group, name) for group, names in choices().items() for name in names)


@pytest.mark.parametrize(("group", "name"), FILES)
def test_every_choice_has_a_page_that_fits(group: str, name: str) -> None:
    lines = shown((group, name)).splitlines()
    assert len(lines) > 2 and max(map(len, lines)) <= 120


def test_the_users_own_files_are_shown_too(bsscale: Bsscale, tmp_path: Path) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "my_net.yaml").write_text("# My net.\nwidth: 8 # neurons\n")
    done = bsscale("--config-dir", "mine", "model=my_net", "--help")
    assert done.code == 0 and re.search(r"model.width=8 +neurons", done.out)


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["schedule=onecycel", "--help"], "did you mean schedule=onecycle?"),
        (["schedule", "--help"], "write schedule=NAME; there are cosine,"),
        (["--hepl"], "no flag --hepl"),
    ],
)
def test_a_misspelt_request_is_answered(bsscale: Bsscale, arguments: list[str], fact: str) -> None:
    done = bsscale(*arguments)
    assert done.code == 1 and fact in done.err and "Traceback" not in done.text


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["--hydra-help"], "Hydra"),
        (["--cfg", "job"], "micro_batch: 128"),
        (["--info", "searchpath"], "conf"),
        (["-sc", "install=bash"], "COMP"),
        (["-m", "schedule=fixed,onecycle", "--help"], "schedule=fixed\n"),
    ],
)
def test_other_flags_go_to_hydra(bsscale: Bsscale, arguments: list[str], fact: str) -> None:
    done = bsscale(*arguments)
    assert done.code == 0, done.text
    assert fact in done.out


def test_it_needs_little_time(bsscale: Bsscale) -> None:
    import resource

    def spent_s() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    bsscale("--help")
    before = spent_s()
    bsscale("--help")
    assert spent_s() - before < 1.0
