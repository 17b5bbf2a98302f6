"""Behaviour of the realtime migration that one session cannot show: concurrent writers and workers, and each role.

Probes commit rows, since other sessions must see them. All of them belong to a user called `toolkit_probe_<random>`
and are removed when the probe ends, whatever happened; what a killed run left behind, the next one removes.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from toolkit.errors import ToolkitError
from toolkit.migrate.folder.files import Folder
from toolkit.migrate.repair.reading import created
from toolkit.migrate.verify.verify_file import UNDECIDED
from toolkit.postgres.connection import Connection, connected, redact
from toolkit.report.record import Check, Verdict
from toolkit.sql import probes as sql

WRITERS, WRITES_EACH = 8, 12
WORKERS, TASKS = 8, 24
_MOST_CLAIMS = 200  # a worker that finds nothing so often while tasks wait will never find any
_PROBE_DEADLINE_S = 60
_QUERY_DEADLINE_S = 20


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
            await conn.execute(statement, *args, timeout=_QUERY_DEADLINE_S)


@asynccontextmanager
async def _sessions(dsn: str, count: int) -> AsyncIterator[list[Connection]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connected(dsn, "toolkit migrate verify")) for _ in range(count)]


async def _process(conn: Connection, user: str, organization: UUID | None = None) -> UUID:
    found = await conn.fetchval(sql.CREATE_PROCESS, user, organization, timeout=_QUERY_DEADLINE_S)
    assert isinstance(found, UUID)
    return found


# -- sequences under concurrent writers ---------------------------------------------------------------------------


async def _concurrent_sequences(dsn: str, user: str) -> list[str]:
    """Half of the writers call the function, half update the state row; some take their work back."""
    async with _sessions(dsn, WRITERS + 1) as (reader, *writers):
        process = await _process(reader, user)
        committed: list[int] = []
        errors: list[str] = []
        finished = asyncio.Event()

        async def write(number: int, conn: Connection) -> None:
            for turn in range(WRITES_EACH):
                keep = (number + turn) % 4 != 0
                transaction = conn.transaction()
                await transaction.start()
                try:
                    if number % 2:
                        payload = json.dumps({"writer": number, "turn": turn})
                        await conn.execute(sql.APPEND, process, "toolkit_probe", payload, timeout=_QUERY_DEADLINE_S)
                    else:
                        await conn.execute(sql.UPDATE_PROGRESS, process, timeout=_QUERY_DEADLINE_S)
                    await conn.execute(sql.LINGER, random.uniform(0, 0.003), timeout=_QUERY_DEADLINE_S)  # noqa: S311
                except asyncpg.PostgresError as error:
                    await transaction.rollback()
                    errors.append(f"writer {number}, turn {turn}: {error} [{error.sqlstate}]")
                    continue
                if not keep:
                    await transaction.rollback()
                    continue
                await transaction.commit()
                committed.append(number)

        async def read() -> list[str]:
            """Sequence order is commit order exactly if whatever is visible is always 1..n without a hole."""
            holes: list[str] = []
            while not finished.is_set() and not holes:
                row = await reader.fetchrow(sql.VISIBLE_SEQUENCES, process, timeout=_QUERY_DEADLINE_S)
                assert row is not None
                if row["highest"] != row["events"]:
                    holes.append(
                        f"a reader saw sequence {row['highest']} while only {row['events']} events were visible: "
                        "a client that read up to it would miss the rest"
                    )
            return holes

        watching = asyncio.create_task(read())
        try:
            await asyncio.gather(*(write(number, conn) for number, conn in enumerate(writers)))
        finally:
            finished.set()
            holes = await watching
        numbers = [
            row["event_sequence"] for row in await reader.fetch(sql.SEQUENCES, process, timeout=_QUERY_DEADLINE_S)
        ]
    found = errors[:5] + holes
    expected = list(range(1, len(committed) + 2))  # the creation of the process is event 1
    if not found and numbers != expected:
        found.append(f"{len(committed)} writes and the creation committed, the sequences are {_ranges(numbers)}")
    return found


def _ranges(numbers: list[int]) -> str:
    return f"{numbers}" if len(numbers) <= 30 else f"{numbers[:30]}… ({len(numbers)})"


# -- claims by concurrent workers ---------------------------------------------------------------------------------


async def _concurrent_claims(dsn: str, user: str) -> list[str]:
    async with _sessions(dsn, WORKERS) as workers:
        # Two tasks a process: a claim may hold its process, so that of two siblings one waits for the other's commit.
        async with workers[0].transaction():
            for _ in range(TASKS // 2):
                process = await _process(workers[0], user)
                for _ in range(2):
                    await workers[0].fetchval(sql.ENQUEUE, process, user, timeout=_QUERY_DEADLINE_S)
        claimed: dict[UUID, list[str]] = {}
        refused: list[str] = []

        async def work(number: int, conn: Connection) -> None:
            for _ in range(_MOST_CLAIMS):
                async with conn.transaction():
                    task = await conn.fetchrow(sql.CLAIM, f"{user}-{number}", user, timeout=_QUERY_DEADLINE_S)
                    await conn.execute(sql.LINGER, random.uniform(0, 0.003), timeout=_QUERY_DEADLINE_S)  # noqa: S311
                if task is None or task["id"] is None:
                    if not await conn.fetchval(sql.PENDING, user, timeout=_QUERY_DEADLINE_S):
                        return
                    continue
                claimed.setdefault(task["id"], []).append(f"worker {number}")
                if (
                    not await conn.fetchval(sql.COMPLETE, task["id"], task["claim_token"], timeout=_QUERY_DEADLINE_S)
                    and len(claimed[task["id"]]) == 1
                ):
                    refused.append(f"worker {number} could not complete task {task['id']} with its own claim token")

        await asyncio.gather(*(work(number, conn) for number, conn in enumerate(workers)))
        rows = await workers[0].fetch(sql.TASKS, user, timeout=_QUERY_DEADLINE_S)
    strangers = sorted({row["worker_id"] for row in rows if row["worker_id"] and not row["worker_id"].startswith(user)})
    if strangers:
        raise Undecided(f"workers of the live system took probe tasks: {', '.join(strangers)}; stop them and repeat")
    twice = [f"task {task} was given to {' and '.join(who)}" for task, who in claimed.items() if len(who) > 1]
    open_ = [f"task {row['id']} is {row['status']}" for row in rows if row["status"] != "completed"]
    never = [f"only {len(claimed)} of {TASKS} tasks were ever claimed"] if len(claimed) < TASKS else []
    return (twice or refused)[:5] + never + ([] if never else open_[:5])


# -- each role ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reader:
    name: str
    role: str
    claims: str | None  # None: never set in the session
    sees: bool


def _readers(user: str) -> tuple[_Reader, ...]:
    def claims(subject: str | None) -> str:
        return json.dumps({"role": "authenticated"} | ({"sub": subject} if subject else {}))

    return (
        _Reader("anon without claims", "anon", None, sees=False),
        _Reader("anon with empty claims", "anon", "", sees=False),
        _Reader("anon with a token", "anon", '{"role": "anon"}', sees=False),
        _Reader("authenticated without claims", "authenticated", None, sees=False),
        _Reader("authenticated with empty claims", "authenticated", "", sees=False),
        _Reader("authenticated without sub", "authenticated", claims(None), sees=False),
        _Reader("the owner (a text sub, as Clerk's user_2abc)", "authenticated", claims(user), sees=True),
        _Reader("a member of the organisation", "authenticated", claims(f"{user}_member"), sees=True),
        _Reader("somebody else", "authenticated", claims(f"{user}_other"), sees=False),
        _Reader("somebody with a uuid sub", "authenticated", claims(str(UUID(int=7))), sees=False),
        _Reader("service_role", "service_role", '{"role": "service_role"}', sees=True),
    )


async def _staged_process(conn: Connection, user: str) -> UUID:
    organization = await conn.fetchval(sql.CREATE_ORGANIZATION, user, timeout=_QUERY_DEADLINE_S)
    await conn.execute(sql.ADD_MEMBER, organization, f"{user}_member", timeout=_QUERY_DEADLINE_S)
    process = await _process(conn, user, organization)
    # Not claimable: a worker of the live system would take it.
    async with conn.transaction():
        await conn.fetchval(sql.ENQUEUE, process, user, timeout=_QUERY_DEADLINE_S)
        await conn.execute(sql.PARK, process, timeout=_QUERY_DEADLINE_S)
    return process


async def _read_as_each_role(dsn: str, user: str) -> list[str]:
    found: list[str] = []
    async with connected(dsn, "toolkit migrate verify") as conn:
        process = await _staged_process(conn, user)
        everything = {table: await conn.fetchval(query, process) for table, query in sql.VISIBLE.items()}
        for table, rows in everything.items():
            if not rows:
                raise Undecided(f"{table} has no row to look at")
    for reader in _readers(user):
        # A session each: a setting that was set once reads as '' and no longer as unset.
        async with connected(dsn, "toolkit migrate verify") as conn:
            for table, query in sql.VISIBLE.items():
                seen = await _as(conn, reader, query, process)
                expected = everything[table] if reader.sees else 0
                if isinstance(seen, str) and not (reader.role == "anon" and seen.endswith("[42501]")):
                    found.append(f"{reader.name} reading {table}: {seen}")
                elif not isinstance(seen, str) and seen != expected:
                    found.append(
                        f"{reader.name} sees {seen} of {everything[table]} rows of {table}, expected {expected}"
                    )
    return found


async def _write_as_each_client(dsn: str, user: str) -> list[str]:
    found: list[str] = []
    async with connected(dsn, "toolkit migrate verify") as conn:
        process = await _staged_process(conn, user)
        for reader in _readers(user):
            if reader.role == "service_role":
                continue
            for what, statement in sql.WRITES.items():
                outcome = await _as(conn, reader, statement, process, write=True)
                if not isinstance(outcome, str) and outcome:
                    found.append(f"{reader.name} could {what}")
    return found


async def _as(conn: Connection, reader: _Reader, query: str, process: UUID, *, write: bool = False) -> int | str:
    """Rows seen or written as somebody, or the error's text with its SQLSTATE; taken back in any case."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        if reader.claims is not None:
            await conn.execute(sql.CLAIMS, reader.claims, timeout=_QUERY_DEADLINE_S)
        await conn.execute(sql.ASSUME, reader.role, timeout=_QUERY_DEADLINE_S)
        if write:
            status = await conn.execute(query, process, timeout=_QUERY_DEADLINE_S)
            return int(status.split()[-1])
        return int(await conn.fetchval(query, process, timeout=_QUERY_DEADLINE_S))
    except asyncpg.PostgresError as error:
        return f"{error} [{error.sqlstate}]"
    finally:
        await transaction.rollback()


