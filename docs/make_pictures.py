"""The pictures of README.md and of docs/dashboards.md.

    pip install -c constraints.txt -e '.[dev]'
    python docs/make_pictures.py study DIRECTORY   # of `task=study experiment=quick gpus=8`
    python docs/make_pictures.py                   # trains a multirun first (two minutes)

The first draws README's forest plot, docs/figures/forest.svg, from the records of a study, and
prints README's sentences and table. The second writes docs/figures/leet.svg, what `wandb leet`
shows in a terminal (it is run in a pseudo-terminal, its screen is read by pyte and drawn by rich),
and docs/figures/report_page.png, bsscale's own report in Chromium or Chrome.
"""

from __future__ import annotations

import fcntl
import io
import itertools
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

FIGURES = Path(__file__).with_name("figures")
MULTIRUN = ["-m", "schedule=fixed,linear_scaling,onecycle", "gpus=8", "seed=0,1,2,3,4,5"]
COLUMNS, ROWS = 120, 36
DOWN = "\x1b[B"
# The comparison, selected at first, off; then a run of each schedule on; and fewer metrics.
KEYS = [" ", DOWN, " ", *[DOWN] * 6, " ", *[DOWN] * 6, " ", "]", "/", *"auc|loss|lr|momentum", "\r"]
# What differs from machine to machine and from run to run, and what stands in its place.
NAMES = ((re.compile(r"\d{8}_\d{6}-[0-9a-f]{6,}"), "DATE_TIME-ID"),
         (re.compile(r"/\S*/multirun/wandb"), "multirun/wandb"))  # fmt: skip
# Its answers to what a program asks a terminal: colours, cursor, kind.
ANSWERS = {
    b"\x1b]10;?": b"\x1b]10;rgb:ffff/ffff/ffff\x07",
    b"\x1b]11;?": b"\x1b]11;rgb:0000/0000/0000\x07",
    b"\x1b[6n": b"\x1b[1;1R",
    b"\x1b[c": b"\x1b[?62;c",
}


def main() -> None:
    """Draw what the command line asks for."""
    match sys.argv[1:]:
        case ["study", directory]:
            picture_of_study(Path(directory))
        case []:
            pictures_of_dashboards()
        case _:
            sys.exit(__doc__)


def picture_of_study(directory: Path) -> None:
    """README's forest plot, sentences and table."""
    from bsscale.report.answer import answers
    from bsscale.report.charts.forest import forest_figure
    from bsscale.report.drawing import WIDE, svg, white
    from bsscale.report.read import find
    from bsscale.report.summarize import summarize
    from bsscale.report.tables import arms_table

    found = find([directory])
    comparison = summarize(found)
    figure = forest_figure(comparison)
    if figure is None:
        sys.exit(f"{directory} holds no study with a baseline")
    (FIGURES / "forest.svg").write_text(white(svg(figure.draw(WIDE))), encoding="utf-8")
    for answer in answers(comparison, found):
        print(f"{answer.text}\n")
    print(arms_table(comparison).markdown())
    print(f"\n![{figure.text}](docs/figures/forest.svg)")


def pictures_of_dashboards() -> None:
    """Train, and draw both."""
    with tempfile.TemporaryDirectory() as name:
        runs, report = Path(name) / "multirun", Path(name) / "report"
        bsscale(*MULTIRUN, f"hydra.sweep.dir={runs}")
        bsscale("task=report", f"task.runs={runs}", f"task.out={report}", f"hydra.run.dir={name}/o")
        screen = leet(runs / "wandb")
        draw(screen, FIGURES / "leet.svg")
        photograph(report / "report.html", FIGURES / "report_page.png")


def bsscale(*arguments: str) -> None:
    """Run it."""
    subprocess.run([sys.executable, "-m", "bsscale", *arguments], check=True)


def leet(directory: Path) -> pyte.Screen:
    """The screen of ``wandb leet`` with the runs in `directory` shown."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    offline = {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false"}
    program = subprocess.Popen(
        [str(Path(sys.executable).with_name("wandb")), "leet", str(directory)],
        stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
        env={**os.environ, **offline, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
    )  # fmt: skip
    os.close(inside)

    def read(for_s: float) -> None:
        end = time.monotonic() + for_s
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                shown = os.read(terminal, 65536)
                for asked, answer in ANSWERS.items():
                    if asked in shown:
                        os.write(terminal, answer)
                stream.feed(shown)

    read(6)
    for key in KEYS:
        os.write(terminal, key.encode())
        read(0.3)
    read(2)
    program.terminate()
    program.wait()
    os.close(terminal)
    return screen


def draw(screen: pyte.Screen, path: Path) -> None:
    """A screen as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for row in range(ROWS):
        cells = [screen.buffer[row][column] for column in range(COLUMNS)]
        line = Text(no_wrap=True)
        for alike, group in itertools.groupby(cells, style):
            text = "".join(cell.data for cell in group)
            for pattern, name in NAMES:
                text = pattern.sub(lambda found: name.ljust(len(found[0])), text)  # noqa: B023
            line.append(text, alike)
        console.print(line, overflow="crop")
    console.save_svg(str(path), title="wandb leet")


def style(cell: pyte.screens.Char) -> str:
    """A cell's attributes as rich writes them."""

    def colour(name: str) -> str:
        if len(name) == 6 and all(each in "0123456789abcdef" for each in name):
            return f"#{name}"
        bright = name.startswith("bright")
        name = name.removeprefix("bright").replace("brown", "yellow")
        return name if name == "default" else f"bright_{name}" if bright else name

    words = ["bold"] * cell.bold + ["reverse"] * cell.reverse
    return " ".join([*words, colour(cell.fg), "on", colour(cell.bg)])


def photograph(page: Path, path: Path) -> None:
    """The top of a page."""
    from playwright.sync_api import sync_playwright

    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1000, "height": 1000})
        opened.goto(page.as_uri())
        opened.screenshot(path=str(path))
        browser.close()


if __name__ == "__main__":
    main()
