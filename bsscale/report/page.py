"""report.html: one file that needs no network, with every figure drawn in the browser."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from bsscale.report.charts.figure import Figure
from bsscale.report.figures import DASHES, GREY, PALETTE

if TYPE_CHECKING:
    from bsscale.report.contents import Contents

__all__ = ["render_page"]

# Colours are the style sheet's, so that dark, light and print need no second drawing.
_THEME = {GREY: "var(--muted)", **{c: f"var(--c{n})" for n, c in enumerate(PALETTE, start=1)}}
_AXIS = {
    "labelColor": "var(--muted)",
    "titleColor": "var(--text)",
    "gridColor": "var(--grid)",
    "domainColor": "var(--muted)",
    "tickColor": "var(--muted)",
    "labelFontSize": 12,
    "titleFontSize": 13,
    "titleFontWeight": 500,
}
_CONFIG: dict[str, Any] = {
    "aria": False,  # each figure is one image with a text, and its data are a table beside it
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "axis": _AXIS,
    "legend": {
        "labelColor": "var(--text)",
        "titleColor": "var(--text)",
        "labelFontSize": 12,
        "layout": {"bottom": {"direction": "vertical", "anchor": "start"}},
    },
    "text": {"color": "var(--text)", "fontSize": 12},
    "view": {"stroke": None},
}


def render_page(contents: Contents) -> str:
    """The page as one HTML file; all that it shows is escaped.

    Parameters
    ----------
    contents
        What to show.
    """
    from jinja2 import Environment, StrictUndefined

    folder = files("bsscale.report")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(folder.joinpath("page.html.j2").read_text(encoding="utf-8"))
    bundle = _bundle() if contents.figures else ""
    script = folder.joinpath("page.js").read_text(encoding="utf-8")
    return template.render(
        contents=contents,
        keys=[
            (f"var(--c{n % len(PALETTE) + 1})", " ".join(map(str, DASHES[n % len(DASHES)])))
            for n in range(max((len(figure.keys) for figure in contents.figures), default=0))
        ],
        specs={figure.name: _specification(figure) for figure in contents.figures},
        config=_CONFIG,
        style=folder.joinpath("page.css").read_text(encoding="utf-8"),
        bundle=bundle,
        script=script,
        # Nothing is loaded from anywhere, and no script runs but these two. Vega compiles its
        # expressions, which come from this package and never from a record.
        policy="default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        f"form-action 'none'; script-src 'unsafe-eval' {_hash(bundle)} {_hash(script)}",
    )


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, from vl-convert; it takes two seconds."""
    import altair as alt
    from vl_convert import javascript_bundle

    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    bundle: str = javascript_bundle(vl_version=version)  # type: ignore[call-arg]
    return bundle


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _specification(figure: Figure) -> dict[str, Any]:
    specification = figure.chart.properties(width="container").to_dict()
    # As wide as its place, legend and labels included.
    specification |= {"autosize": {"type": "fit-x", "contains": "padding"}, "config": {}}
    return {
        key: value if key in ("data", "datasets") else _themed(value)
        for key, value in specification.items()
    }


def _themed(value: Any) -> Any:
    """A chart with the colours of the style sheet, and without the legend of arms.

    The page has its own legend.
    """
    if isinstance(value, dict):
        themed = {key: each if key == "data" else _themed(each) for key, each in value.items()}
        if value.get("field") == "arm" and "legend" in value:
            themed["legend"] = None
        return themed
    if isinstance(value, list):
        return [_themed(each) for each in value]
    return _THEME.get(value, value) if isinstance(value, str) else value
