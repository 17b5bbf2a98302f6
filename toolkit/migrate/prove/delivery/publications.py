"""What is published, read from the catalog, and a pure comparison of two states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from toolkit.postgres.connection import Connection
from toolkit.report.record import shortened
from toolkit.sql import prove_delivery as sql

_DEADLINE_S = 60
_NEEDS_KEY = frozenset({"UPDATE", "DELETE"})


@dataclass(frozen=True)
class Publication:
    """A publication; `operations` are those of INSERT, UPDATE, DELETE and TRUNCATE that it publishes."""

    oid: int
    name: str
    operations: frozenset[str]
    via_root: bool
    every_table: bool


@dataclass(frozen=True)
class Member:
    """A table as one publication publishes it. `table` is `schema.name`, unquoted.

    `columns` are sent, of all that are `present`; `identity`: the columns of the old row that a change carries, empty:
    none; `large`: columns that an UPDATE which does not change them may leave out.
    """

    publication: str
    table: str
    oid: int
    columns: tuple[str, ...]
    present: tuple[str, ...]
    identity: tuple[str, ...]
    row_filter: str | None = None
    large: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """Everything published in a state. `tables`: oid → name of every user table; `roots`: table → the partitioned table
    it is part of, itself when it is none; `triggers`: (table, trigger) → why it does not fire, "" when it does."""

    publications: Mapping[str, Publication]
    members: Mapping[tuple[str, str], Member]
    tables: Mapping[int, str]
    roots: Mapping[str, str]
    triggers: Mapping[tuple[str, str], str]

    @property
    def written(self) -> tuple[str, ...]:
        """The tables to write to so that every member gets changes: partitioned tables instead of their partitions."""
        return tuple(sorted({self.root(table) for _, table in self.members}))

    def root(self, table: str) -> str:
        """The table that rows of `table` are written to."""
        return self.roots.get(table, table)

    def names(self, publication: str, written: str) -> frozenset[str]:
        """The names under which changes of a table that is written to arrive."""
        return frozenset(
            m.table for (p, _), m in self.members.items() if p == publication and self.root(m.table) == written
        )

    def publishes(self, publication: str, written: str, operation: str) -> bool:
        """Whether that operation on that table is to arrive through the publication."""
        known = self.publications.get(publication)
        return known is not None and operation in known.operations and bool(self.names(publication, written))

    def filtered(self, publication: str, written: str) -> bool:
        """Whether a row filter decides what arrives."""
        return any(self.members[publication, name].row_filter for name in self.names(publication, written))


@dataclass(frozen=True)
class Violation:
    """A violation with what to do about it."""

    text: str
    remedy: str


@dataclass(frozen=True)
class Compared:
    """The result of a comparison: violations, which break delivery, and notes."""

    violations: tuple[Violation, ...]
    notes: tuple[str, ...]


async def read_published(conn: Connection) -> Published:
    """Read the state as it is now."""
    publications = {
        row["name"]: Publication(
            row["oid"], row["name"], frozenset(row["operations"]), row["via_root"], row["every_table"]
        )
        for row in await conn.fetch(sql.PUBLICATIONS, timeout=_DEADLINE_S)
    }
    members = {}
    for row in await conn.fetch(sql.MEMBERS, timeout=_DEADLINE_S):
        table = f"{row['schema']}.{row['name']}"
        members[row["publication"], table] = Member(
            row["publication"],
            table,
            row["oid"],
            tuple(row["columns"] or ()),
            tuple(row["present"]),
            tuple(row["identity"]),
            row["row_filter"],
            tuple(row["large"]),
        )
    found = await conn.fetch(sql.TABLES, timeout=_DEADLINE_S)
    tables = {row["oid"]: f"{row['schema']}.{row['name']}" for row in found}
    roots = {tables[row["oid"]]: tables.get(row["root"], tables[row["oid"]]) for row in found}
    triggers = {
        (f"{row['schema']}.{row['name']}", row["trigger"]): row["silence"]
        for row in await conn.fetch(sql.SILENT_TRIGGERS, timeout=_DEADLINE_S)
    }
    return Published(publications, members, tables, roots, triggers)


def compare(
    wanted: Published,
    now: Published,
    *,
    previous: Published | None = None,
    dropped_by_design: frozenset[str] | None = None,
) -> Compared:
    """What of `wanted` is no longer published, or published differently, in `now`.

    `wanted` is the state before the migration, also for a rollback; `previous` is the state in which the file began:
    what it replaces is an interruption, even when the names are back. `dropped_by_design`: the tables whose loss a
    rollback declares; None: every dropped table is dropped on purpose.
    """
    previous = previous or wanted
    violations = [*_publications(wanted, now, previous), *_silenced(previous, now)]
    notes: list[str] = []
    for key, before in wanted.members.items():
        if key[0] not in now.publications:
            continue
        after = now.members.get(key)
        if after is None:
            violation = _missing(before, wanted, now, dropped_by_design)
            if violation is None:
                notes.append(f"{key[1]} is dropped, and whoever listened to it hears nothing more")
            else:
                violations.append(violation)
        else:
            violations += _narrowed(before, after)
    replaced: list[Violation] = []
    for key, after in now.members.items():
        violations += _without_key(wanted.members.get(key), after, now.publications[key[0]], notes)
        earlier = previous.members.get(key)
        if earlier is not None and earlier.oid != after.oid:
            replaced.append(_replaced(after))
    joined = sorted({table for key in now.members.keys() - previous.members.keys() for table in key[1:]})
    left = previous.members.keys() - now.members.keys()
    violations += replaced
    if joined or left or replaced:
        what = f"{', '.join(joined)} joined" if joined else "the list of published tables changed"
        notes.append(
            f"{what}: Realtime reads the list every 60 s and, when it changed, drops all subscriptions; clients "
            "subscribe anew"
        )
    notes += _large(now, joined)
    return Compared(tuple(dict.fromkeys(violations)), tuple(dict.fromkeys(notes)))


def _publications(wanted: Published, now: Published, previous: Published) -> Iterator[Violation]:
    for name, before in wanted.publications.items():
        after = now.publications.get(name)
        if after is None:
            yield Violation(
                f"publication {name} is gone: nothing of what it published is delivered any more",
                f"Never drop {name}; take single tables out with `alter publication {name} drop table …`.",
            )
            continue
        if narrower := sorted(before.operations - after.operations):
            yield Violation(
                f"publication {name} no longer publishes {', '.join(narrower)}",
                f"Run `alter publication {name} set (publish = '{', '.join(sorted(before.operations)).lower()}')`.",
            )
        if before.every_table and not after.every_table:
            yield Violation(
                f"publication {name} published every table, and those to come; now it has a list",
                f"Recreate it nowhere: keep {name} `for all tables`, or announce the change to whoever subscribes.",
            )
    for name, earlier in previous.publications.items():
        if name in now.publications and now.publications[name].oid != earlier.oid:
            yield Violation(
                f"publication {name} was dropped and made anew (oid {earlier.oid} → {now.publications[name].oid}): "
                "what reads it stops, and every subscriber is thrown out",
                f"Change it in place: `alter publication {name} add table …`, `… drop table …` or `… set (…)`.",
            )


def _silenced(previous: Published, now: Published) -> Iterator[Violation]:
    for (table, trigger), silence in now.triggers.items():
        if silence and not previous.triggers.get((table, trigger)):
            yield Violation(
                f"trigger {trigger} on {table} is {silence}: what it writes or publishes stays out",
                "Enable it again before the file ends: `alter table … enable trigger …`.",
            )


def _missing(
    before: Member, wanted: Published, now: Published, dropped_by_design: frozenset[str] | None
) -> Violation | None:
    table, publication = before.table, before.publication
    again = f"Run `alter publication {publication} add table {table}` in the same file."
    if table in now.roots:
        others = sorted(now.names(publication, now.root(table)))
        if others:
            return Violation(
                f"{table} is published as {', '.join(shortened(others, 3))} now: whoever listens to {table} hears "
                "nothing",
                f"Keep publish_via_partition_root of {publication} as it was.",
            )
        return Violation(f"{table} left publication {publication}: its changes are delivered no longer", again)
    if before.oid in now.tables:
        return Violation(
            f"{table} is called {now.tables[before.oid]} now: whoever listens to {table} hears nothing",
            "Keep the name; offer the new one as a view, or change it together with every subscriber.",
        )
    if dropped_by_design is None or table in dropped_by_design or wanted.root(table) in dropped_by_design:
        return None
    return Violation(
        f"{table} was published before the migration and is gone after the rollback, which does not declare it",
        f"Make the table again and publish it, or declare `-- destroys: table {table}` in the rollback's header.",
    )


def _narrowed(before: Member, after: Member) -> Iterator[Violation]:
    name = f"{after.table} in {after.publication}"
    if after.row_filter is not None and after.row_filter != before.row_filter:
        yield Violation(
            f"{name} has the row filter {after.row_filter} now: rows it does not let through are never delivered",
            "Leave the publication's rows whole, and let subscribers filter.",
        )
    hidden = [column for column in before.columns if column not in after.columns and column in after.present]
    if hidden:
        yield Violation(
            f"{name} is published without {', '.join(hidden)} now",
            f"Publish {after.table} without a list of columns, or with all of them.",
        )
    gone = [c for c in before.identity if c not in after.identity and c in after.present]
    if gone and after.identity:
        yield Violation(
            f"{after.table}: an UPDATE or DELETE no longer tells the old {', '.join(gone)} (replica identity changed); "
            "filters on them miss it",
            f"Set the replica identity back: `alter table {after.table} replica identity …`.",
        )


def _without_key(
    before: Member | None, after: Member, publication: Publication, notes: list[str]
) -> Iterator[Violation]:
    hurt = sorted(publication.operations & _NEEDS_KEY, reverse=True)
    if not hurt:
        return
    remedy = f"Give {after.table} a primary key, or `alter table {after.table} replica identity full`."
    if not after.identity:
        text = (
            f"{after.table} is published in {after.publication} and has no replica identity: "
            f"{' and '.join(hurt)} fail with 55000"
        )
        if before is not None and not before.identity:
            notes.append(f"{text}; it was so before. {remedy}")
        else:
            yield Violation(text, remedy)
        return
    uncovered = [c for c in after.identity if c not in after.columns]
    if uncovered and (before is None or set(before.identity) <= set(before.columns)):
        yield Violation(
            f"the columns of {after.table} that {after.publication} publishes leave out {', '.join(uncovered)} of its "
            f"replica identity: {' and '.join(hurt)} fail with 42P10",
            f"Add {', '.join(uncovered)} to the list of columns, or publish {after.table} without a list.",
        )


def _replaced(after: Member) -> Violation:
    return Violation(
        f"{after.table} in {after.publication} is another relation than before (a copy took its name): what is bound "
        "to the old one, subscriptions among them, is cut off",
        "Change the table in place; a copy under the old name is another table to everything but SQL.",
    )


def _large(now: Published, joined: list[str]) -> Iterator[str]:
    """Only for newly published tables, since the others had these columns before."""
    for (publication, table), member in now.members.items():
        columns = [column for column in member.large if column in member.columns and column not in member.identity]
        if table in joined and columns and "UPDATE" in now.publications[publication].operations:
            some = ", ".join(shortened(columns, 4))
            yield f"{table}: an UPDATE that leaves {some} alone does not carry the value when it is large (TOAST)"
