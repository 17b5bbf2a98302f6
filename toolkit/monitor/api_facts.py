"""The doctor's facts that come from the generation API, and from the keys themselves."""

from __future__ import annotations

import secrets
import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import jwt

from toolkit.checks.absent import Absent
from toolkit.checks.facts import Answer, Api, Clock, Fact, Key
from toolkit.client.http import KEEPALIVE_S
from toolkit.monitor.probe_users import ProbeUsers
from toolkit.monitor.questions import not_set
from toolkit.targets.target import Target
from toolkit.tokens import mint

DEADLINE_S = 10.0
_MOST_BODY = 300
_LIST = "/api/articles/generation?limit=1"
_NO_ANSWER = "Check the address, that the server runs, and what stands between here and it."


def http(target_url: str) -> httpx.AsyncClient:
    """An HTTP client with deadlines; it follows no redirect, which could send the token to another host."""
    limits = httpx.Limits(keepalive_expiry=KEEPALIVE_S)
    return httpx.AsyncClient(base_url=target_url, timeout=DEADLINE_S, limits=limits, follow_redirects=False)


async def ask(
    client: httpx.AsyncClient, target: Target, path: str, token: str | None = None
) -> httpx.Response | Absent:
    """The answer to a GET, or the reason why there is none."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        return await client.get(path, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = f": {error}" if str(error) else ""
        return Absent(
            target.redact(f"{client.base_url}{path} gave no answer ({type(error).__name__}{said})"), _NO_ANSWER
        )


def answer(target: Target, response: httpx.Response | Absent) -> Fact[Answer]:
    """The part of a response that may be shown."""
    if isinstance(response, Absent):
        return response
    return Answer(response.status_code, target.redact(response.text[:_MOST_BODY]))


async def api_facts(target: Target, users: ProbeUsers | Absent) -> Api:
    """Gather the facts; changes nothing. It reads the list of processes of the probe's owner."""
    if target.api_url is None:
        return Api(*([not_set("API_URL")] * 10))
    async with http(target.api_url) as client:
        live = await ask(client, target, "/health/live")
        ready = await ask(client, target, "/health/ready")
        token: Fact[str] = users if isinstance(users, Absent) else users.owner.token
        with_token = token if isinstance(token, Absent) else await ask(client, target, _LIST, token)
        queue = (
            token
            if isinstance(token, Absent)
            else await ask(client, target, "/api/internal/background-tasks/status", token)
        )
        wrong = await ask(client, target, _LIST, mint(secrets.token_urlsafe(48), sub="toolkit_probe"))
        nobody = await ask(client, target, _LIST)
        begun, before = time.monotonic(), time.time()
        dated = await ask(client, target, "/health/live")
        took = time.monotonic() - begun
        body = _json(ready)
        return Api(
            live=answer(target, live),
            ready=answer(target, ready),
            transport=_member(ready, body, "transport"),
            with_token=answer(target, with_token),
            with_wrong_token=answer(target, wrong),
            with_no_token=answer(target, nobody),
            queue=answer(target, queue),
            workers=_told(ready, body, "workers", "status"),
            connection=_told(ready, body, "database", "connection"),
            clock=_clock(dated, before, took),
        )


def _json(response: httpx.Response | Absent) -> dict[str, Any]:
    try:
        body = response.json() if isinstance(response, httpx.Response) else None
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _member(response: httpx.Response | Absent, body: dict[str, Any], name: str) -> Fact[str]:
    if isinstance(response, Absent):
        return response
    if isinstance(body.get(name), str):
        return str(body[name])
    return Absent(f"/health/ready does not tell its {name}", "Look it up where the API is configured.")


def _told(response: httpx.Response | Absent, body: dict[str, Any], check: str, name: str) -> Fact[str]:
    checks = body.get("checks")
    told = checks.get(check) if isinstance(checks, dict) else None
    return _member(response, told if isinstance(told, dict) else {}, name)


def _clock(response: httpx.Response | Absent, before: float, took: float) -> Fact[Clock]:
    """The API's clock, from the Date header, which counts whole seconds."""
    if isinstance(response, Absent):
        return response
    try:
        there = parsedate_to_datetime(response.headers["date"]).timestamp() + 0.5
    except (KeyError, ValueError):
        return Absent("its answers carry no Date", "Compare the clocks by hand (date on both machines).")
    return Clock(there - (before + took / 2), 0.5 + took / 2)


def key_fact(target: Target, name: str) -> Fact[Key]:
    """What the key called `name` (`"SUPABASE_ANON_KEY"`, …) says of itself."""
    key = target.anon_key if name == "SUPABASE_ANON_KEY" else target.service_role_key
    if key is None:
        return not_set(name)
    try:
        header = jwt.get_unverified_header(key)
        claims = jwt.decode(key, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return Absent(
            f"{name} is no JWT (one of the new sb_… keys?), so it cannot be compared with the secret",
            "The checks of the socket show whether it is accepted.",
        )
    role, exp = claims.get("role"), claims.get("exp")
    return Key(
        str(role) if role is not None else None,
        float(exp) if isinstance(exp, int | float) else None,
        _signed(target, key, str(header.get("alg"))),
    )


def _signed(target: Target, key: str, algorithm: str) -> Fact[bool]:
    if target.jwt_secret is None:
        return not_set("SUPABASE_JWT_SECRET")
    if algorithm not in {"HS256", "HS384", "HS512"}:
        return Absent(f"it is signed with {algorithm}, not with a secret", "The checks of the socket show if it works.")
    try:
        jwt.decode(key, target.jwt_secret, algorithms=[algorithm], options={"verify_exp": False, "verify_aud": False})
    except jwt.InvalidTokenError:
        return False
    return True
