"""Which roles a token may claim: asked in one place for every use of a token's role.

A token only names its role, and the server's own login may take any. Whoever acts under a token's role asks here first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

# Roles every Supabase project has for its API clients.
API_ROLES: Final = ("anon", "authenticated", "service_role")
TRUSTED_S: Final = 5.0

# `fetchval` of a connection or pool.
Ask: TypeAlias = Callable[..., Awaitable[Any]]


class RoleRefused(Exception):
    """The token's role is none that clients may take; the text is what the client is told."""


@dataclass
class ApiRoles:
    """The three roles of API clients and `further` ones: those of them that `authenticator` may take.

    A superuser is never one of them. Where the database has no role `authenticator`, the three alone are.
    """

    further: Iterable[str] = ()
    _known: dict[str, tuple[bool, float]] = field(default_factory=dict)

    async def check(self, role: object, ask: Ask) -> str:
        """The role, when clients may take it. Raises RoleRefused, and what `ask` raises."""
        named = isinstance(role, str) and role in (*API_ROLES, *self.further)
        if not named or not await self._may_be_taken(str(role), ask):
            raise RoleRefused(refused(role))
        return str(role)

    def forget(self) -> None:
        """Ask the database again."""
        self._known.clear()

    async def _may_be_taken(self, role: str, ask: Ask) -> bool:
        known, now = self._known.get(role), time.monotonic()
        if known is not None and now - known[1] < TRUSTED_S:
            return known[0]
        allowed = bool(await ask(_MAY_BE_TAKEN, role, list(API_ROLES)))
        self._known[role] = (allowed, now)
        return allowed


def refused(role: object) -> str:
    """What a client is told whose token has this role."""
    return (
        f"The token's role {json.dumps(role, default=str)} is not one that API clients may take on this database; it "
        "must be anon, authenticated, service_role, or a role that REALTIME_FURTHER_ROLES names and that is granted to "
        "authenticator."
    )


_MAY_BE_TAKEN = """
select exists (
  select from pg_catalog.pg_roles r
  left join pg_catalog.pg_roles o on o.rolname = 'authenticator'
  where r.rolname = $1 and not r.rolsuper
    and case when o.oid is null then r.rolname = any ($2::text[])
             else o.oid <> r.oid and pg_catalog.pg_has_role(o.oid, r.oid, 'MEMBER') end
)
"""
