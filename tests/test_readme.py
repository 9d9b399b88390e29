"""The README's commands and snippets are the truth."""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.composing import expanded, hydra, typed
from tests.conftest import Finished

__all__ = ["hydra"]

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
PAGES = [
    TEXT,
    *(path.read_text(encoding="utf-8") for path in (README.parent / "docs").glob("*.md")),
]
COMMANDS = sorted({c for page in PAGES for c in re.findall(r"python -m bsscale ([^`\n|]*)", page)})


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_composes(command: str) -> None:
    words = [word for word in shlex.split(command) if not word.startswith("-")]
    # (A seed is as good as another, and a hundred of them take a minute.)
    for overrides in expanded([word for word in words if not word.startswith("seed=")]):
        typed(*overrides)


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 10


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
    assert "exhausted" in done.out


def test_the_python_session() -> None:
    results = doctest.testfile(str(README), module_relative=False)
    assert results.attempted >= 3 and results.failed == 0
