"""The report's page in a browser: self-contained, on a phone, dark, printed, without scripts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bsscale.report.write import write_report
from tests.report_records import write_run_of, write_stairs, write_study

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> {{ 7 * 7 }} ${x}"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here"),
    # Playwright's own loop, in the thread that pytest runs in.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A study beside a sweep of stair counts; and runs of a hostile name."""
    folder = tmp_path_factory.mktemp("report")
    study, stairs = write_study(folder / "study"), write_stairs(folder / "stairs")
    write_report([study, stairs], folder / "out")
    for seed in range(2):
        write_run_of(folder / "hostile" / str(seed), HOSTILE, seed, 100_000.0, gpus=1)
        other = folder / "hostile" / f"other{seed}"
        write_run_of(other, f"'\" {HOSTILE}", seed, None, status="diverged")
    write_study(folder / "named", seeds=[0], name=HOSTILE, deviations=[HOSTILE], commands=[HOSTILE])
    write_report([folder / "hostile", folder / "named"], folder / "hostile-out")
    return {"study": folder / "out/report.html", "hostile": folder / "hostile-out/report.html"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Shown:
    """An open page, and what it did meanwhile."""

    page: Any
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def shown(
    browser: Any, path: Path, width: int = 1200, scheme: str = "light", scripts: bool = True
) -> Shown:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True,
        java_script_enabled=scripts,
    )  # fmt: skip
    made = Shown(context.new_page())
    made.page.on("console", lambda message: made.console.append(message.text))
    made.page.on("pageerror", lambda error: made.console.append(str(error)))
    made.page.on("dialog", lambda dialog: made.console.append("dialog") or dialog.dismiss())
    made.page.on("request", lambda request: made.requests.append(request.url))
    made.page.goto(path.as_uri())
    return made


@pytest.mark.parametrize("which", ["study", "hostile"])
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no_scripts"])
def test_it_is_whole_without_a_request_an_error_or_a_script(
    browser: Any, pages: dict[str, Path], which: str, scripts: bool
) -> None:
    made = shown(browser, pages[which], scripts=scripts)
    assert made.console == []
    assert made.requests == [pages[which].as_uri()]
    assert pages[which].stat().st_size < 2_000_000
    drawn = made.page.locator("figure .wide > svg")
    assert drawn.count() == made.page.locator("figure").count() >= 5
    assert all(drawn.nth(n).is_visible() for n in range(drawn.count()))
    assert not made.page.locator("figure .narrow > svg").first.is_visible()
    made.page.context.close()


def test_what_is_read_is_shown_and_not_run(browser: Any, pages: dict[str, Path]) -> None:
    made = shown(browser, pages["hostile"])
    assert made.page.locator("img").count() == 0
    assert made.page.locator("script").count() == 1
    text = made.page.inner_text("main")
    assert "<script>alert(1)</script>" in text and "{{ 7 * 7 }}" in text
    made.page.context.close()


def test_ids_are_unique_and_clips_have_theirs(browser: Any, pages: dict[str, Path]) -> None:
    page = shown(browser, pages["study"]).page
    ids = page.eval_on_selector_all("[id]", "all => all.map(each => each.id)")
    assert len(ids) == len(set(ids))
    clips = page.eval_on_selector_all(
        "[clip-path]", "all => all.map(each => each.getAttribute('clip-path').slice(5, -1))"
    )
    assert clips and set(clips) <= set(ids)
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1200])
def test_it_fits_and_is_accessible(
    browser: Any, pages: dict[str, Path], width: int, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    # The longest words are in the hostile one.
    for path in pages.values() if (width, scheme) == (320, "light") else [pages["study"]]:
        made = shown(browser, path, width, scheme)
        page = made.page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        right = "all => Math.max(...all.map(each => each.getBoundingClientRect().right))"
        assert page.eval_on_selector_all(".image svg, figure, pre, p, summary", right) <= width
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = Axe().run(page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []
        assert not made.console
        page.context.close()


def test_no_word_of_a_figure_is_cut_off(browser: Any, pages: dict[str, Path]) -> None:
    outside = """all => all.flatMap(svg => {
      const box = svg.getBoundingClientRect();
      return [...svg.querySelectorAll("text")].filter(text => {
        const own = text.getBoundingClientRect();
        return own.width && (own.left < box.left - 1 || own.right > box.right + 1
          || own.top < box.top - 1 || own.bottom > box.bottom + 1);
      }).map(text => text.textContent);
    })"""
    for width, size in ((1200, "wide"), (390, "narrow")):
        page = shown(browser, pages["study"], width).page
        assert page.eval_on_selector_all(f"figure .{size} > svg", outside) == []
        page.context.close()


def test_all_of_it_is_reached_by_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    page = shown(browser, pages["study"]).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    wanted = page.locator("main summary, main button, main a, main .scroll:visible").count()
    reached = set()
    for _ in range(3 * wanted):
        page.keyboard.press("Tab")
        here = page.evaluate(
            "(() => { const e = document.activeElement; if (e === document.body) return '';"
            "const s = getComputedStyle(e); return e.tagName + [...document.querySelectorAll('*')]"
            ".indexOf(e) + (s.outlineStyle === 'none' ? ' unseen' : ''); })()"
        )
        if not here or here in reached:
            break
        reached.add(here)
    assert len(reached) == wanted
    assert not [each for each in reached if each.endswith("unseen")]
    page.context.close()


def test_a_details_opens_and_a_key_brings_out_its_arm_by_keyboard(
    browser: Any, pages: dict[str, Path]
) -> None:
    page = shown(browser, pages["study"]).page
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    assert page.locator("details table").first.is_visible()
    key = page.locator(".keys button").first
    key.focus()
    page.keyboard.press("Enter")
    assert key.get_attribute("aria-pressed") == "true"
    faint = page.eval_on_selector_all(".faint", "all => all.map(each => each.dataset.arm)")
    assert faint and key.inner_text() not in faint
    page.keyboard.press("Enter")
    assert page.locator(".faint").count() == 0
    page.context.close()


def test_a_figure_is_an_image_with_words_and_a_table(browser: Any, pages: dict[str, Path]) -> None:
    page = shown(browser, pages["study"]).page
    figures = page.locator("figure").count()
    assert figures == page.locator("figure [role=img] > .wide").count()
    assert figures == page.locator("figure + details table").count()
    read = "all => all.map(each => each.getAttribute('aria-label'))"
    labels = page.eval_on_selector_all("figure [role=img]", read)
    assert all(len(label) > 40 for label in labels)
    page.context.close()


def test_print_is_dark_on_white_and_shows_what_is_folded(
    browser: Any, pages: dict[str, Path]
) -> None:
    page = shown(browser, pages["study"], width=600, scheme="dark", scripts=False).page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()
    assert page.locator("figure .wide > svg").first.is_visible()
    assert page.locator("details.data").first.is_hidden()
    page.set_viewport_size({"width": 718, "height": 1000})  # (A4 without its margins)
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    text = page.locator("details:not(.data) table").first.inner_text()
    assert page.locator("details:not(.data) table").first.is_visible(), text
    page.context.close()