# -- the server's own role ----------------------------------------------------------------------------------------


async def _server_role_works(dsn: str, user: str) -> list[str]:
    """The server writes as service_role: its update of a state row must leave events, and its calls must work."""
    found: list[str] = []
    async with connected(dsn, "toolkit migrate verify") as conn:
        process = await _process(conn, user)
        async with conn.transaction():
            await conn.execute(sql.ASSUME, "service_role", timeout=_QUERY_DEADLINE_S)
            await conn.execute(sql.UPDATE_PROGRESS, process, timeout=_QUERY_DEADLINE_S)
            await conn.execute(sql.APPEND, process, "test_event", '{"test": "data"}', timeout=_QUERY_DEADLINE_S)
    async with connected(dsn, "toolkit migrate verify") as other:
        rows = await other.fetch(sql.SEQUENCES, process, timeout=_QUERY_DEADLINE_S)
        kinds = [row["event_type"] for row in rows]
        if kinds != ["process_created", "progress_updated", "test_event"]:
            found.append(f"expected process_created, progress_updated, test_event; found {', '.join(kinds) or 'none'}")
    return found


PROBES: tuple[GenerationProbe, ...] = (
    GenerationProbe(
        "RT-50",
        f"{WRITERS} concurrent writers: no gap, no duplicate, sequence order is commit order, nobody fails",
        "The counter row must be locked by the UPDATE that allocates: compare append_process_event with the file.",
        _concurrent_sequences,
    ),
    GenerationProbe(
        "RT-51",
        f"{WORKERS} concurrent workers claim {TASKS} distinct tasks",
        "The claim must lock with FOR UPDATE SKIP LOCKED: compare claim_background_task with the file.",
        _concurrent_claims,
    ),
    GenerationProbe(
        "RT-52",
        "Who may see a process sees its events and tasks, nobody else, whatever the claims",
        "Compare the policies and grants with the file; claims may be unset, empty, or carry a text sub.",
        _read_as_each_role,
    ),
    GenerationProbe(
        "RT-53",
        "No client writes events or tasks, by table or by function",
        "Revoke the privilege from anon, authenticated and public.",
        _write_as_each_client,
    ),
    GenerationProbe(
        "RT-54",
        "The server's role updates, and the triggers and functions record it",
        "Grant execute to service_role; the trigger's function must be security definer.",
        _server_role_works,
    ),
)


# Everything that the statements of the probes touch.
_TOUCHED = frozenset(
    {
        "generated_articles_state",
        "organizations",
        "organization_members",
        "process_events",
        "background_tasks",
        "create_process_event",
        "enqueue_background_task",
        "claim_background_task",
        "complete_background_task",
    }
)


def probes_of(folder: Folder) -> dict[str, tuple[GenerationProbe, ...]]:
    """The probes by the version that they belong to: the one with which all that they touch is there.

    A folder is known by what its files create, not by their numbers: the migration under another version, or cut into
    several, is probed, and another migration of the same version is left alone.
    """
    there: set[str] = set()
    for migration in folder.migrations:
        names = (made.name for made in created(migration.up.statements)[0])
        there |= {name.removeprefix("public.") for name in names}
        if there >= _TOUCHED:
            return {migration.version: PROBES}
    return {}
