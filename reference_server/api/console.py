"""The console: a page in the browser that starts, follows and steers generations, and shows operators the queue.

Its files are built from `reference_server/console`. They hold nothing of this server; what the page needs to know, it
asks `/console/settings.json`.
"""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import jwt
from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from reference_server.api.responses import Json
from reference_server.api.server_context import server_of
from reference_server.settings import Settings

PATH = "/console"
FOLDER = Path(__file__).resolve().parents[1] / "console" / "static"
_ANON_KEY_S = 24 * 3600

router = APIRouter(include_in_schema=False)


@router.get(PATH)
async def page() -> RedirectResponse:
    return RedirectResponse(f"{PATH}/", status_code=308)


@router.get(f"{PATH}/settings.json")
async def page_settings(request: Request) -> Json:
    settings = server_of(request).settings
    body = {
        "supabase_url": settings.supabase_url or "",
        "anon_key": anon_key(settings),
        "auth": settings.supabase_url is not None,
    }
    return Json(body, headers={"Cache-Control": "no-store"})


def anon_key(settings: Settings) -> str | None:
    """The key with which a page reaches Realtime before a user signs in: the project's, or one of our own secret."""
    if settings.supabase_anon_key is not None:
        return settings.supabase_anon_key
    if settings.jwt_secret is None or settings.supabase_url is not None:
        return None
    now = int(time.time())
    return jwt.encode({"role": "anon", "iat": now, "exp": now + _ANON_KEY_S}, settings.jwt_secret, algorithm="HS256")


def files(settings: Settings) -> StaticFiles:
    """The built page. It may load and reach nothing but this server and the Supabase project that it is told of."""
    return _Page(_policy(settings.supabase_url))


class _Page(StaticFiles):
    def __init__(self, policy: str) -> None:
        super().__init__(directory=FOLDER, html=True)
        self._policy = policy

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Content-Security-Policy"] = self._policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        # The names of the files stay from version to version, so they are asked for again; unchanged ones cost a 304.
        response.headers["Cache-Control"] = "no-cache"
        return response


def _policy(supabase_url: str | None) -> str:
    reached = ["'self'"]
    if supabase_url is not None:
        host = urlsplit(supabase_url)
        reached += [f"{host.scheme}://{host.netloc}", f"{host.scheme.replace('http', 'ws', 1)}://{host.netloc}"]
    return "; ".join(
        (
            "default-src 'self'",
            f"connect-src {' '.join(reached)}",
            "img-src 'self' data: https:",  # pictures of an article; the frame it is shown in runs no scripts
            "style-src 'self' 'unsafe-inline'",
            "frame-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
