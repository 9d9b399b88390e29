"""task=scaling from points: the files it writes, and the files it refuses."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bsscale.config.points import read_points
from bsscale.critical_batch import Point, scaling
from bsscale.errors import ConfigError
from bsscale.report.scaling.contents import ScalingContents
from bsscale.report.scaling.result import scaling_json
from bsscale.report.scaling.tables import closing_text, fits_table
from bsscale.report.scaling.words import compared, headline, verdicts
from bsscale.report.scaling.write import write_scaling
from tests.conftest import Finished
from tests.test_critical_batch import DATA, curve_of, planted, published

Bsscale = Callable[..., Finished]
KEYS = [
    "critical_batch", "critical_batch_interval", "min_samples", "min_samples_interval",
    "exponent", "identified", "reason", "points",
]  # fmt: skip


def file_of(directory: Path, text: str, name: str = "points.csv") -> str:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def read(directory: Path, text: str) -> dict[str, tuple[Point, ...]]:
    return dict(read_points("task.points", file_of(directory, text)).arms)


def test_from_a_file_to_the_page(bsscale: Bsscale, tmp_path: Path) -> None:
    points = planted(curve_of, budget=900_000)
    rows = [
        f"{p.batch},{'' if p.samples is None else p.samples},{p.seed},mine,{p.budget}"
        for p in points
    ]
    text = "\n".join(["batch,samples,seed,arm,budget", *rows[::-1], "128,,0,lost,900000"])
    file_of(tmp_path, text + "\n")
    done = bsscale("task=scaling", "task.points=points.csv", "hydra.run.dir=out")
    assert done.code == 0, done.text
    data = json.loads((tmp_path / "out" / "scaling.json").read_text())
    assert list(data) == ["arms"] and list(data["arms"]) == ["mine", "lost"]
    mine, lost = data["arms"].values()
    assert list(mine) == list(lost) == KEYS
    assert mine["identified"] is True and mine["reason"] is None
    low, high = mine["critical_batch_interval"]
    assert low < 1929 < high and low < mine["critical_batch"] < high
    low, high = mine["min_samples_interval"]
    assert low < 196_000 < high and low < mine["min_samples"] < high
    assert mine["exponent"] == pytest.approx(1, abs=0.3)
    assert len(mine["points"]) == len(points)
    assert [p["batch"] for p in mine["points"]] == sorted(p["batch"] for p in mine["points"])
    assert set(mine["points"][0]) == {"batch", "seed", "samples", "budget"}
    assert sum(p["samples"] is None for p in mine["points"]) == 4
    assert {p["budget"] for p in mine["points"]} == {900_000}
    assert lost["identified"] is False and lost["reason"].startswith("None of the 1 runs")
    assert all(lost[key] is None for key in KEYS[:5])

    page = (tmp_path / "out" / "report.html").read_text()
    assert "The critical batch of mine is" in page and "28 runs, 4 of them censored" in page
    assert "task.points=points.csv" in page
    assert "https:" not in page and "src=" not in page
    for name in ("samples_over_batch", "steps_over_batch"):
        drawn = (tmp_path / "out" / "figures" / f"{name}.png").read_bytes()
        assert drawn.startswith(b"\x89PNG")
    table = done.out.split("\n\n")[0]
    assert "missed" in table and max(map(len, table.splitlines())) <= 80
    assert "mine: The critical batch is" in done.out
    assert "lost: The critical batch is not identified." in done.out

    planned = bsscale("task=scaling", "task.points=points.csv", "dry_run=true", "hydra.run.dir=no")
    assert planned.code == 0 and "29 points of mine, lost" in planned.out
    assert not (tmp_path / "no" / "scaling.json").exists()


BAD = {
    "empty": ("", "is empty"),
    "header only": ("batch,samples\n", "names columns and holds no points"),
    "missing column": ("batch,cost\n128,5\n", "has no column samples: .*'batch,cost'"),
    "column twice": ("batch,samples,samples\n128,5,6\n", "column 'samples' twice"),
    "negative": ("batch,samples\n128,5\n256,-6\n", "line 3 has samples '-6'"),
    "zero": ("batch,samples\n0,5\n", "line 2 has batch '0'"),
    "text": ("batch,samples\n128,many\n", "line 2 has samples 'many', which is no number"),
    "infinite": ("batch,samples\n128,inf\n", "line 2 has samples 'inf'"),
    "not a number": ("batch,samples\n128,nan\n", "line 2 has samples 'nan'"),
    "seed": ("batch,samples,seed\n128,5,1.5\n", "line 2 has seed '1.5', which is no whole number"),
    "same run twice": (
        "batch,samples,seed\n128,5,0\n256,5,0\n128,6,0\n",
        "batch 128 and seed 0 twice, in the lines 2 and 4",
    ),
    "same run of an arm": (
        "batch,samples,seed,arm\n128,5,0,a\n128,5,0,b\n128,6,0,a\n",
        "arm a, batch 128 and seed 0 twice",
    ),
    "no batch": ("batch,samples\n,5\n", "line 2 has no batch"),
    "no arm": ("batch,samples,arm\n128,5,\n", "line 2 names no arm"),
    "budget": ("batch,samples,budget\n128,5,4\n", "samples 5 above its budget 4"),
    "thousands": ("batch,samples\n128,1,000\n", "line 2 has 3 values, .* names 2"),
    "quotes": ('batch,samples\n128,"5\n', "is not CSV"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name: str, tmp_path: Path) -> None:
    text, says = BAD[name]
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert re.search(says, caught.value.fact), caught.value.fact
    assert caught.value.remedy


def test_the_remedy_of_other_formats(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no column batch") as caught:
        read(tmp_path, "batch;samples\n128;5,5\n")
    assert "commas between the values" in (caught.value.remedy or "")
    path = tmp_path / "points.csv.gz"
    path.write_bytes(gzip.compress(b"batch,samples\n128,5\n"))
    with pytest.raises(ConfigError, match="is not UTF-8 text: byte 0x8b") as caught:
        read_points("task.points", str(path))
    assert "not compressed" in (caught.value.remedy or "")


def test_bad_files_end_the_command(bsscale: Bsscale, tmp_path: Path) -> None:
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    file_of(tmp_path, "batch,samples\n128,-5\n")
    for arguments, says in (
        (["task.points=points.csv"], "task.points=points.csv, line 2 has samples '-5'"),
        (["task.points=bytes.csv"], "task.points=bytes.csv is not UTF-8 text"),
        (["task.points=missing.csv"], "task.points=missing.csv cannot be read"),
        ([f"task.points={DATA / 'rcp_dlrm.csv'}", "gpus=8"], "gpus=8 does nothing"),
    ):
        done = bsscale("task=scaling", *arguments)
        assert done.code == 1 and says in done.text, done.text
        assert "Traceback" not in done.text


def test_how_a_file_is_read(tmp_path: Path) -> None:
    # Any order, spaces, empty lines, a BOM; rows without a seed are runs of their own.
    arms = read(tmp_path, "\ufeffSamples , batch,seed\n\n 5e5,256,1.0\n,128,\n,128,\n6, 128 ,-2\n")
    assert arms == {
        "all": (
            Point(256, 5e5, None, 1), Point(128, None), Point(128, None), Point(128, 6.0, None, -2),
        )
    }  # fmt: skip
    noted = read_points("p", file_of(tmp_path, "batch,samples,note,gpu\n128,5,x,1\n"))
    assert noted.notes == ("Columns that are not used: note, gpu.",)


def reference(name: str) -> dict[str, Any]:
    """A published table in the form of mlperf-logging."""
    made: dict[str, Any] = {}
    for point in published(name):
        entry = made.setdefault(
            f"{name}_ref_{point.batch:.0f}",
            {"Benchmark": name, "BS": int(point.batch), "Epochs to converge": []},
        )
        entry["Epochs to converge"].append(point.samples)
    return made


def test_reference_convergence_points(tmp_path: Path) -> None:
    made = reference("dlrmv4")
    path = file_of(tmp_path, json.dumps(made), "rcps.json")
    [(name, points)] = read_points("task.points", path).arms.items()
    assert name == "all" and len(points) == 60
    found, same = scaling(points), scaling(published("dlrmv4"))
    assert found.fit is not None and same.fit is not None
    assert found.fit.curve == same.fit.curve
    both = file_of(tmp_path, json.dumps(made | reference("dlrm")), "both.json")
    assert list(read_points("task.points", both).arms) == ["dlrmv4", "dlrm"]
    made["dlrmv4_ref_8192"]["Epochs to converge"][0] = None
    path = file_of(tmp_path, json.dumps(made), "censored.json")
    [points] = read_points("task.points", path).arms.values()
    assert points[0] == Point(8192, None)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[1]", "holds no options"),
        ("{", "is not JSON"),
        ("{}", "holds no runs"),
        ('{"a": {"BS": 8}}', "entry 'a' has no 'BS' and 'Epochs to converge'"),
        ('{"a": {"BS": -8, "Epochs to converge": [1]}}', "'BS' -8"),
        (f'{{"a": {{"BS": 1{"0" * 400}, "Epochs to converge": [1]}}}}', "'BS' 1000"),
        ('{"a": {"BS": 8, "Epochs to converge": [1, "x"]}}', "not a list of positive numbers"),
        ('{"a": {"BS": 8, "Epochs to converge": []}}', "holds no runs"),
    ],
)
def test_bad_reference_points(content: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_points("task.points", file_of(tmp_path, content, "rcps.json"))
    assert says in caught.value.fact


def test_arms_are_compared() -> None:
    far = planted(lambda batch: 150_000 * (1 + batch / 6000), noise=0.02)
    near = planted(curve_of, noise=0.02)
    arms = {"constant": scaling(near), "cycle": scaling(far), "lost": scaling([])}
    [sentence] = compared(arms)
    assert sentence.startswith("Compared with constant, cycle raises the critical batch (3.")
    assert "lowers the samples of a small batch (0.7" in sentence
    contents = ScalingContents("t", "s", arms, batch_of_gpu=128)
    assert headline(contents).startswith("The critical batch of constant is 1,9")
    said = verdicts(contents)
    assert re.search(
        r"The critical batch is 1,9\d\d \(15 GPUs\), with a 95% interval", said["constant"]
    )
    assert re.search(r"batches of 19\d \(1.5 GPUs\), 3[89]\d \(3.0 GPUs\)", said["constant"])
    assert max(map(len, closing_text(contents).splitlines())) <= 80
    assert scaling_json(arms)["arms"]["cycle"]["identified"] is True
    assert headline(ScalingContents("t", "s", {"lost": scaling([])})) == (
        "The critical batch is not identified"
    )


def test_a_page_of_arms_that_identify_nothing(tmp_path: Path) -> None:
    odd = "<b>&"
    arms = {
        odd: scaling([Point(128, 5.0), Point(256, None), Point(256, 7.0, 9.0)]),
        "unknown": scaling([Point(128, None)]),
    }
    files = write_scaling(ScalingContents("t", "s", arms), tmp_path / "out")
    page = files[1].read_text()
    assert "&lt;b&gt;&amp;" in page and odd not in page
    fitted = fits_table(ScalingContents("t", "s", arms, batch_of_gpu=128))
    more = [column for column, name in enumerate(fitted.header) if name.endswith("more at")]
    assert [[row[column] for column in more] for row in fitted.rows] == [["-"] * 3] * 2
    assert "1 of these have no budget" in page and "nothing else is known" in page
    only = ScalingContents("t", "s", {"unknown": arms["unknown"]})
    assert "There is nothing to draw" in write_scaling(only, tmp_path / "none")[1].read_text()
