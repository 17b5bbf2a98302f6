"""Report pages in a real browser, on a desk and on a telephone: what stands on them can be read."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from toolkit.report import as_html, as_json
from toolkit.report.record import Band, Check, Curve, Distribution, Lane, Report, Table, Tick, Timeline, Verdict

GOLDEN = Path(__file__).parents[1] / "golden" / "reports" / "report.json"
FILE = "20250727000000_supabase_realtime_migration.sql"
TABLE = "public.generated_articles_state"


def crowded() -> Report:
    """A page with everything that was ever hard to read on one: narrow columns, long names, many checks and samples."""
    dice = random.Random(1)  # the same page each time
    locks = Table(
        "Locks by statement",
        ("", "line", "statement", "strongest new lock", "on", "stops", "held, ms", "work that grows"),
        tuple(
            (
                way,
                f"{FILE}:{line}",
                f"alter table {TABLE} add column c{line}",
                "SHARE ROW EXCLUSIVE",
                TABLE,
                "writers",
                f"{line / 10}",
                f"validates {TABLE}",
            )
            for way in ("up", "down")
            for line in (20, 832)
        ),
        "locks",
    )
    stall = f"up: 45 ms behind {FILE}:839 (alter table {TABLE} add column realtime_channel text), ACCESS EXCLUSIVE"
    timeline = Timeline(
        "Readers and writers",
        (
            Lane("statements", tuple(Tick(n / 9, FILE) for n in range(20))),
            Lane("a subscriber of user_0 with a name that is far too long", ()),
        ),
        (Band(0.2, 1.4, "up", "plain"), *(Band(n / 2, n / 2 + 0.1, stall) for n in range(5))),
        tuple(
            Curve("reader waited", "ms", tuple((n / 10, dice.random() * 50) for n in range(25)), series)
            for series in ("the legacy WebSocket", "Realtime")
        ),
        "locks",
    )
    samples = tuple(
        Distribution(
            f"{figure}: what it is", "ms", tuple(dice.lognormvariate(4, 1) for _ in range(200)), "locks", series
        )
        for figure in ("start", "event delivery")
        for series in ("the legacy WebSocket", "Realtime")
    )
    checks = tuple(
        Check(
            f"c{n}",
            f"A claim about {TABLE}",
            Verdict.FAIL if n == 70 else Verdict.PASS,
            FILE,
            "Do it.",
            f"group {n % 3}",
        )
        for n in range(90)
    )
    golden = as_json.load(GOLDEN.read_bytes(), source=str(GOLDEN))
    return replace(golden, checks=checks, tables=(locks,), timelines=(timeline,), distributions=samples, name="crowded")


PAGES = {"golden": lambda: as_json.load(GOLDEN.read_bytes(), source=str(GOLDEN)), "crowded": crowded}


@pytest.fixture(params=[(1280, 900), (400, 800)], ids=["desk", "telephone"])
async def page(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Page]:
    width, height = request.param
    opened = await browser.new_page(viewport={"width": width, "height": height})
    opened.set_default_timeout(15_000)
    try:
        yield opened
    finally:
        await opened.close()


async def shown(page: Page, name: str, tmp_path: Path) -> Page:
    (tmp_path / "report.html").write_text(as_html.render(PAGES[name]()))
    await page.goto((tmp_path / "report.html").as_uri())
    return page


@pytest.mark.parametrize("name", PAGES)
async def test_nothing_hangs_over_the_edge_of_the_page(page: Page, name: str, tmp_path: Path) -> None:
    await shown(page, name, tmp_path)
    over = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert over <= 0, f"the page is {over} pixels wider than its window: wide parts scroll by themselves"


# On a telephone a picture is wider than the screen, or nothing on it could be read.
@pytest.mark.parametrize("page", [(1280, 900)], indirect=True, ids=["desk"])
@pytest.mark.parametrize("name", PAGES)
async def test_a_picture_does_not_scroll_where_there_is_room(page: Page, name: str, tmp_path: Path) -> None:
    await shown(page, name, tmp_path)
    over = "[...document.querySelectorAll('.wide:has(> svg)')].map(one => one.scrollWidth - one.clientWidth)"
    assert [pixels for pixels in await page.evaluate(over) if pixels > 0] == []


@pytest.mark.parametrize("name", PAGES)
async def test_no_cell_is_broken_letter_by_letter(page: Page, name: str, tmp_path: Path) -> None:
    await shown(page, name, tmp_path)
    assert await page.evaluate(BROKEN_CELLS) == []


async def test_a_cell_that_is_broken_letter_by_letter_is_seen(page: Page) -> None:
    await page.set_content(
        "<style>td { overflow-wrap: anywhere }</style><table style='width: 120px'><tr><td>down</td><td>"
        + "a_long_name_without_any_place_to_break_it" * 3
        + "</td></tr></table>"
    )
    assert await page.evaluate(BROKEN_CELLS) == ["down"]


# A cell of one word that stands on more lines than one has lost its column's width to its neighbours.
BROKEN_CELLS = """
[...document.querySelectorAll('td')].filter(cell => {
  const word = cell.textContent.trim();
  if (!word || word.length > 24 || /\\s/.test(word) || !cell.getClientRects().length) return false;
  const range = document.createRange();
  range.selectNodeContents(cell);
  return new Set([...range.getClientRects()].map(line => Math.round(line.top))).size > 1;
}).map(cell => cell.textContent.trim())
"""


@pytest.mark.parametrize("name", PAGES)
async def test_the_text_of_pictures_can_be_read_and_is_not_cut(page: Page, name: str, tmp_path: Path) -> None:
    await shown(page, name, tmp_path)
    tiny, cut = await page.evaluate(
        """(() => {
          const tiny = [], cut = [];
          for (const text of document.querySelectorAll('svg text')) {
            const svg = text.ownerSVGElement, scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
            if (parseFloat(getComputedStyle(text).fontSize) * scale < 7) tiny.push(text.textContent);
            const box = text.getBBox();
            if (box.x < 0 || box.x + box.width > svg.viewBox.baseVal.width) cut.push(text.textContent);
          }
          return [tiny, cut];
        })()"""
    )
    assert (tiny, cut) == ([], [])


async def test_what_failed_is_on_the_first_screen(page: Page, tmp_path: Path) -> None:
    await shown(page, "crowded", tmp_path)
    first = page.locator("ul.checks > li").first
    assert await first.get_attribute("id") == "c70"
    assert await first.is_visible()
    assert await page.locator("details[open]").count() == 0, "what passed is folded away where there is much of it"


async def test_a_page_asks_nobody_for_anything(page: Page, tmp_path: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await shown(page, "crowded", tmp_path)
    await page.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith("file://")] == []
    assert len(asked) == 1
