"""The console as its users see it: the guide's scenarios through the page, in a real browser.

Screenshots are kept in `reports/console/`, the last run's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.support.databases import Databases
from tests.support.server_process import RunningServer, running_server, token

pytestmark = pytest.mark.xdist_group("console")

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "reports" / "console"
AXE = ROOT / "reference_server" / "console" / "node_modules" / "axe-core" / "axe.min.js"
DEADLINE_MS = 30_000
OWN_THEME = '{"title": "My own theme", "description": "What it is about", "keywords": ["tea"]}'
expect.set_options(timeout=DEADLINE_MS)


@pytest.fixture(scope="module")
async def server(databases: Databases) -> AsyncIterator[RunningServer]:
    async with (
        databases.clone("migrated") as dsn,
        running_server(dsn, env={"WRITER_STEP_LATENCY_MS": "20", "WRITER_SECTIONS": "2"}) as running,
    ):
        yield running


@asynccontextmanager
async def signed_in(browser: Browser, server: RunningServer, user: str, **options: Any) -> AsyncIterator[Page]:
    """A page of this user's own browser; whatever goes wrong in it fails the test."""
    context = await browser.new_context(locale="en-GB", **options)
    context.set_default_timeout(DEADLINE_MS)
    try:
        async with page_of(context, server, user) as page:
            yield page
    finally:
        await context.close()


@asynccontextmanager
async def page_of(context: BrowserContext, server: RunningServer, user: str, route: str = "") -> AsyncIterator[Page]:
    trouble: list[str] = []
    page = await context.new_page()
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda told: trouble.append(told.text) if "Content Security Policy" in told.text else None)
    await page.goto(f"{server.url}/console{route}")
    await page.get_by_label("Access token").fill(token(user))
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_text(f"Signed in as {user}").wait_for()
    yield page
    assert trouble == []


async def start(page: Page, keywords: str = "Tokyo") -> str:
    """The id of a process that was started through the page, which waits at its first prompt."""
    await page.get_by_label("Keywords, separated by commas").fill(keywords)
    await page.get_by_role("button", name="Start").click()
    await page.get_by_role("heading", name="Choose a reader").wait_for()
    return page.url.rsplit("/", 1)[1]


async def sequences(page: Page) -> list[int]:
    """The numbers of the events that the page shows, oldest first."""
    told = await page.get_by_test_id("events").locator("tr td:first-child").all_inner_texts()
    return [int(text) for text in reversed(told)]


async def stored(server: RunningServer, user: str, process: str) -> list[int]:
    async with server.client(user) as client:
        found = await client.get(f"/api/articles/generation/{process}/events", params={"limit": 500})
    return [row["event_sequence"] for row in found.json()]


async def serious(page: Page) -> list[str]:
    """What axe finds wrong for people who use a keyboard, a screen reader or other colours."""
    if not AXE.exists():
        pytest.skip("needs the console's Node packages; `make reference_server/console/node_modules/.ready` installs")
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']} {one['nodes'][0]['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
    ]


async def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


