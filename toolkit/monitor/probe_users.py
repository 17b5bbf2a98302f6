"""The users of the doctor's probe: the owner of its process, and a stranger who must receive nothing."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from toolkit.accounts import Account, accounts_on, way_of
from toolkit.checks.absent import Absent
from toolkit.errors import ToolkitError
from toolkit.monitor.questions import why
from toolkit.sql.probes import USER_PREFIX
from toolkit.targets.target import Target

NOT_MADE = Absent(
    "nothing was written, so no test user was made in the project's auth",
    "Allow a probe (--yes), or give SUPABASE_JWT_SECRET or SUPABASE_USERS_FILE.",
)


@dataclass(frozen=True)
class ProbeUsers:
    """Two users of the target."""

    owner: Account
    stranger: Account


@asynccontextmanager
async def probe_users(target: Target, *, may_write: bool) -> AsyncIterator[ProbeUsers | Absent]:
    """Both users for the length of the block, or the reason why there are none. Users that are made for it are removed
    at the end; without `may_write` none are made."""
    try:
        made = way_of(target) == "created"
        accounts = accounts_on(target, "")
    except ToolkitError as error:
        yield why(error)
        return
    if made and not may_write:
        yield NOT_MADE
        return
    name = f"{USER_PREFIX}{secrets.token_hex(6)}"
    found: ProbeUsers | Absent
    try:
        try:
            found = ProbeUsers(await accounts.of(name), await accounts.of(f"{name}_stranger"))
        except ToolkitError as error:
            found = why(error)
        yield found
    finally:
        await accounts.aclose()
