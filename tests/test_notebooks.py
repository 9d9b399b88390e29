"""Notebooks are pairs of .ipynb and .py that say the same; .ci/run executes them with nbmake."""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = sorted({path.stem for path in FOLDER.iterdir() if path.suffix in (".ipynb", ".py")})
# GitHub shows it at once, and a diff stays readable.
LARGEST_BYTES = 150_000


def test_there_is_one_for_each_way_in() -> None:
    assert NAMES == [
        "first_study", "reading_records", "your_own_model_and_data", "your_own_script"
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_pair_agrees(name: str) -> None:
    script = jupytext.read(FOLDER / f"{name}.py")
    notebook = jupytext.read(FOLDER / f"{name}.ipynb")
    assert script.metadata["jupytext"]["formats"] == "ipynb,py:percent"
    cells = [[(cell.cell_type, cell.source) for cell in each.cells] for each in (script, notebook)]
    assert cells[0] == cells[1], f"jupytext --sync notebooks/{name}.py, then execute it"


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_small_and_of_one_clean_execution(name: str) -> None:
    path = FOLDER / f"{name}.ipynb"
    assert path.stat().st_size < LARGEST_BYTES
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [each for each in outputs if each.output_type == "error"]
    assert not [each for each in outputs if each.get("name") == "stderr"]
    assert [each for each in outputs if "image/svg+xml" in each.get("data", {})]
    assert "/tmp/" not in path.read_text(encoding="utf-8")
