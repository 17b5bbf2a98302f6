"""One probe, and what all of them share: the sessions it looks through, and the rows that it makes and removes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from toolkit.errors import ToolkitError
from toolkit.migrate.verify.verify_file import UNDECIDED
from toolkit.postgres.connection import Connection, connected, redact
from toolkit.report.record import Check, Verdict
from toolkit.sql import probes as sql

_PROBE_DEADLINE_S = 60
QUERY_DEADLINE_S = 20


class Undecided(Exception):
    """The probe could not decide; its text says why."""


@dataclass(frozen=True)
class GenerationProbe:
    """One behaviour: `look` returns what is wrong, a line each; nothing wrong is an empty list."""

    id: str
    title: str
    remedy: str
    look: Callable[[str, str], Awaitable[list[str]]]

    async def run(self, dsn: str, version: str) -> Check:
        """Look, and clean up in any case; leftovers that could not be removed make the verdict a failure."""
        user = f"{sql.USER_PREFIX}{secrets.token_hex(6)}"
        violations, undecided = list[str](), ""
        try:
            async with asyncio.timeout(_PROBE_DEADLINE_S):
                await _remove(dsn, sql.REMOVE_STALE)
                violations += await self.look(dsn, user)
        except asyncpg.SyntaxOrAccessError as error:
            violations.append(f"{error} [{error.sqlstate}]")
        except Undecided as open_question:
            undecided = str(open_question)
        except TimeoutError:
            undecided = f"no result within {_PROBE_DEADLINE_S} s"
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ToolkitError) as error:
            undecided = f"{type(error).__name__}: {error}"
        finally:
            # Also after a cancellation: the rows must go.
            left = await asyncio.shield(_clean_up(dsn, user))
        if left:
            violations.append(left)
        if undecided and not violations:
            return Check(self.id, self.title, Verdict.UNKNOWN, undecided, UNDECIDED, version)
        return Check.of_lines(self.id, self.title, violations, detail=undecided, remedy=self.remedy, group=version)


async def _clean_up(dsn: str, user: str) -> str:
    try:
        await _remove(dsn, sql.REMOVE, user)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ToolkitError) as error:
        return f"rows of user {user} could not be removed from {redact(dsn)} ({error}); the next run tries again"
    return ""


async def _remove(dsn: str, statements: tuple[str, ...], *args: object) -> None:
    async with connected(dsn, "toolkit migrate verify: clean-up") as conn:
        for statement in statements:
            await conn.execute(statement, *args, timeout=QUERY_DEADLINE_S)


@asynccontextmanager
async def sessions(dsn: str, count: int) -> AsyncIterator[list[Connection]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connected(dsn, "toolkit migrate verify")) for _ in range(count)]


async def make_process(conn: Connection, user: str, organization: UUID | None = None) -> UUID:
    found = await conn.fetchval(sql.CREATE_PROCESS, user, organization, timeout=QUERY_DEADLINE_S)
    assert isinstance(found, UUID)
    return found
