"""Two catalogs side by side, each a file or a database: by our facts, and by pg_dump where that is possible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from toolkit.errors import EnvironmentError_
from toolkit.migrate.catalog.document import Document
from toolkit.migrate.catalog.facts import Difference, Snapshot, diff
from toolkit.migrate.catalog.oracles import disagreements
from toolkit.migrate.catalog.pg_dump import DumpDifference, compare_dumps, dump_schema
from toolkit.migrate.catalog.take import take_snapshot
from toolkit.migrate.catalog.versions import align
from toolkit.postgres.connection import connected, redact
from toolkit.redact import redact as mask
from toolkit.report.record import tool_version

LARGE_OBJECT = "large object"


@dataclass(frozen=True)
class Dumps:
    """What pg_dump says: entries that differ, what it writes of each side; or why it could not be asked."""

    differences: tuple[DumpDifference, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Comparison:
    """What was found. `dumps` is None where pg_dump was not to be asked. `unmodelled`: (kind, name, where) of objects
    that only one side has and of which nothing more is known."""

    before: Document
    after: Document
    differences: tuple[Difference, ...]
    dumps: Dumps | None
    disagreements: tuple[str, ...]
    unmodelled: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Neither oracle sees a difference."""
        return not (self.differences or self.unmodelled or (self.dumps is not None and self.dumps.differences))


async def document_of(dsn: str, *, left_out: Sequence[str] = ()) -> Document:
    """A complete snapshot of a database, taken now.

    Raises what `connect` and `take_snapshot` raise, and EnvironmentError_ when the database stops answering.
    """
    async with connected(dsn) as conn:
        version = conn.get_server_version()
        try:
            snapshot = await take_snapshot(conn, complete=True, left_out=left_out)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:  # TimeoutError is an OSError
            raise EnvironmentError_(
                f"{redact(dsn)} did not let its catalog be read: {mask(str(error)) or type(error).__name__}.",
                "If another session holds a lock for long (a migration under way), wait for it; then try again.",
            ) from error
    taken_at = datetime.now(UTC).replace(microsecond=0)
    return Document(snapshot, redact(dsn), f"{version.major}.{version.micro}", tool_version(), taken_at)


async def compare_dumps_of(
    before_dsn: str,
    after_dsn: str,
    major: int,
    *,
    left_out: Sequence[str] = (),
    pg_dump: Path | None = None,
    keep: Callable[[str], bool] = lambda _: True,
) -> Dumps:
    """Both databases by one pg_dump, one that reads servers of `major`; only entries whose title `keep` accepts."""
    try:
        first, second = await asyncio.gather(
            *(dump_schema(dsn, pg_dump, server_major=major, left_out=left_out) for dsn in (before_dsn, after_dsn))
        )
    except EnvironmentError_ as error:
        return Dumps(problem=f"{error.what} {error.remedy}")
    return Dumps(tuple(difference for difference in compare_dumps(first, second) if keep(difference.title)))


def why_no_dump(before: Document, after: Document) -> str:
    """Why pg_dump cannot be the second opinion on these two; empty when it can."""
    one, other = before.snapshot.major, after.snapshot.major
    if one == other:
        return ""
    # It repeats what the servers say, and servers of two versions word one schema differently.
    return f"pg_dump was not asked: it repeats the words of the servers, and Postgres {one} and {other} choose others."


def compare(before: Document, after: Document, dumps: Dumps | None, *, positions: bool = False) -> Comparison:
    """The verdict of both oracles. Pure. `dumps` None: only our facts are asked."""
    one, other = before.snapshot, after.snapshot
    differences = diff(one, other, positions=positions)
    notes = align(one.facts, other.facts, one.major, other.major).notes
    asked = dumps is not None and not dumps.problem
    parted = disagreements(differences, dumps.differences) if dumps is not None and asked else ()
    return Comparison(before, after, differences, dumps, parted, _one_sided(one, other), notes)


def _one_sided(before: Snapshot, after: Snapshot) -> tuple[tuple[str, str, str], ...]:
    """Objects without facts that only one side has. Large objects are data, and extensions speak for their members."""
    first, second = (
        {
            (one.kind, name)
            for one in side.unmodelled or ()
            if one.kind not in {LARGE_OBJECT, "member of extension"}
            for name in (one.names or (f"{one.count} of them",))
        }
        for side in (before, after)
    )
    return tuple(sorted([(*one, "before") for one in first - second] + [(*one, "after") for one in second - first]))


def without(document: Document, keep: Callable[[str], bool]) -> Document:
    """The document with only the facts whose key `keep` accepts."""
    snapshot = document.snapshot
    facts = {key: fact for key, fact in snapshot.facts.items() if keep(key)}
    return replace(document, snapshot=replace(snapshot, facts=facts))
