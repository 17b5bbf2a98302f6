"""Drift: a live database against a saved snapshot, or against what its applied migrations give on an empty database."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg

from toolkit.errors import EnvironmentError_, ToolkitError
from toolkit.migrate.catalog import document
from toolkit.migrate.catalog.compare import (
    Comparison,
    compare,
    compare_dumps_of,
    document_of,
    why_no_dump,
    without,
)
from toolkit.migrate.catalog.partitions import made_at_run_time
from toolkit.migrate.folder.files import Folder
from toolkit.migrate.run.api import migrate_status, migrate_up
from toolkit.migrate.run.history import read_history
from toolkit.migrate.run.plan import VersionStatus, as_applied
from toolkit.migrate.scratch.lacks import Lack, lack_of
from toolkit.migrate.scratch.origin import Origin
from toolkit.migrate.scratch.platform import mode_of_database
from toolkit.migrate.scratch.start import Start
from toolkit.postgres.connection import connected
from toolkit.postgres.stand_ins import VERSION
from toolkit.report.record import Check, Verdict, shortened
from toolkit.sql import catalog as sql
from toolkit.sql import scratch as scratch_sql
from toolkit.sql.bodies import run_by
from toolkit.sql.parse import nodes
from toolkit.sql.platform import PLATFORM_SCHEMAS

# Made and changed by the platform, not by migrations; scratch/platform stands for it.
_ROLES = '"?(?:supabase_|dashboard_user|pgbouncer|pgsodium_)'
_EXTENSIONS = (
    '"?(?:plpgsql|pg_stat_statements|uuid-ossp|pgcrypto|pgjwt|pg_graphql|supabase_vault|pgsodium|pg_net|pg_cron)"?$'
)
# Facts outside any schema that the platform sets, by the form of their keys.
_PLATFORM_FACTS = re.compile(
    "|".join(
        (
            "database$",
            "(?:grant|comment) on (?:database|language)",
            "language ",
            "settings of ",
            f"(?:comment on )?extension {_EXTENSIONS}",
            "(?:comment on )?event trigger (?:issue_|pgrst_)",
            r"publication supabase_realtime_messages_publication\b",
            f"default privileges of {_ROLES}",
            f"grant on .* to {_ROLES}",
            # What has no schema before its name is the system's.
            r"grant on (?:table|function|type|row type) [^.(]+(?:\(.*\))? to ",
            r"grant on column [^.(]+\.[^.(]+ to ",
        )
    )
)
# The same in titles of pg_dump's entries.
_PLATFORM_ENTRIES = re.compile(
    "|".join(
        (
            f"EXTENSION: {_EXTENSIONS}",
            f"COMMENT: EXTENSION {_EXTENSIONS}",
            "PROCEDURAL LANGUAGE",
            "ACL: LANGUAGE",
            "EVENT TRIGGER: (?:issue_|pgrst_)",
            "PUBLICATION: supabase_realtime_messages_publication",
            f"DEFAULT ACL.* of {_ROLES}",
            "ACL (?:pg_catalog|information_schema):",
        )
    )
)
# The service makes one a day and drops those of days gone by.
_DAILY_PARTITIONS = re.compile(r"\brealtime\.messages_\d{4}_\d\d_\d\d")
_DEADLINE_S = 60
EMPTY = Origin()
_OTHER_STARTS = (
    "Start where the folder starts (--from FILE, a dump of what was there before it; or --from-database), or on a "
    "server that has what the files need (--postgres, --scratch-url). Or compare with a saved state: "
    "`toolkit migrate snapshot -o FILE`, later `toolkit migrate drift --snapshot FILE`."
)


@dataclass(frozen=True)
class Drift:
    """`comparison` is None where the migrations could not be replayed; then `checks` says why. Before is what should
    be, after what is."""

    comparison: Comparison | None
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()


async def drift_from_file(dsn: str, file: Path, *, positions: bool = False) -> Drift:
    """The live database against a snapshot file, but for the partitions of single days of `realtime.messages`.

    Raises UsageError for the file, and what `document_of` raises.
    """
    saved = without(replace(document.read(file), source=str(file)), _lasts)
    return Drift(compare(saved, without(await document_of(dsn), _lasts), None, positions=positions))


async def drift_from_folder(dsn: str, folder: Folder, *, origin: Origin = EMPTY, dump: bool = True) -> Drift:
    """The live database against the folder's files for the versions that it says are applied, replayed on a scratch
    database that starts at `origin`, without what the platform owns.

    Raises what `document_of`, `origin` and a cluster that does not start raise; a file that fails on the scratch
    database is a result.
    """
    async with connected(dsn) as conn:
        folder = as_applied(folder, await read_history(conn))
    status = await migrate_status(dsn, folder)
    applied = [version for version in status.versions if version.state in {"applied", "edited"}]
    checks = (_history_check(status.versions),)
    everything = await document_of(dsn)
    live = await document_of(dsn, left_out=PLATFORM_SCHEMAS)
    kept = without(live, keep)
    schemas = [name for name in PLATFORM_SCHEMAS if f"schema {name}" in everything.snapshot.facts]
    hidden = len(everything.snapshot.facts) - len(kept.snapshot.facts)
    notes: tuple[str, ...] = (
        f"{hidden} of {len(everything.snapshot.facts)} facts were left out: the platform's schemas "
        f"({', '.join(schemas) or 'none here'}), its extensions, event triggers and languages, privileges on objects "
        "of the system and of its roles, and settings. A snapshot file (--snapshot) leaves out nothing.",
        f"{len(applied)} applied versions were replayed" + (f", up to {applied[-1].version}." if applied else "."),
    )
    major, dumps = live.snapshot.major, None
    try:
        files = folder.only({version.version for version in applied})
        async with _replayed(dsn, files, origin, major) as (replayed_dsn, start):
            if not origin.from_empty:
                notes += (f"They were replayed on {start.described}.", *start.notes)
            expected = without(await document_of(replayed_dsn, left_out=PLATFORM_SCHEMAS), keep)
            expected = replace(expected, source=f"{folder.path}, {len(applied)} versions replayed")
            stand_ins = _stand_ins(expected)
            expected, kept = without(expected, stand_ins.are_not), without(kept, stand_ins.are_not)
            if stand_ins.names:
                notes += (f"Extensions with a stand-in where it was replayed were left out: {stand_ins.told}.",)
            made = made_at_run_time(expected.snapshot.facts, kept.snapshot.facts)
            kept = without(kept, lambda key: not made.has(key))
            if made.tables:
                notes += (
                    f"{len(made.tables)} partitions were made at run time and belong to their parents: "
                    f"{', '.join(shortened(sorted(made.tables), 3))}.",
                )
            why_not = why_no_dump(expected, live)
            if dump and not why_not:
                dumps = await compare_dumps_of(
                    replayed_dsn,
                    dsn,
                    major,
                    left_out=PLATFORM_SCHEMAS,
                    keep=lambda title: (
                        not _PLATFORM_ENTRIES.match(title)
                        and not made.has_entry(title)
                        and stand_ins.are_no_entry(title)
                    ),
                )
    except _NotReplayed as failed:
        return Drift(None, (*checks, failed.check), notes)
    if dump and why_not:
        notes = (*notes, why_not)
    return Drift(compare(expected, kept, dumps), checks, notes)


def keep(key: str) -> bool:
    """Whether a fact is for migrations to make; the others are the platform's."""
    return not _PLATFORM_FACTS.match(key)


