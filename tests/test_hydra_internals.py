"""What bsscale imports of Hydra that is not public: a new such import must be named here."""

from __future__ import annotations

import ast
from pathlib import Path

import bsscale

PACKAGE = Path(bsscale.__file__).parent
TESTS = Path(__file__).parent

PRIVATE = {
    "bsscale/cli/hydra_internals.py": {
        # A study's launcher has the callbacks that Hydra gives to the launcher of a sweep.
        "hydra._internal.callbacks.Callbacks",
        # Hydra's loader copies all that it knows for each job of a sweep; ours derives from it.
        "hydra._internal.config_loader_impl",
        # bsscale reads the flags of the command line before Hydra does, and reports the errors
        # that Hydra would report.
        "hydra._internal.utils",
    },
}


def private_imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, *others = name.split(".")
            private = first == "hydra" and any(part.startswith("_") for part in others)
            # Plugins of Hydra's have no public modules.
            if private or first == "hydra_plugins":
                found.add(name)
    return found


def test_private_modules_of_hydra_are_imported_in_one_place() -> None:
    files = [*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py")]
    found = {
        str(path.relative_to(PACKAGE.parent)): names
        for path in files
        if (names := private_imports(path))
    }
    assert found == PRIVATE
