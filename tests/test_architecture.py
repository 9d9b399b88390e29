"""Imports point down only, and the pure modules stay pure."""

from __future__ import annotations

import ast
from pathlib import Path

import bsscale

PACKAGE = Path(bsscale.__file__).parent

# From the bottom up; a module may import from its own line and from the lines before it.
LAYERS = [
    ["console", "errors"],
    ["schedules", "scaling", "metrics", "stats", "divergence", "arms", "lr_range"],
    ["optimizers", "schedule_config"],
    ["checked_file", "config", "locks", "records", "signals", "world"],
    ["baselines", "checkpoints", "environment"],
    ["plan", "stacking"],
    ["resume"],
    ["data", "models", "mirror", "torch_scheduler"],
    ["tracking"],
    ["engines", "trainer", "display", "progress"],
    ["figures"],
    ["recorded_run", "report", "show_schedule"],
    ["ranks", "run"],
    ["range_test", "multirun", "dashboard"],
    ["study"],
    ["arguments", "cli", "launcher", "callbacks"],
    ["__main__"],
]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}


def modules() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if name != "__init__":
            found.setdefault(name, []).append(path)
    return found


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            if node.module == "bsscale":
                names |= {f"bsscale.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_every_module_has_a_layer() -> None:
    assert modules().keys() == LAYER.keys()


def test_imports_point_down() -> None:
    for name, paths in modules().items():
        for path in paths:
            for other in imported(path):
                if other.startswith("bsscale."):
                    below = other.split(".")[1]
                    assert LAYER[below] <= LAYER[name], f"{path.name} imports {other}"


def test_pure_modules_import_numpy_and_scipy_at_most() -> None:
    for name in LAYERS[0] + LAYERS[1]:
        for path in modules()[name]:
            tops = {other.split(".")[0] for other in imported(path)}
            assert not tops & {"torch", "hydra", "omegaconf", "wandb", "time", "random"}


def test_only_the_command_line_knows_dictconfig() -> None:
    knowing = {
        name
        for name, paths in modules().items()
        if any("DictConfig" in path.read_text().split('"""', 2)[-1] for path in paths)
    }
    assert knowing <= {"cli", "launcher", "callbacks"}
