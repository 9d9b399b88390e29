"""From a chart to files, and to SVG inside a page; no browser is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from xml.etree import ElementTree

from bsscale.files.replace import replace_text, replaced
from bsscale.report.palette import GRID, INK, MUTED, PAPER, THEMES

if TYPE_CHECKING:
    import altair as alt

__all__ = ["NARROW", "WIDE", "Draw", "Size", "save", "svg", "themed", "white"]

SVG = "http://www.w3.org/2000/svg"
# Metrics of Arial: what is measured here is as wide in a reader's browser.
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
_AXIS = {
    "labelColor": MUTED,
    "titleColor": INK,
    "gridColor": GRID,
    "domainColor": MUTED,
    "tickColor": MUTED,
    "labelFontSize": 12,
    "titleFontSize": 13,
    "titleFontWeight": "normal",
    "labelLimit": 0,
    "titleLimit": 0,
}
_LEGEND = {
    "labelColor": INK,
    "titleColor": INK,
    "labelFontSize": 12,
    "labelLimit": 0,
    "orient": "bottom",
    "direction": "vertical",
}
_CONFIG: dict[str, Any] = {
    "background": None,
    "font": FONT,
    "axis": _AXIS,
    "axisY": {"minExtent": 38, "titleAlign": "center"},
    "legend": _LEGEND,
    "text": {"color": INK, "fontSize": 12},
    "title": {"color": INK, "fontSize": 13},
    "view": {"stroke": None},
}
# In the page, colours are variables of its style sheet: dark, light and print need one drawing.
_VARIABLES = {light: f"var(--{name})" for name, (light, _) in THEMES.items()}


@dataclass(frozen=True)
class Size:
    """How wide a figure is drawn.

    Attributes
    ----------
    plot
        Width within the axes, in pixels.
    wide
        Whether there is room for names at the ends of curves, and for numbers beside a plot.
    """

    plot: int
    wide: bool


WIDE, NARROW = Size(600, wide=True), Size(265, wide=False)
Draw: TypeAlias = "Callable[[Size], alt.TopLevelMixin]"


def svg(chart: alt.TopLevelMixin) -> str:
    """A chart as SVG, dark on a transparent background."""
    import altair as alt
    import vl_convert

    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    text: str = vl_convert.vegalite_to_svg(
        {**chart.to_dict(), "background": None, "config": _CONFIG}, vl_version=version
    )
    return text


def save(drawn: str, stem: Path) -> list[Path]:
    """Write what `svg` returned as PNG and SVG, dark on white.

    Parameters
    ----------
    drawn
        Of `svg`.
    stem
        The path without its ending.
    """
    import vl_convert

    on_white = white(drawn)
    paths = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    with replaced(paths[0]) as new:
        new.write_bytes(vl_convert.svg_to_png(on_white, scale=2))
    replace_text(paths[1], on_white)
    return paths


def white(drawn: str) -> str:
    """What `svg` returned, on a white background."""
    start = drawn.index(">") + 1
    return f'{drawn[:start]}<rect width="100%" height="100%" fill="{PAPER}"/>{drawn[start:]}'


def themed(drawn: str, prefix: str) -> str:
    """What `svg` returned as an element of a page, in the colours of the page's style sheet.

    What a mark says for a screen reader becomes its title, which a browser shows beside the mouse;
    ``data-arm`` names its arm.

    Parameters
    ----------
    drawn
        Of `svg`.
    prefix
        Begins the ids in the drawing, which are unique in a page.
    """
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(drawn)
    for element in list(root.iter()):
        _theme(element, prefix)
    root.set("aria-hidden", "true")  # (the figure around it has a text)
    root.set("focusable", "false")
    return ElementTree.tostring(root, encoding="unicode")


def _theme(element: ElementTree.Element, prefix: str) -> None:
    for key in ("fill", "stroke"):
        value = element.get(key, "")
        if value.lower() in _VARIABLES:
            element.set(key, _VARIABLES[value.lower()])
    if (own := element.get("id")) is not None:
        element.set("id", f"{prefix}-{own}")
    for key, value in list(element.attrib.items()):
        if value.startswith("url(#"):
            element.set(key, f"url(#{prefix}-{value[5:]}")
        if key == "role" or key.startswith("aria-"):
            del element.attrib[key]
        if key == "aria-label" and element.get("class") is None:
            arm, _, rest = value.partition("\n")
            element.set("data-arm", arm)
            ElementTree.SubElement(element, f"{{{SVG}}}title").text = f"{arm}{rest and ', '}{rest}"
