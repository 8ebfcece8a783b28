# ruff: noqa: E501
"""The pages in a real browser: no console message, nothing wider than the screen, light and dark, filters
that work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from synthetic_run import write_synthetic_run

from azr.report.html import write_comparison, write_report
from browser import Browser, BrowserError, find_browser

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    find_browser() is None, reason="no Chromium on this machine; apt install chromium"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        opened = Browser()
        opened.call("Browser.getVersion", {})
    except BrowserError as error:
        pytest.skip(f"Chromium does not start here: {error}")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    runs = [write_synthetic_run(folder / f"run{seed}", steps=120, seed=seed).root for seed in range(2)]
    (folder / "empty").mkdir()
    return {
        "report": write_report(runs[0]),
        "transcripts": runs[0] / "transcripts.html",
        "comparison": write_comparison(runs, folder / "comparison.html"),
        "empty": write_report(folder / "empty"),
    }


@pytest.mark.parametrize("name", ["report", "transcripts", "comparison", "empty"])
@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, False), (1280, True)])
def test_readable_and_silent(
    browser: Browser, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    page = browser.open(pages[name], width=width, dark=dark)
    assert page.errors == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.title") != "pwned"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in background.removeprefix("rgb(").removesuffix(")").split(",")) / 3
    assert (brightness < 60) == dark
    if name != "empty":
        smallest = page.evaluate(
            "Math.min(...[...document.querySelectorAll('p, li, td, .tick, summary')].filter(e => e.getBoundingClientRect().height)"
            ".map(e => parseFloat(getComputedStyle(e).fontSize) * (e.ownerSVGElement ? e.ownerSVGElement.getBoundingClientRect().width"
            " / e.ownerSVGElement.viewBox.baseVal.width : 1)))"
        )
        assert smallest >= 9, "text in pixels"


def test_contrast_of_text(browser: Browser, pages: dict[str, Path]) -> None:
    """WCAG AA: 4.5 to 1 for text, muted text included."""
    script = """(() => {
      const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255).map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
        return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
      const under = e => { for (; e; e = e.parentElement) { const b = getComputedStyle(e).backgroundColor; if (!/, 0\\)|transparent/.test(b)) return b; } };
      return Math.min(...[...document.querySelectorAll('p, li, td, th, dt, dd, h1, h2, h3, .pill, nav a, .headline')].map(e => {
        const a = light(getComputedStyle(e).color), b = light(under(e)); return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); }));
    })()"""
    for dark in (False, True):
        assert browser.open(pages["report"], dark=dark).evaluate(script) >= 4.5


def test_values_under_the_pointer(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.open(pages["report"])
    page.evaluate(
        "document.querySelector('svg[data-chart]').scrollIntoView({block: 'center', behavior: 'instant'})"
    )
    box = page.evaluate(
        "(() => { const b = document.querySelector('svg[data-chart]').getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
    )
    page.move_pointer(box[0] + box[2] * 0.6, box[1] + box[3] * 0.5)
    tip = page.evaluate(
        "document.querySelector('.tip').style.display === 'block' ? document.querySelector('.tip').innerText : ''"
    )
    assert "step" in tip and "%" in tip
    assert page.errors == []


def test_transcript_filters(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.open(pages["transcripts"])
    shown = "document.querySelectorAll('details.t:not([hidden])').length"
    total = page.evaluate(shown)
    assert total > 10
    select = "(() => { const s = document.querySelector('select[data-key=role]'); s.value = 'solve'; s.dispatchEvent(new Event('change', {bubbles: true})); })()"
    page.evaluate(select)
    solves = page.evaluate(shown)
    assert 0 < solves < total
    assert page.evaluate(
        "[...document.querySelectorAll('details.t:not([hidden])')].every(e => e.dataset.role === 'solve')"
    )
    page.evaluate(
        "(() => { const s = document.getElementById('search'); s.value = 'no such text'; s.dispatchEvent(new Event('input')); })()"
    )
    assert page.evaluate(shown) == 0 and not page.evaluate("document.getElementById('none').hidden")
    assert page.errors == []


def test_the_pictures_of_the_documentation_can_be_made_again(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=40)
    script = ROOT / "scripts" / "dev" / "make_screenshots.py"
    command = [sys.executable, str(script), str(run.root), "--output", str(tmp_path / "pictures")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (tmp_path / "pictures").iterdir()}
    shipped = {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
    assert made == shipped and not (run.root / "report.html").exists(), "the run itself is left as it is"
    svg = (tmp_path / "pictures" / "watch.svg").read_text(encoding="utf-8")
    assert "@font-face" not in svg and "url(http" not in svg, "the picture fetches nothing"


def test_the_shipped_pictures_are_small() -> None:
    for path in (ROOT / "docs" / "pictures").iterdir():
        assert path.stat().st_size < 300_000, path.name


def test_a_missing_page_is_not_taken_for_a_picture(browser: Browser, tmp_path: Path) -> None:
    with pytest.raises(BrowserError, match=r"missing\.html is not a file"):
        browser.open(tmp_path / "missing.html")
