"""report.html: one file that needs no network and no script; a script only adds comfort."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from bsscale.report.charts.figure import Figure
from bsscale.report.drawing import themed
from bsscale.report.palette import THEMES, Style

if TYPE_CHECKING:
    from bsscale.report.contents import Contents

__all__ = ["Drawn", "drawn_figures", "render", "render_page"]

_NAMES = {light: name for name, (light, _) in THEMES.items()}


@dataclass(frozen=True)
class Drawn:
    """A figure, and its drawings for a wide and for a narrow screen, in the page's colours."""

    figure: Figure
    wide: str
    narrow: str


def render_page(contents: Contents, drawings: Mapping[str, tuple[str, str]]) -> str:
    """The page as one HTML file; all that it shows is escaped.

    Parameters
    ----------
    contents
        What to show.
    drawings
        The SVG of each figure, wide and narrow, by its name.
    """
    drawn = drawn_figures(contents.figures, drawings)
    return render("page.html.j2", contents=contents, drawn=drawn)


def drawn_figures(
    figures: Sequence[Figure], drawings: Mapping[str, tuple[str, str]]
) -> list[Drawn]:
    """The figures that a page shows, with their drawings."""
    return [
        Drawn(
            figure,
            *(themed(svg, f"{'wn'[n]}{number}") for n, svg in enumerate(drawings[figure.name])),
        )
        for number, figure in enumerate(figures)
        if figure.on_page
    ]


def render(name: str, **values: Any) -> str:
    """A page from a template, in the report's style and with its script."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files("bsscale.report")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda each: folder.joinpath(each).read_text(encoding="utf-8")),
    )
    environment.filters |= {"variable": _variable, "dashes": _dashes}
    script = folder.joinpath("page.js").read_text(encoding="utf-8")
    style = folder.joinpath("page.css").read_text(encoding="utf-8")
    return environment.get_template(name).render(
        **values,
        style=_theme() + style,
        script=script,
        # Nothing is loaded from anywhere, and no script runs but the page's own.
        policy="default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        f"form-action 'none'; script-src {_hash(script)}",
    )


def _theme() -> str:
    """The palette as variables of the style sheet: light, and dark on a screen that asks for it."""
    light, dark = (
        "".join(f"--{name}:{pair[number]};" for name, pair in THEMES.items()) for number in (0, 1)
    )
    asked = "screen and (prefers-color-scheme:dark)"
    return f":root{{{light}}}\n@media {asked}{{:root{{{dark}}}}}\n"


def _variable(style: Style) -> str:
    return f"var(--{_NAMES[style.color]})"


def _dashes(style: Style) -> str:
    return " ".join(map(str, style.dash))


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
