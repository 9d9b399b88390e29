"""The commands, snippets and links of README and docs are right."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bsscale.data import load_dataset
from tests.composing import expanded, hydra, typed
from tests.conftest import Finished

__all__ = ["hydra"]

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
TEXT = "\n".join(TEXTS.values())
# Comments in YAML files name commands too; a backslash continues one on the next line.
COMMENTS = "\n".join(
    path.read_text(encoding="utf-8").replace("\\\n#", "")
    for folder in ("conf", "sweeps")
    for path in sorted((ROOT / folder).rglob("*.yaml"))
)
LONGEST_README_LINES = 200


def commands(text: str, start: str) -> list[str]:
    """What follows `start` in each command of `text`, up to the end of the command."""
    return sorted({rest.strip() for rest in re.findall(rf"{start} ([^`\n|#]*)", text)})


COMMANDS = commands(TEXT + COMMENTS, r"(?:python|torchrun [^`\n]*) -m bsscale")


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_composes(command: str) -> None:
    words = [word for word in shlex.split(command) if not word.startswith("-")]
    # (A seed is as good as another, and a hundred of them take a minute.)
    for overrides in expanded([word for word in words if not word.startswith("seed=")]):
        typed(*overrides)


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 40


@pytest.mark.parametrize("module", commands(TEXT, r"python -m(?= tests\.)"))
def test_every_benchmark_exists(module: str) -> None:
    assert importlib.util.find_spec(module.split()[0]) is not None


# (train.py is the reader's own script.)
@pytest.mark.parametrize("arguments", commands(TEXT, r"python(?= [a-z])(?! train\.py)"))
def test_every_script_exists(arguments: str) -> None:
    assert (ROOT / arguments.split()[0].rstrip("'\"")).is_file()


@pytest.mark.parametrize("arguments", commands(TEXT, r"python -m pytest"))
def test_every_tested_path_exists(arguments: str) -> None:
    for word in shlex.split(arguments):
        if word.startswith(("tests", "notebooks")):
            assert (ROOT / word).exists()


def test_every_extra_exists() -> None:
    named = set(re.findall(r"-e '\.\[(\w+)\]'", TEXT))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert named and named <= set(extras["optional-dependencies"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXTS[page]):
        file = target.partition("#")[0]
        assert target.startswith("https://") or (page.parent / file).exists(), target


def test_readme_is_short_and_lists_every_page() -> None:
    readme = TEXTS[ROOT / "README.md"]
    assert len(readme.splitlines()) <= LONGEST_README_LINES
    for page in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{page.name})" in readme, page.name


def snippet(name: str) -> str:
    [code] = re.findall(rf"```python\n(# {name}\n.*?)```", TEXT, flags=re.DOTALL)
    return str(code)


def test_your_own_data_and_model_as_written(
    bsscale: Callable[..., Finished], tmp_path: Path
) -> None:
    for name in ("my_data.py", "my_model.py"):
        (tmp_path / name).write_text(snippet(name))
    done = bsscale(
        "dataset=custom", "dataset._target_=my_data.load", "+dataset.rows=20000",
        "model=custom", "model._target_=my_model.Net", "+model.width=64",
        "base_lr=0.1", "gpus=8", "budget_passes=1", "tracker=none",
    )  # fmt: skip
    assert done.code == 0, done.text
    assert "budget spent" in done.out


def test_the_stream_of_lists_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_lists.py").write_text(snippet("my_lists.py"))
    monkeypatch.syspath_prepend(tmp_path)
    dataset = load_dataset({"_target_": "my_lists.load", "name": "custom", "rows": 100})
    train = dataset.train
    assert (len(dataset.validation), len(dataset.test), train.samples_per_pass) == (10, 10, 80)
    whole, part = train.read(3, 70, 250), train.read(3, 79, 81)
    assert np.array_equal(whole.categorical[9:11], part.categorical)
    assert sorted(train.read(3, 80, 160).label) == sorted(train.read(4, 0, 80).label)
    # The places after the end of a list are 0, and the others are items.
    filled = whole.categorical > 0
    assert not (filled[:, 1:] & ~filled[:, :-1]).any()
    assert 0 < filled.mean() < 1


def test_the_python_session() -> None:
    results = doctest.testfile(str(ROOT / "docs" / "schedules.md"), module_relative=False)
    assert results.attempted >= 3 and results.failed == 0
