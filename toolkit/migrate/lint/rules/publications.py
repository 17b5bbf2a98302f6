"""Publications and replica identity: whether Realtime sees every change, before, during and after."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.migrate.lint.reading.facts import AlterTable, Create, Fact, Publication
from toolkit.migrate.lint.reading.findings import LintFinding, Rule, Severity
from toolkit.migrate.lint.reading.names import Name
from toolkit.migrate.lint.reading.schema import Table
from toolkit.migrate.lint.reading.sources import Source
from toolkit.migrate.lint.rules.context import REALTIME, Context

RECREATED = Rule(
    "publication-recreated",
    Severity.ERROR,
    "The publication that Realtime reads is dropped",
    "Every subscription ends or falls silent, tables that others published are lost, and the new publication has "
    "another OID, at which Realtime deletes all subscriptions.",
    "Change its members: `alter publication supabase_realtime add table …` or `drop table …`.",
)
DROPPED = Rule(
    "publication-dropped",
    Severity.WARNING,
    "A publication is dropped",
    "Whoever reads it stops at an error, and its members are gone with it.",
    "Change its members with ALTER PUBLICATION; drop it only in the rollback of the file that made it.",
)
ALL_TABLES = Rule(
    "publication-all-tables",
    Severity.ERROR,
    "A publication covers tables that nobody named",
    "Every table to come is published, sessions and secrets among them; one without a key then refuses updates; and "
    "Realtime pays for each change.",
    "Name the tables: `for table …`.",
)
SET_TABLE = Rule(
    "publication-set-table",
    Severity.ERROR,
    "SET TABLE replaces the members of the publication",
    "Tables that are not in the list, those added in the dashboard among them, fall silent for their subscribers.",
    "Use ADD TABLE and DROP TABLE for what changes.",
)
OPERATIONS = Rule(
    "publication-without-operations",
    Severity.ERROR,
    "A publication leaves out inserts, updates or deletes",
    "Clients that subscribed to them get nothing and no error.",
    "Write `publish = 'insert, update, delete'`, or leave the option out.",
)
MEMBER_DROPPED = Rule(
    "publication-member-dropped",
    Severity.WARNING,
    "A published table is taken out of the publication",
    "Its subscribers stay joined and hear nothing any more.",
    "Do it when no client subscribes to it, and say so in a suppression.",
)
REPLACED = Rule(
    "published-table-replaced",
    Severity.ERROR,
    "A table takes the name of a published one and is not published",
    "A publication holds tables, not names: after the swap it holds the old one or none, and subscribers hear nothing.",
    "Add the new table in the same file: `alter publication supabase_realtime add table …`.",
)
IDENTITY_FULL = Rule(
    "replica-identity-full",
    Severity.WARNING,
    "Replica identity FULL writes the whole old row into the log",
    "Each update and delete doubles in size, wide columns are fetched from TOAST for it, and a change above Realtime's "
    "limit arrives trimmed.",
    "Keep the primary key; put what a client must know of the old row into an event.",
)
IDENTITY_NOTHING = Rule(
    "replica-identity-nothing",
    Severity.ERROR,
    "Replica identity NOTHING",
    "As soon as a publication with updates or deletes holds the table, both fail with 55000.",
    "Keep the default, which is the primary key.",
)
WITHOUT_KEY = Rule(
    "published-without-key",
    Severity.ERROR,
    "A published table has no primary key",
    "Updates and deletes of it fail with 55000, because the log cannot say which row they mean.",
    "Give it a primary key before it is published.",
)
RULES = (
    RECREATED,
    DROPPED,
    ALL_TABLES,
    SET_TABLE,
    OPERATIONS,
    MEMBER_DROPPED,
    REPLACED,
    IDENTITY_FULL,
    IDENTITY_NOTHING,
    WITHOUT_KEY,
)
_NEEDED = ("insert", "update", "delete")


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about publications, in migrations and in rollbacks."""
    members: dict[str, set[Name]] = {}
    for number, source in enumerate(context.folder.ups):
        made: set[str] = set()
        # In the first file of a folder a project is new: nobody subscribes to what is made anew there.
        anew = {one.name for one in source.facts if isinstance(one, Publication) and one.action == "create"}
        for fact in source.facts:
            if isinstance(fact, Publication):
                yield from _statement(fact, members, made, fresh=number == 0 and fact.name in anew)
    for source in context.folder.rollbacks.values():
        made = _made_by(context, source)
        for fact in source.facts:
            if isinstance(fact, Publication) and fact.action in {"gone", "set", "options", "create"}:
                yield from _statement(fact, members, made)
    for source in context.folder.sources:
        for fact in source.facts:
            if isinstance(fact, AlterTable) and fact.action == "replica identity nothing":
                yield IDENTITY_NOTHING.found(fact.at, f"{fact.name} tells nobody which row changed")
    for table in context.schema.tables.values():
        yield from _identity(context, table)
    for fact in context.facts:
        if _sets_full(fact) and isinstance(fact, AlterTable) and fact.name not in context.schema.tables:
            yield IDENTITY_FULL.found(fact.at, f"{fact.name} sends whole old rows")
    yield from _replaced(context)