async def test_a_whole_generation_with_a_cut_socket(browser: Browser, server: RunningServer) -> None:
    async with signed_in(browser, server, "user_whole", viewport={"width": 400, "height": 800}) as page:
        assert await serious(page) == []
        process = await start(page)
        await expect(page.get_by_test_id("connection")).to_have_text("Connected")
        await picture(page, "at-a-prompt-400px")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 400
        assert await serious(page) == []
        await page.get_by_role("button", name="Make new proposals").click()
        await page.get_by_role("heading", name="Choose a reader").wait_for()
        await page.get_by_role("button", name="Choose: ").last.click()

        await page.get_by_role("heading", name="Choose a theme").wait_for()
        await page.set_viewport_size({"width": 1280, "height": 900})
        await page.get_by_role("button", name="Cut the connection").click()
        await page.get_by_role("button", name="Edit: ").first.click()
        await page.get_by_label("What you write here replaces the proposal (JSON).").fill(OWN_THEME)
        await page.get_by_role("button", name="Go on with this").click()

        await page.get_by_role("heading", name="Is this research plan right?").wait_for()
        await expect(page.get_by_test_id("reconnects")).to_have_text("Reconnected: 1")
        await expect(page.get_by_test_id("connection")).to_have_text("Connected")
        await picture(page, "after-a-cut-socket")
        await page.get_by_role("button", name="Approve").click()
        await page.get_by_role("heading", name="Is this outline right?").wait_for()
        await page.get_by_role("button", name="Pause").click()
        await page.get_by_role("button", name="Resume").click()
        await page.get_by_role("heading", name="Is this outline right?").wait_for()
        await page.get_by_role("button", name="Approve").click()

        await page.get_by_role("heading", name="Article", exact=True).wait_for()
        await expect(page.get_by_test_id("status")).to_have_text("completed")
        # A model's words run nothing and reach nothing.
        assert await page.locator("iframe.article").get_attribute("sandbox") == ""
        assert await sequences(page) == await stored(server, "user_whole", process)
        shown = await page.get_by_test_id("events").inner_text()
        assert "recovered" in shown
        assert "live" in shown
        await page.emulate_media(color_scheme="dark")
        assert await serious(page) == []
        await picture(page, "article-dark")

        await page.get_by_role("button", name="日本語").click()
        await page.get_by_role("link", name="自分のプロセス").click()
        await page.get_by_role("link", name="My own theme").wait_for()
        await page.get_by_role("button", name="English").click()
        await page.get_by_role("link", name="Operations").click()
        await expect(page.get_by_test_id("ready")).to_have_text("ready")
        await expect(page.get_by_test_id("queue")).to_contain_text("completed")
        assert await serious(page) == []
        await picture(page, "operations")


async def test_a_tab_that_is_closed_and_opened_again(browser: Browser, server: RunningServer) -> None:
    context = await browser.new_context(locale="en-GB")
    context.set_default_timeout(DEADLINE_MS)
    try:
        async with page_of(context, server, "user_tab") as first:
            process = await start(first)
        await first.close()
        async with server.client("user_tab") as client:  # somebody answers elsewhere meanwhile
            answer = {"response_type": "select_persona", "payload": {"selected_id": 0}}
            await client.post(f"/api/articles/generation/{process}/user-input", json=answer)
        async with page_of(context, server, "user_tab", f"#/process/{process}") as again:
            await again.get_by_role("heading", name="Choose a theme").wait_for()
            assert await sequences(again) == await stored(server, "user_tab", process)
            await again.get_by_role("button", name="Cancel the generation").click()
            await expect(again.get_by_test_id("status")).to_have_text("cancelled")
    finally:
        await context.close()


async def test_two_users_and_two_tabs(browser: Browser, server: RunningServer) -> None:
    async with (
        signed_in(browser, server, "user_one") as one,
        signed_in(browser, server, "user_two") as two,
        page_of(one.context, server, "user_one") as second,
    ):
        mine, theirs = await start(one, "tea"), await start(two, "coffee")
        await second.goto(f"{server.url}/console#/process/{mine}")
        await second.get_by_role("heading", name="Choose a reader").wait_for()
        # What one tab answers, the other sees; the other user's process moves by itself.
        await second.get_by_role("button", name="Choose: ").first.click()
        await one.get_by_role("heading", name="Choose a theme").wait_for()
        written = await stored(server, "user_one", mine)
        for tab in (one, second):
            await expect(tab.get_by_test_id("count")).to_have_text(str(len(written)))
            assert await sequences(tab) == written
        await expect(two.get_by_test_id("step")).to_have_text("persona_generated")
        # Another user's address shows trouble in words, and no event.
        await one.goto(f"{server.url}/console#/process/{theirs}")
        await expect(one.get_by_role("alert")).to_contain_text("process")
        await expect(one.get_by_test_id("count")).to_have_text("0")


async def test_a_token_that_is_none_and_one_that_is_refused(browser: Browser, server: RunningServer) -> None:
    context = await browser.new_context(locale="en-GB")
    context.set_default_timeout(DEADLINE_MS)
    try:
        page = await context.new_page()
        await page.goto(f"{server.url}/console")
        await page.get_by_label("Access token").fill("abc")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("three parts")
        await page.get_by_label("Access token").fill(token("user_x", secret="another-secret-of-at-least-32-bytes"))
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_label("Keywords, separated by commas").fill("x")
        await page.get_by_role("button", name="Start").click()
        await expect(page.get_by_role("alert")).to_contain_text("signature")
    finally:
        await context.close()
