"""The doctor's facts that come from the database."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg

from toolkit.checks import catalog
from toolkit.checks.absent import Absent
from toolkit.checks.facts import (
    Clock,
    EventLog,
    Fact,
    Found,
    Function,
    Migrations,
    Processes,
    Publication,
    Schema,
    Server,
    Session,
    Slot,
    TableFacts,
    Tasks,
)
from toolkit.contract.prompts import InputType
from toolkit.errors import ToolkitError
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.run.api import migrate_status
from toolkit.monitor.questions import Questions, questions, why
from toolkit.postgres.connection import connect
from toolkit.postgres.pooler import pools_transactions
from toolkit.resources import migrations_dir
from toolkit.sql.diagnosis import CHANNEL, queries
from toolkit.targets.target import Target

NOTIFY_DEADLINE_S = 3.0
_SQL = queries()


@dataclass(frozen=True)
class DatabaseFacts:
    """The fields of `Facts` that the database answers."""

    server: Fact[Server]
    session: Fact[Session]
    database_clock: Fact[Clock]
    slots: Fact[tuple[Slot, ...]]
    migrations: Fact[Migrations]
    schema: Fact[Schema]
    log: Fact[EventLog]
    tasks: Fact[Tasks]
    processes: Fact[Processes]


async def database_facts(target: Target) -> DatabaseFacts:
    """Gather the facts; changes nothing. What cannot be determined is Absent with its reason."""
    async with questions(target, "toolkit doctor") as ask:
        if isinstance(ask, Absent):
            return DatabaseFacts(ask, ask, ask, ask, ask, ask, ask, ask, ask)
        url = target.get("DATABASE_URL")
        return DatabaseFacts(
            server=await ask.fact(_server),
            session=await ask.fact(lambda q: _session(q, url)),
            database_clock=await ask.fact(_clock),
            slots=await ask.fact(_slots),
            migrations=await _migrations(url),
            schema=await ask.fact(_schema),
            log=await ask.fact(_log),
            tasks=await ask.fact(_tasks),
            processes=await ask.fact(_processes),
        )


async def _server(ask: Questions) -> Server:
    return Server(**await ask.row(_SQL["server"]))


async def _session(ask: Questions, url: str) -> Session:
    row = await ask.row(_SQL["session"])
    pooled = await pools_transactions(ask.conn, lambda: connect(url, "toolkit doctor", through_a_pooler=True))
    heard = not pooled and await _notified(ask)  # LISTEN would stay behind in somebody's session
    return Session(row["role"], row["sees_all_rows"], urlsplit(url).port, not pooled, heard)


async def _notified(ask: Questions) -> bool:
    token, heard = secrets.token_hex(8), asyncio.Event()

    def hear(_conn: object, _pid: int, _channel: str, payload: object) -> None:
        if payload == token:
            heard.set()

    await ask.conn.add_listener(CHANNEL, hear)
    try:
        async with asyncio.timeout(NOTIFY_DEADLINE_S):
            await ask.conn.execute(_SQL["notify"], CHANNEL, token)
            await heard.wait()
    except TimeoutError:
        return False
    finally:
        await ask.conn.remove_listener(CHANNEL, hear)
    return True


async def _clock(ask: Questions) -> Clock:
    """The most exact of three questions; the database's time lies between question and answer."""
    looks = []
    for _ in range(3):
        before, begun = time.time(), time.monotonic()
        async with asyncio.timeout(NOTIFY_DEADLINE_S):
            there = await ask.conn.fetchval(_SQL["now"])
        took = time.monotonic() - begun
        looks.append(Clock(float(there) - (before + took / 2), took / 2))
    return min(looks, key=lambda look: look.give_or_take_s)


async def _slots(ask: Questions) -> tuple[Slot, ...]:
    return tuple(Slot(**row) for row in await ask.rows(_SQL["slots"]))


async def _migrations(url: str) -> Fact[Migrations]:
    try:
        async with asyncio.timeout(30):
            status = await migrate_status(url, read_folder(migrations_dir()))
    except (ToolkitError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        return why(error)
    states = {f"{version.version} {version.name}": str(version.state) for version in status.versions}
    return Migrations(states, status.invalid_indexes)


async def _schema(ask: Questions) -> Schema:
    tables = {}
    for row in await ask.rows(_SQL["tables"], list(catalog.TABLES)):
        tables[row["name"]] = TableFacts(
            row["row_security"],
            row["identity_trouble"],
            frozenset(row["readers"]),
            {role: frozenset(held) for role, held in json.loads(row["grants"]).items()},
        )
    triggers = {
        (row["on_table"], row["name"]): row["silence"] for row in await ask.rows(_SQL["triggers"], list(catalog.TABLES))
    }
    overloads: dict[str, list[frozenset[str]]] = defaultdict(list)
    for row in await ask.rows(_SQL["executors"], [*catalog.SERVER_FUNCTIONS, *catalog.INNER_FUNCTIONS]):
        overloads[row["name"]].append(frozenset(row["roles"]))
    functions = {name: Function(_executors(found)) for name, found in overloads.items()}
    return Schema(tables, triggers, functions, await _publication(ask))


def _executors(overloads: Sequence[frozenset[str]]) -> frozenset[str]:
    """The roles that may execute any overload, and service_role when it may execute all of them."""
    everywhere = frozenset[str].intersection(*overloads)
    return frozenset[str].union(*overloads) - {"service_role"} | everywhere & {"service_role"}


async def _publication(ask: Questions) -> Publication | None:
    rows = await ask.rows(_SQL["publication"], catalog.PUBLICATION)
    if not rows:
        return None
    row = rows[0]
    operations = frozenset(name for name in ("insert", "update", "delete") if row[f"pub{name}"])
    return Publication(row["all_tables"], operations, frozenset(row["tables"]))


async def _found(ask: Questions, name: str, *args: object) -> Found:
    row = await ask.row(_SQL[name], *args)
    return Found(row["count"], tuple(row["examples"]))


async def _log(ask: Questions) -> EventLog:
    return EventLog(
        (await ask.row(_SQL["events"]))[0],
        await _found(ask, "broken"),
        await _found(ask, "behind"),
        await _found(ask, "disagreeing"),
        await _found(ask, "silent"),
    )


async def _tasks(ask: Questions) -> Tasks:
    due, workers = await ask.row(_SQL["due"]), await ask.row(_SQL["workers"])
    return Tasks(
        oldest_due_s=due["oldest_due_s"],
        due=due["due"],
        expired_leases=await _found(ask, "expired_leases"),
        failed=await _found(ask, "failed"),
        last_attempt=await _found(ask, "last_attempt"),
        of_ended=await _found(ask, "of_ended"),
        waiting_for_ended=await _found(ask, "waiting_for_ended"),
        listeners=workers["listeners"],
        beating=workers["beating"],
    )


async def _processes(ask: Questions) -> Processes:
    async def found(name: str, *args: object) -> Fact[Found]:
        return await ask.fact(lambda q: _found(q, name, *args))

    return Processes(
        orphans=await found("orphans"),
        promptless=await found("promptless", [kind.value for kind in InputType]),
        flag_differs=await found("flag_differs"),
        overdue_prompts=await found("overdue_prompts"),
        steps=await ask.fact(_resting_steps),
        without_article=await found("without_article"),
        silent_errors=await found("silent_errors"),
        without_context=await found("without_context"),
    )


async def _resting_steps(ask: Questions) -> dict[str, int]:
    return {row["step"]: row["processes"] for row in await ask.rows(_SQL["steps"])}
