"""Whether the files, applied in the order of their versions, find what they need."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.migrate.lint.reading.facts import AlterTable, CreateIndex, CreateTable, Drop, Fact, Policy, Rename, Trigger
from toolkit.migrate.lint.reading.findings import At, LintFinding, Rule, Severity
from toolkit.migrate.lint.reading.names import Name
from toolkit.migrate.lint.rules.context import Context

TOO_EARLY = Rule(
    "used-before-created",
    Severity.ERROR,
    "A statement needs a table that is created only after it",
    "A fresh database cannot be built from this folder: the replay ends here with 42P01.",
    "Move it behind the statement that creates the table, or give its file a later version.",
)
CREATED_TWICE = Rule(
    "created-twice",
    Severity.ERROR,
    "A table is created twice",
    "The second CREATE TABLE fails with 42P07, or, with IF NOT EXISTS, does nothing while columns that the first has "
    "not are believed to be there.",
    "Change the table that exists with ALTER TABLE.",
)
RULES = (TOO_EARLY, CREATED_TWICE)


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about the order of files."""
    made: dict[Name, At] = {}
    for fact in context.facts:
        if isinstance(fact, CreateTable) and fact.kept:
            made.setdefault(fact.name, fact.at)
    known: set[Name] = set()
    told: set[Name] = set()
    for fact in context.facts:
        if isinstance(fact, CreateTable) and fact.kept:
            if fact.name in known and fact.name in made and not _gone(context, fact):
                missed = _missed(context, fact)
                if missed or not fact.if_not_exists:
                    without = f", without {', '.join(missed)}" if missed else ""
                    yield CREATED_TWICE.found(fact.at, f"{fact.name} was created at {made[fact.name]}{without}")
            known.add(fact.name)
        elif isinstance(fact, AlterTable) and fact.action in {"rename to", "set schema"}:
            new = Name(fact.subject, fact.name.name) if fact.action == "set schema" else None
            known.add(new or Name(fact.name.schema, fact.subject))
        elif isinstance(fact, Rename):
            known.add(Name(fact.name.schema, fact.new))
        for table in _needs(fact):
            if table in made and table not in known | told:
                told.add(table)
                yield TOO_EARLY.found(fact.at, f"{table} is created at {made[table]}, which applies later")


def _needs(fact: Fact) -> Iterator[Name]:
    """The tables that must be there before this statement."""
    if isinstance(fact, AlterTable) and not fact.if_exists:
        yield fact.name
    elif isinstance(fact, Policy | CreateIndex | Trigger):
        yield fact.table
    if isinstance(fact, AlterTable | CreateTable):
        yield from (key.target for key in fact.shape.foreign_keys)
    if isinstance(fact, CreateTable) and fact.partition_of is not None:
        yield fact.partition_of


def _missed(context: Context, again: CreateTable) -> list[str]:
    """The columns of the second CREATE that the table has not got by then, as far as the folder tells."""
    has: set[str] = set()
    for fact in context.facts:
        if fact is again:
            break
        if isinstance(fact, CreateTable | AlterTable) and fact.name == again.name:
            if fact.shape.others or (isinstance(fact, AlterTable) and fact.action.startswith("rename")):
                return []
            has |= {column.name for column in fact.shape.columns}
    return [column.name for column in again.shape.columns if column.name not in has]


def _gone(context: Context, again: CreateTable) -> bool:
    """Whether something between the first and this CREATE takes the table away."""
    for fact in context.facts:
        if fact is again:
            return False
        if isinstance(fact, Drop) and (
            (fact.kind == "table" and again.name in fact.names)
            or (fact.kind == "schema" and again.name.schema in {name.name for name in fact.names})
        ):
            return True
        moved = isinstance(fact, AlterTable) and fact.action in {"rename to", "set schema"}
        if moved and isinstance(fact, AlterTable) and fact.name == again.name:
            return True
    return False
