"""The tasks are objects: what differs between them is theirs, and nothing asks for their names."""

from __future__ import annotations

import ast
from pathlib import Path

import bsscale
from bsscale.cli.tasks import TASKS
from bsscale.config import TaskOptions

PACKAGE = Path(bsscale.__file__).parent


def test_every_task_has_options_of_its_own_name() -> None:
    for name, task in TASKS.items():
        assert issubclass(task.options, TaskOptions)
        # (That of a run is the base class.)
        assert task.options is TaskOptions or task.options().name == name


def test_a_task_that_trains_one_run_has_no_options() -> None:
    """What a report goes by where a job has left no record."""
    one_run = {name for name, task in TASKS.items() if task.one_run}
    assert {name for name, task in TASKS.items() if task.options is TaskOptions} == one_run


def test_nothing_compares_the_name_of_a_task() -> None:
    names = {*TASKS, *(f"task={name}" for name in TASKS)}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            compared: list[ast.expr] = []
            if isinstance(node, ast.Compare):
                compared = [node.left, *node.comparators]
            elif isinstance(node, ast.MatchValue):
                compared = [node.value]
            constants = {each.value for each in compared if isinstance(each, ast.Constant)}
            assert not constants & names, f"{path.name}, line {getattr(node, 'lineno', '?')}"