def _lasts(key: str) -> bool:
    return not _DAILY_PARTITIONS.search(key)


@dataclass(frozen=True)
class _StandIns:
    """Extensions that are no real ones on one side: their versions and comments mean nothing."""

    names: frozenset[str]

    @property
    def told(self) -> str:
        return ", ".join(sorted(self.names))

    def are_not(self, key: str) -> bool:
        return key.removeprefix("comment on ").removeprefix("extension ") not in self.names

    def are_no_entry(self, title: str) -> bool:
        return title.removeprefix("COMMENT: ").removeprefix("EXTENSION: ").removeprefix("EXTENSION ") not in self.names


def _stand_ins(replayed: document.Document) -> _StandIns:
    extensions = ((key.removeprefix("extension "), fact) for key, fact in replayed.snapshot.facts.items())
    return _StandIns(frozenset(name for name, fact in extensions if f'"{VERSION}"' in fact))


class _NotReplayed(Exception):
    def __init__(self, what: str, lack: Lack | None = None) -> None:
        super().__init__(what)
        self.check = Check(
            "replay",
            "The applied migrations run on the state that they start from",
            Verdict.UNKNOWN,
            f"{what}; {lack.basis}" if lack is not None else what,
            lack.remedy if lack is not None else _OTHER_STARTS,
        )


