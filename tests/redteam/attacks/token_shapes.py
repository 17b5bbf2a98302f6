"""Tokens that must not open anything: unsigned, of other secrets, of roles that are not for clients, misshapen."""

from __future__ import annotations

import asyncio

import jwt
from websockets.exceptions import InvalidStatus

from tests.redteam.campaign import Outcome
from tests.redteam.target import Target, token

ROLES = ("none", "postgres", "supabase_admin", "authenticator", "pg_read_all_data", "no_such_role", "anon\0", "")


class TokenShapes:
    name = "token shapes"
    promise = "No token opens what its role may not take, and no forged one opens anything"

    async def run(self, target: Target, size: int) -> Outcome:
        outcome = Outcome()
        claims = {"role": "service_role", "exp": 9_999_999_999}
        forged = {
            "unsigned": jwt.encode(claims, None, "none"),
            "another secret": jwt.encode(claims, "x" * 40, "HS256"),
            "expired": token("a", exp=1),
            "no text": "a.b.c",
            "cut off": token("a")[:-4],
        }
        # Refusals are slowed down, so they are waited for side by side.
        answers = await asyncio.gather(
            *(_opens(target, what, raw) for what, raw in forged.items()), *(_joins(target, role) for role in ROLES)
        )
        outcome.tried = len(answers)
        outcome.broken = [answer for answer in answers if answer is not None]
        return outcome


async def _opens(target: Target, what: str, raw: str) -> str | None:
    try:
        async with target.socket(raw):
            return f"a token ({what}) opened a socket"
    except InvalidStatus:
        return None


async def _joins(target: Target, role: str) -> str | None:
    try:
        async with target.socket(token("a", role)) as socket:
            await socket.push("realtime:x", "phx_join", {"config": {"private": True}})
            reply = await socket.until("phx_reply")
            return None if reply["status"] == "error" else f"role {role!r} joined a private channel"
    except InvalidStatus:
        return None
