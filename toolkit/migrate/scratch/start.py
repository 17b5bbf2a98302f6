"""The state a proof starts from: a bare Supabase project, a schema file, or the schema of a database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg

from toolkit.errors import EnvironmentError_, RefusalError, UsageError
from toolkit.migrate.catalog.pg_dump import dump_text
from toolkit.migrate.catalog.stored_options import without_reserved
from toolkit.migrate.folder.files import refusal_of
from toolkit.migrate.folder.project_mode import ProjectMode
from toolkit.migrate.folder.statements import SplitError, Statement, split, to_run
from toolkit.migrate.run.history import prepare_history, read_history
from toolkit.migrate.run.one_statement import run_statement
from toolkit.migrate.scratch.databases import Scratch
from toolkit.migrate.scratch.platform import prepare_owners, prepare_platform, prepare_roles
from toolkit.postgres.connection import Connection, connected, redact
from toolkit.report.record import shortened
from toolkit.sql import scratch as sql
from toolkit.sql.parse import label, nodes
from toolkit.sql.platform import HISTORY, PLATFORM_SCHEMAS
from toolkit.sql.quoting import quote_identifier

# A scratch server may be unable to hold what the platform owns: extensions it lacks, and what is made of them.
_TOLERATED = frozenset({*PLATFORM_SCHEMAS, HISTORY})
# pg_dump writes this above every object.
_TITLE = re.compile(r"^-- Name: (?P<name>.*); Type: (?P<type>.*); Schema: (?P<schema>[^;]*);", re.MULTILINE)
_OF_EXTENSIONS = frozenset({"EXTENSION", "COMMENT"})
# A schema, type, function, table, … that exists already: the platform's is made before.
_EXISTS = ("42P06", "42710", "42723", "42P07", "42P16")
_DEADLINE_S = 300
_MOST_TOLD = 10
EMPTY: dict[ProjectMode, str] = {
    "old": "an empty Supabase project",
    "new": "an empty Supabase project of after 30 May 2026",
}


@dataclass(frozen=True)
class Start:
    """`template` is the scratch database that stands for the start; `notes` say in what it is not the original."""

    template: str
    described: str
    notes: tuple[str, ...] = ()


async def empty_project(scratch: Scratch, mode: ProjectMode = "old") -> Start:
    """A database as a Supabase project looks on arrival, one made since 30 May 2026 or an older one."""
    name = await scratch.create()
    async with connected(scratch.admin(name)) as conn:
        await prepare_platform(conn, mode=mode)
    return Start(name, EMPTY[mode])


async def from_schema(
    scratch: Scratch, statements: Sequence[Statement], source: str, mode: ProjectMode = "old"
) -> Start:
    """A bare Supabase project plus the statements of a file, a dump by pg_dump or the Supabase CLI for example.

    Raises EnvironmentError_ naming the lines that cannot be restored.
    """
    start = await empty_project(scratch, mode)
    async with connected(scratch.dsn(start.template)) as conn, connected(scratch.admin(start.template)) as admin:
        if any(isinstance(statement.node, nodes.AlterDefaultPrivilegesStmt) for statement in statements):
            for clearing in sql.CLEAR_DEFAULTS:
                for one in (conn, admin):
                    await one.execute(clearing.format(migrator=scratch.migrator or "current_user"), timeout=10)
        if not scratch.migrator or any(_gives_owner(statement) for statement in statements):
            notes = await _restore(admin, statements, source, on_top=True)
        else:
            notes = await _restore(conn, statements, source, on_top=True, admin=admin)
    return Start(start.template, f"the schema of {source}", notes)


async def from_database(scratch: Scratch, dsn: str, pg_dump: Path | None = None) -> Start:
    """The schema, roles and migration history of a database, which is only read; no rows are taken.

    Raises EnvironmentError_ when the scratch server lacks an extension that objects of the user's own need.
    """
    async with connected(dsn, "toolkit migrate prove") as source:
        major = await source.fetchval(sql.SERVER_MAJOR, timeout=10)
        roles = await source.fetch(sql.ROLES, timeout=30)
        memberships = await source.fetch(sql.MEMBERSHIPS, timeout=30)
        extensions = [row["name"] for row in await source.fetch(sql.EXTENSIONS, timeout=30)]
        history = await read_history(source)
        if await source.fetchval(sql.IS_SUPERUSER, timeout=10):
            await scratch.migrate_as_superuser()
    text = await dump_text(dsn, pg_dump, server_major=major)
    name = await scratch.create()
    label = redact(dsn)
    async with connected(scratch.admin(name)) as conn:
        if scratch.migrator:
            await prepare_roles(conn)
        await _make_roles(conn, roles, memberships)
        if scratch.migrator:  # in the original another role may own what migrations change
            for name_of_owner in await conn.fetch(sql.ROLES_OF_NO_PLATFORM, timeout=10):
                grant = sql.GRANT_ROLE.format(role=quote_identifier(name_of_owner["name"]), member=scratch.migrator)
                await conn.execute(grant, timeout=10)
        available = {row["name"] for row in await conn.fetch(sql.AVAILABLE_EXTENSIONS, timeout=30)}
        missing = [extension for extension in extensions if extension not in available]
        notes = await _restore(conn, read_statements(text, label), label, on_top=False, missing=missing)
        if scratch.migrator:
            await prepare_owners(conn)
    if history.rows:
        async with connected(scratch.dsn(name)) as conn:
            await prepare_history(conn)
            await conn.executemany(
                sql.COPY_HISTORY, [(row.version, row.name, row.statements) for row in history.rows], timeout=60
            )
    return Start(name, f"the schema of {label}", notes)


def read_sql(file: Path) -> tuple[Statement, ...]:
    """The statements of a file of the user's. Raises UsageError when it cannot be read, RefusalError with the line for
    what only psql understands."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}.", "Give a file of SQL statements.") from error
    return read_statements(text, file.name)