@asynccontextmanager
async def _replayed(live_dsn: str, folder: Folder, origin: Origin, major: int) -> AsyncIterator[tuple[str, Start]]:
    """The address of a scratch database on which the migrations of this folder ran, and where it started."""
    wanted = replace(await origin.wanted(folder), like=major)
    if origin.mode is None:
        async with connected(live_dsn) as live:
            wanted = replace(wanted, mode=await mode_of_database(live) or wanted.mode)
    async with origin.server(wanted) as scratch:
        start = await origin.start(scratch, wanted.mode)
        dsn = scratch.dsn(start.template)
        async with connected(dsn) as conn, connected(live_dsn) as live:
            if await live.fetchval(scratch_sql.IS_SUPERUSER, timeout=_DEADLINE_S):
                await scratch.migrate_as_superuser()
            # Policies and grants name roles; those belong to the cluster and most are in no migration.
            made = _roles_made(folder)
            there = {row["name"] for row in await conn.fetch(sql.ROLE_NAMES, timeout=_DEADLINE_S)}
            for row in await live.fetch(sql.ROLE_NAMES, timeout=_DEADLINE_S):
                if row["name"] not in there | made:
                    name = row["name"].replace('"', '""')
                    await conn.execute(sql.CREATE_ROLE.format(name=name), timeout=_DEADLINE_S)
        if folder.migrations:
            await _apply(dsn, folder)
        yield dsn, start


def _roles_made(folder: Folder) -> set[str]:
    """Roles that the files themselves create."""
    statements = (statement for migration in folder.migrations for statement in migration.up.statements)
    made = (node for statement in statements if statement.tree is not None for node in run_by(statement.tree))
    return {node.role for node in made if isinstance(node, nodes.CreateRoleStmt)}


async def _apply(dsn: str, folder: Folder) -> None:
    try:
        result = await migrate_up(dsn, folder, include_all=True)
    except EnvironmentError_:
        raise
    except (ToolkitError, asyncpg.PostgresError) as error:
        raise _NotReplayed(getattr(error, "what", str(error))) from error
    failure = next((step.failure for step in result.steps if step.failure is not None), None)
    if failure is not None:
        async with connected(dsn) as conn:
            raise _NotReplayed(str(failure), await lack_of(conn, failure))


def _history_check(versions: tuple[VersionStatus, ...]) -> Check:
    troubles = [
        f"{version.version} {version.name} is {version.state.replace('_', ' ')}: {version.detail}"
        for version in versions
        if version.state in {"edited", "missing_locally", "interrupted"}
    ]
    return Check.of_lines(
        "history",
        "Every applied version has its file, as it ran",
        troubles,
        detail="what these versions did to the database is not what was replayed" if troubles else "",
        remedy="See `toolkit migrate status`; get the file as it ran, or repair the history.",
    )
