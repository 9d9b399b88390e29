"""The palette: read by everybody, on every background, and the same in every figure."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bsscale.report.charts import figures
from bsscale.report.drawing import NARROW, WIDE
from bsscale.report.palette import THEMES, styles
from bsscale.report.read import find
from bsscale.report.summarize import summarize
from tests.report_records import write_run_of, write_stairs, write_study

ARMS = [name for name in THEMES if name.startswith("c")] + ["text", "muted"]
# What is drawn or written on what: text needs 4.5, marks and lines need 3 (WCAG 2.2).
WORDS = [(word, on) for word in ("text", "muted", "accent") for on in ("bg", "panel")]
MARKS = [(mark, on) for mark in ARMS for on in ("bg", "panel")]

# Machado, Oliveira and Fernandes 2009, severity 1, on linear sRGB.
SEEN = {
    "everybody": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
LMS = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
       [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
LAB = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
       [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip


def linear(color: str) -> NDArray[np.float64]:
    channels = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    a, b = (float(linear(each) @ [0.2126, 0.7152, 0.0722]) + 0.05 for each in (one, other))
    return max(a, b) / min(a, b)


def oklab(color: str, seen: Any) -> NDArray[np.float64]:
    shown = np.clip(np.array(seen) @ linear(color), 0, 1)
    made: NDArray[np.float64] = np.array(LAB) @ np.cbrt(np.array(LMS) @ shown)
    return made


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_what_touches_has_contrast(theme: int) -> None:
    colors = {name: pair[theme] for name, pair in THEMES.items()}
    found = {
        (name, on): contrast(colors[name], colors[on])
        for pairs, needed in ((WORDS, 4.5), (MARKS, 3.0))
        for name, on in pairs
        if contrast(colors[name], colors[on]) < needed
    }
    assert not found


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("who", SEEN)
def test_two_arms_are_told_apart_by_everybody(theme: int, who: str) -> None:
    least = 0.06 if who == "tritanopia" else 0.09  # (rare: one person in 10,000)
    for one, other in combinations(ARMS, 2):
        a, b = (oklab(THEMES[each][theme], SEEN[who]) for each in (one, other))
        assert float(np.linalg.norm(a - b)) >= least, (one, other)


def test_colour_dash_and_mark_are_never_all_alike() -> None:
    roles = ["baseline"] * 2 + ["control"] * 4 + [None] * 30
    made = styles((f"arm {n}", "onecycle", role) for n, role in enumerate(roles))
    assert len(set(made.values())) == len(roles)
    assert len({(each.color, each.dash) for each in made.values()}) == len(roles)


def test_a_schedule_looks_alike_in_two_reports() -> None:
    few = styles([("onecycle gpus=8", "onecycle", None)])
    many = styles([("mine", "custom", None), ("fixed", "fixed", None), ("o", "onecycle", None)])
    assert few["onecycle gpus=8"] == many["o"]
    assert len({style.color for style in many.values()}) == 3


def encoded(spec: Any, channel: str) -> list[dict[str, Any]]:
    """Each scale of a channel in a chart, from what it shows to how."""
    if isinstance(spec, list):
        return [each for part in spec for each in encoded(part, channel)]
    if not isinstance(spec, dict):
        return []
    found = [
        each for key, part in spec.items() if key != channel for each in encoded(part, channel)
    ]
    own = spec.get(channel)
    scale = own.get("scale") if isinstance(own, dict) else None
    if isinstance(scale, dict) and own.get("field") in ("arm", "shape"):
        found.append(dict(zip(scale["domain"], map(str, scale["range"]), strict=True)))
    return found


@pytest.mark.parametrize("channel", ["color", "strokeDash", "shape"])
def test_an_arm_looks_alike_in_every_figure(tmp_path: Path, channel: str) -> None:
    found = find([write_study(tmp_path / "s", seeds=[0]), write_stairs(tmp_path / "m")])
    comparison = summarize(found)
    labels = {arm.short for arm in comparison.arms}
    seen: dict[str, set[str]] = {}
    for figure in figures(comparison, found.studies, found.range_tests):
        for size in (WIDE, NARROW):
            for scale in encoded(figure.draw(size).to_dict(), channel):
                for name in labels & scale.keys():
                    seen.setdefault(name, set()).add(scale[name])
        for name in labels & figure.keys.keys():
            style = figure.keys[name]
            own = {"color": style.color, "shape": style.mark, "strokeDash": str(list(style.dash))}
            seen.setdefault(name, set()).add(own[channel])
    assert seen.keys() == labels
    assert not {name: values for name, values in seen.items() if len(values) > 1}


def test_the_lines_of_many_stair_counts_have_a_colour_each(tmp_path: Path) -> None:
    """(nine arms, and six colours)"""
    for number, (rise, fall) in enumerate(product((0, 2, 5), repeat=2)):
        counts = {"cycle_first_stair_count": rise, "cycle_second_stair_count": fall}
        arm = f"gpus=8 {' '.join(f'{name}={value}' for name, value in counts.items())}"
        write_run_of(tmp_path / str(number), arm, 0, 2e5 + rise, schedule={"name": "x", **counts})
    found = find([tmp_path])
    [figure] = [each for each in figures(summarize(found), [], []) if each.name == "stairs"]
    lines = [f"cycle_second_stair_count={fall}" for fall in (0, 2, 5)]
    assert list(figure.keys) == lines
    assert "in the colours of the lines" in figure.caption
    for scale in encoded(figure.draw(WIDE).to_dict(), "color"):
        assert list(scale) == lines and len(set(scale.values())) == 3