def read_statements(text: str, source: str) -> tuple[Statement, ...]:
    """The statements of a dump, with the rows of its COPY statements. Raises RefusalError with the line."""
    try:
        pieces = split(text)
    except SplitError as error:
        raise RefusalError(f"{source}:{error.line}: {error.what}.", error.remedy) from error
    statements = to_run(pieces)
    for statement in statements:
        refused = refusal_of(statement, transactional=False)
        if refused is not None and statement.is_copy_from_stdin:
            raise RefusalError(f"{source}:{statement.line}: {refused.what}.", refused.remedy)
    return statements


async def _make_roles(conn: Connection, roles: Sequence[asyncpg.Record], memberships: Sequence[asyncpg.Record]) -> None:
    for role in roles:
        if not await conn.fetchval(sql.ROLE_EXISTS, role["name"], timeout=10):
            statement = sql.CREATE_ROLE.format(
                name=quote_identifier(role["name"]),
                inherits="inherit" if role["inherits"] else "noinherit",
                bypasses="bypassrls" if role["bypasses"] else "nobypassrls",
            )
            await conn.execute(statement, timeout=10)
    for row in memberships:
        statement = sql.GRANT_ROLE.format(role=quote_identifier(row["role"]), member=quote_identifier(row["member"]))
        await conn.execute(statement, timeout=10)


async def _restore(
    conn: Connection,
    statements: Iterable[Statement],
    source: str,
    *,
    on_top: bool,
    missing: Sequence[str] = (),
    admin: Connection | None = None,
) -> tuple[str, ...]:
    """Run a dump statement by statement. What the platform owns may fail and is told; `on_top`: of a bare project,
    which has some of it already. `admin` runs what `conn` may not."""
    left_out: list[str] = []
    broken: list[str] = []
    for statement in statements:
        runs = replace(statement, text=without_reserved(statement.text))
        try:
            if admin is None:
                await run_statement(conn, runs, _DEADLINE_S)
            else:
                await run_as_either(conn, admin, runs)
        except asyncpg.PostgresError as error:
            told = f"{source}:{statement.line}: {error} [{error.sqlstate}]"
            mine = not _of_the_platform(statement) and not (on_top and error.sqlstate in _EXISTS)
            (broken if mine else left_out).append(told)
    if broken:
        lacks = f" The scratch server lacks these extensions: {', '.join(missing)}." if missing else ""
        raise EnvironmentError_(
            f"The start state could not be rebuilt from {source}:\n" + "\n".join(shortened(broken, _MOST_TOLD)),
            f"Prove on a server that can hold it: --scratch-url or --postgres.{lacks}",
        )
    notes = [f"Extension {name} is not on the scratch server; it was left out." for name in missing]
    if left_out:
        notes.append(f"{len(left_out)} statements of the platform's own were left out, the first: {left_out[0]}")
    return tuple(notes)


def _gives_owner(statement: Statement) -> bool:
    """Whether a dump says itself whose each object is."""
    match statement.node:
        case nodes.AlterOwnerStmt():
            return True
        case nodes.AlterTableStmt(cmds=commands):
            kinds = (one.subtype for one in commands if isinstance(one, nodes.AlterTableCmd))
            return any(label("AlterTableType", kind) == "AT_ChangeOwner" for kind in kinds)
    return False


async def run_as_either(conn: Connection, admin: Connection, statement: Statement) -> None:
    """Run it on `conn`, and where its role may not, on `admin`. Raises asyncpg.PostgresError."""
    if isinstance(statement.node, nodes.VariableSetStmt | nodes.SelectStmt):  # how both look for names, for example
        await run_statement(admin, statement, _DEADLINE_S)
    try:
        await run_statement(conn, statement, _DEADLINE_S)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidGrantOperationError):
        await run_statement(admin, statement, _DEADLINE_S)


def _of_the_platform(statement: Statement) -> bool:
    titles = list(_TITLE.finditer(statement.leading))
    if not titles:
        return False
    title = titles[-1]
    if title["type"] in _OF_EXTENSIONS and title["schema"] == "-":
        return True
    return title["schema"] in _TOLERATED or (title["schema"] == "-" and title["name"] in _TOLERATED)
