"""The order of the rooms: a folder imports from those above it, and nothing goes in circles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import bsscale

PACKAGE = Path(bsscale.__file__).parent

# From the top down, as in ARCHITECTURE.md: a room may import from the rooms before it.
ROOMS = [
    "errors",
    "terminal",
    "files",
    "schedules",
    "objectives",
    "stats",
    "critical_batch",
    "data",
    "models",
    "optimizers",
    "config",
    "records",
    "planning",
    "engines",
    "tracking",
    "training",
    "bridge",
    "workers",
    "report",
    "study",
    "cli",
]
# They compute: no torch, Hydra, W&B, clock or global random state. What has a torch form has it in
# a file torch_form.py, which nothing in the room imports.
PURE = ["schedules", "objectives", "stats", "critical_batch"]
STANDARD_AND_NUMERIC = {"numpy", "scipy", "bsscale"}
BANNED_FROM_PURE = {"time", "random", "datetime", "omegaconf", "hydra", "torch", "wandb", "yaml"}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """What a file imports, and whether it does so for annotations only."""
    tree = ast.parse(path.read_text())
    for_types = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            modules_ = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in modules_]
        for name in names:
            yield name, node in for_types


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_the_package_holds_rooms_and_nothing_else() -> None:
    ignored = {"__pycache__", "conf", "sweeps"}  # (the last two travel in the wheel)
    held = {path.name for path in PACKAGE.iterdir()} - ignored
    files = {"__init__.py", "__main__.py", "errors.py", "py.typed"}
    assert held == files | {name for name in ROOMS if name != "errors"}


@pytest.mark.parametrize("module", [name for name in MODULES if room(name) in ROOMS])
def test_a_room_imports_from_the_rooms_above_it(module: str) -> None:
    allowed = set(ROOMS[: ROOMS.index(room(module)) + 1])
    own = {name for name, _ in imports(MODULES[module]) if name.startswith("bsscale.")}
    assert {name for name in own if room(name) not in allowed} == set()


def test_no_circles_between_files() -> None:
    graph = {
        module: {name for name, _ in imports(path) if name in MODULES and name != module}
        for module, path in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("module", [name for name in MODULES if room(name) in PURE])
def test_pure_rooms_compute_and_nothing_else(module: str) -> None:
    used = {name.split(".")[0] for name, for_types in imports(MODULES[module]) if not for_types}
    if module.endswith(".torch_form"):
        used.discard("torch")
    assert used & BANNED_FROM_PURE == set()
    own = {name for name, _ in imports(MODULES[module])}
    assert not any(name.endswith(".torch_form") for name in own)


@pytest.mark.parametrize("module", [name for name in MODULES if room(name) != "cli"])
def test_only_the_command_line_knows_hydra(module: str) -> None:
    # What a `_target_` names is found and called by Hydra's own functions, where it is used.
    used = {name for name, _ in imports(MODULES[module]) if name.split(".")[0] == "hydra"}
    assert used <= {"hydra", "hydra.utils", "hydra.errors"}
    if used:
        assert room(module) in ("data", "models")
