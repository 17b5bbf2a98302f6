"""/docs works without the internet: the page and everything it loads come from the server itself."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx


class _Loaded(HTMLParser):
    """Addresses that a browser fetches for a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs).get("href" if tag == "link" else "src")
        if named is not None:
            self.addresses.append(named)


def hosts_named_in_page(page: str) -> list[str]:
    return re.findall(r"""["'](?:https?:)?//([^"'/]+)""", page)


def hosts_named_in_style(style: str) -> list[str]:
    return re.findall(r"""(?:url\(|@import)\s*["']?(?:https?:)?//([^"'()/]+)""", style)


async def test_the_page_and_its_assets_come_from_the_server(caller: httpx.AsyncClient) -> None:
    page = await caller.get("/docs")
    assert page.status_code == 200
    assert hosts_named_in_page(page.text) == []
    assert '"validatorUrl": null' in page.text
    loaded = _Loaded(page.text).addresses
    assert len(loaded) == 3, "a script, a style sheet and an icon"
    described = re.search(r"url: '([^']+)'", page.text)
    assert described is not None
    for address in [*loaded, described[1]]:
        assert address.startswith("/"), address
        asset = await caller.get(address)
        assert (asset.status_code, len(asset.content) > 1000) == (200, True), address
        if address.endswith(".css"):
            assert hosts_named_in_style(asset.text) == []
    assert (await caller.get("/redoc")).status_code == 404


def test_another_host_would_be_noticed() -> None:
    assert hosts_named_in_page('<script src="https://cdn.example.com/a.js">') == ["cdn.example.com"]
    assert hosts_named_in_page("<link href='//cdn.example.com/a.css'>") == ["cdn.example.com"]
    assert hosts_named_in_style("a { background: url(https://cdn.example.com/a.png) }") == ["cdn.example.com"]
    assert hosts_named_in_style('@import "//cdn.example.com/a.css";') == ["cdn.example.com"]
