"""Digests of a database's state, cheap to take and to compare: after a crash it must equal one of two digests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import asyncpg

from toolkit.migrate.catalog import CatalogMemory, Snapshot, diff, reading, take_snapshot
from toolkit.migrate.catalog.tables import user_tables
from toolkit.migrate.row_comparison.table_digests import digest_tables, digest_whole_tables
from toolkit.postgres.connection import Connection, connected
from toolkit.sql import prove_crash as sql

_DEADLINE_S = 120
_AT_ONCE = 100
_ROWS = "rows of "
# Facts that come and go with a table or view, and so are listed after it.
_OF_SOMETHING = ("column", "grant on", "comment on", "not-null constraint")
_COUNT = "number of rows of "


@dataclass(frozen=True)
class StateDigest:
    """The state of a database at one moment.

    `parts`: count and digest of each table's rows, history rows, journal, successes in the ledger. `positions`: the
    next value of each sequence, in the direction it counts. `ledger`: the length of the ledger, failures included.
    `uncertain`: keys of facts and parts that differ between two runs of one file on equal databases (the time of day, a
    random number, an advanced sequence), and so are not compared.
    """

    facts: Snapshot
    digest: str
    parts: Mapping[str, str]
    positions: Mapping[str, int]
    ledger: int
    uncertain: frozenset[str] = frozenset()

    @property
    def uncertain_tables(self) -> tuple[str, ...]:
        """Tables whose rows differ from run to run, which are then compared column by column."""
        return tuple(sorted(key.removeprefix(_ROWS) for key in self.uncertain if key.startswith(_ROWS)))

    @property
    def passed_over(self) -> tuple[str, ...]:
        """Readable names of what is not compared."""
        return tuple(sorted(key for key in self.uncertain if not key.startswith((_ROWS, _COUNT))))


async def digest_state(
    dsn: str,
    known: StateDigest | None = None,
    digest: str = "",
    closer: Iterable[str] = (),
    memory: CatalogMemory | None = None,
) -> StateDigest:
    """Take the digest of a database, for the tables `closer` column by column.

    `digest`: the digest of the catalog that the runner has just read; when it is that of `known`, the catalog is not
    read again. `memory`: see `take_snapshot`.
    """
    async with connected(dsn, "toolkit migrate prove: crash") as conn:
        same = known is not None and digest == known.digest
        facts = known.facts if same and known is not None else await take_snapshot(conn, memory=memory)
        tables = await user_tables(conn)
        async with reading(conn):
            parts = {**await _rows(conn, tables), **await _history(conn)}
            positions = await _positions(conn)
            has_ledger = await conn.fetchval(sql.HAS_LEDGER, timeout=10)
            ledger = await conn.fetchval(sql.LEDGER_LENGTH, timeout=10) if has_ledger else 0
        for table, found in (await digest_tables(conn, [name for name in closer if name in tables])).items():
            parts |= {f"values of {table}.{column}": value for column, value in found.columns.items()}
    return StateDigest(facts, digest if same else facts.digest(), parts, positions, ledger)


async def advance_sequences(dsn: str) -> None:
    """Advance every sequence by one, as an interrupted run may have done; one that is at its end stays there."""
    async with connected(dsn, "toolkit migrate prove: crash") as conn:
        for row in await conn.fetch(sql.SEQUENCES, timeout=30):
            try:
                await conn.fetchval(sql.ADVANCE, row["quoted"], timeout=10)
            except asyncpg.SequenceGeneratorLimitExceededError:
                continue


def common(one: StateDigest, other: StateDigest) -> StateDigest:
    """What is equal after two runs of one file on equal databases; what differs becomes uncertain. Pure."""
    uncertain = {difference.key for difference in diff(one.facts, other.facts)}
    uncertain |= {key for key in one.parts.keys() | other.parts.keys() if one.parts.get(key) != other.parts.get(key)}
    return replace(one, uncertain=frozenset(uncertain))


def differences(expected: StateDigest, now: StateDigest) -> tuple[str, ...]:
    """A line for each difference from the expected digest. A sequence that is further on is no difference, since a
    drawn number is never given back. Pure."""
    found: list[str] = []
    if expected.digest != now.digest:
        changes = [each for each in diff(expected.facts, now.facts) if each.key not in expected.uncertain]
        found += map(str, sorted(changes, key=lambda change: change.key.startswith(_OF_SOMETHING)))
    for key in sorted(expected.parts.keys() | now.parts.keys()):
        old, new = expected.parts.get(key), now.parts.get(key)
        counted = key.startswith(_COUNT) and _ROWS + key.removeprefix(_COUNT) not in expected.uncertain
        if old != new and key not in expected.uncertain and not counted:
            found.append(_worded(key, old, new))
    found += [
        f"sequence {name} goes on at {abs(now.positions[name])}, before it was {abs(position)}: setval is not undone "
        "by a rollback, and numbers may be given twice"
        for name, position in sorted(expected.positions.items())
        if name in now.positions and now.positions[name] < position
    ]
    return tuple(found)


def _worded(key: str, old: str | None, new: str | None) -> str:
    if old is None or new is None:
        return f"{'added' if old is None else 'removed'}: {key}"
    if key.startswith(_COUNT):
        return f"{key}: {old} → {new}"
    if key.startswith(_ROWS):
        before, after = old.split(":")[0], new.split(":")[0]
        return f"{key}: {before} → {after}" if before != after else f"{key}: the same number, {after}, but other values"
    return f"changed: {key}"


async def _rows(conn: Connection, tables: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for table, (rows, digest) in (await digest_whole_tables(conn, tables)).items():
        found[f"{_ROWS}{table}"] = f"{rows}:{digest}"
        found[f"{_COUNT}{table}"] = str(rows)
    return found


async def _history(conn: Connection) -> dict[str, str]:
    found: dict[str, str] = {}
    for exists, query in ((sql.HAS_HISTORY, sql.HISTORY), (sql.HAS_LEDGER, sql.LEDGER)):
        if await conn.fetchval(exists, timeout=10):
            found |= {row["part"]: row["value"] for row in await conn.fetch(query, timeout=30)}
    return found


async def _positions(conn: Connection) -> dict[str, int]:
    sequences = await conn.fetch(sql.SEQUENCES, timeout=30)
    found = {}
    for start in range(0, len(sequences), _AT_ONCE):
        some = sequences[start : start + _AT_ONCE]
        query = sql.ALL_OF.join(
            sql.POSITION.format(number=number, sequence=row["quoted"]) for number, row in enumerate(some)
        )
        for row in await conn.fetch(query, timeout=_DEADLINE_S):
            step = some[row["number"]]["increment"]
            goes_on = row["last"] + (step if row["called"] else 0)
            found[some[row["number"]]["name"]] = goes_on if step > 0 else -goes_on
    return found