def _made_by(context: Context, rollback: Source) -> set[str]:
    up = next((source for source in context.folder.ups if source.name == rollback.name), None)
    facts: tuple[Fact, ...] = up.facts if up is not None else ()
    return {fact.name for fact in facts if isinstance(fact, Publication) and fact.action == "create"} | {
        fact.name.name for fact in facts if isinstance(fact, Create) and fact.kind == "publication"
    }


def _statement(
    fact: Publication, members: dict[str, set[Name]], made: set[str], *, fresh: bool = False
) -> Iterator[LintFinding]:
    known = members.setdefault(fact.name, set())
    if fact.operations is not None and (missing := [o for o in _NEEDED if o not in fact.operations]):
        yield OPERATIONS.found(fact.at, f"{fact.name} does not publish {' and '.join(missing)}")
    if fact.action == "create":
        made.add(fact.name)
        if fact.all_tables:
            yield ALL_TABLES.found(fact.at, f"{fact.name} holds whatever there is")
        known |= set(fact.tables)
    elif fact.action == "add":
        known |= set(fact.tables)
    elif fact.action == "drop":
        for table in fact.tables:
            yield MEMBER_DROPPED.found(fact.at, f"{table} leaves {fact.name}")
        known -= set(fact.tables)
    elif fact.action == "set":
        lost = ", ".join(str(table) for table in sorted(known - set(fact.tables)))
        yield SET_TABLE.found(fact.at, f"{fact.name} loses {lost or 'every table that is not in the list'}")
        members[fact.name] = set(fact.tables)
    elif fact.action == "gone" and fact.name not in made:
        rule = RECREATED if fact.name == REALTIME and (known or not fresh) else DROPPED
        held = ", ".join(str(table) for table in sorted(known)) or "whatever it holds"
        yield rule.found(fact.at, f"{fact.name} goes, with {held}")
        members[fact.name] = set()


def _sets_full(fact: Fact) -> bool:
    return isinstance(fact, AlterTable) and fact.action == "replica identity full"


def _identity(context: Context, table: Table) -> Iterator[LintFinding]:
    kind, at = table.identity or ("default", table.at)
    if kind == "full":
        yield IDENTITY_FULL.found(at, f"{table.name} sends whole old rows")
    published = context.schema.members.get(table.name)
    if published is None or kind in {"full", "index", "nothing"} or table.shape.others:
        return
    if not table.shape.primary_key:
        yield WITHOUT_KEY.found(published, f"{table.name} is published and has no primary key")


def _replaced(context: Context) -> Iterator[LintFinding]:
    schema = context.schema
    for name, at in schema.lost.items():
        table = schema.tables.get(name)
        if table is not None and name not in schema.members and not schema.may("publication", name, verb="alter"):
            where = table.at if table.name == name else at
            yield REPLACED.found(where, f"{name} was published (line {at.line} of {at.file}) and is not any more")
