"""Rollbacks: whether there is one, whether it takes back what the migration made, and what it destroys unasked."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.migrate.lint.reading.facts import (
    AlterTable,
    Create,
    CreateIndex,
    CreateTable,
    Drop,
    DropPolicy,
    Dynamic,
    EnumValue,
    Fact,
    Function,
    Policy,
    Publication,
    Rename,
    Trigger,
    View,
)
from toolkit.migrate.lint.reading.findings import At, LintFinding, Rule, Severity
from toolkit.migrate.lint.reading.names import Name
from toolkit.migrate.lint.reading.sources import Source
from toolkit.migrate.lint.rules.context import REALTIME, Context

MISSING = Rule(
    "rollback-missing",
    Severity.WARNING,
    "A migration has no rollback",
    "When it goes wrong in production there is nothing to run, and `supabase migration down` resets the database: it "
    "drops every schema and all rows.",
    "Write rollbacks/<same file name>; the Supabase CLI does not look there.",
)
INCOMPLETE = Rule(
    "rollback-incomplete",
    Severity.ERROR,
    "A rollback leaves something that its migration made",
    "The schema is not what it was: applying the migration again fails at `already exists`, and a trigger that stays "
    "behind without its table fails every write.",
    "Drop it in the rollback, in the reverse order of the migration.",
)
CASCADE = Rule(
    "rollback-cascade",
    Severity.ERROR,
    "A rollback drops with CASCADE",
    "What others built on the object since (views, policies, foreign keys) is gone without being named anywhere.",
    "Drop what depends on it by name, first; an error then tells what was forgotten.",
)
IF_EXISTS = Rule(
    "rollback-if-exists",
    Severity.WARNING,
    "A rollback passes over what is not there",
    "IF EXISTS turns a misspelt name into success: the object stays and the rollback is recorded as done.",
    "Leave IF EXISTS out. Outside a transaction, where a rollback may go on after an interruption, it is right.",
)
UNDECLARED = Rule(
    "rollback-destroys-undeclared",
    Severity.ERROR,
    "A rollback destroys what its header does not declare",
    "The rows would be gone without an export; `toolkit migrate down` takes such a rollback back.",
    "Declare it in the header: `-- destroys: table NAME` or `-- destroys: columns TABLE (A, B)`.",
)
DECLARED_ONLY = Rule(
    "rollback-declares-too-much",
    Severity.WARNING,
    "A rollback declares a table that it does not drop",
    "Whoever reads the plan believes the rows lost, and an export is made for nothing.",
    "Take the line out of the header, or drop the table.",
)
ENUM_VALUE = Rule(
    "enum-value-stays",
    Severity.WARNING,
    "A value is added to an enum, and Postgres cannot take one away",
    "The rollback either leaves it or has to make the type anew under every column that uses it.",
    "Make the type anew in the rollback, or keep states in a text column with a CHECK.",
)
RULES = (MISSING, INCOMPLETE, CASCADE, IF_EXISTS, UNDECLARED, DECLARED_ONLY, ENUM_VALUE)
_Object = tuple[str, str, Name | None]  # kind, what it is called, the table it hangs on


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about rollbacks."""
    if not context.folder.rollbacks:
        names = f"none of its {len(context.folder.ups)} migrations can be taken back"
        yield MISSING.found(At("", 0), names)
    for up in context.folder.ups:
        rollback = context.folder.rollbacks.get(up.name)
        if rollback is None:
            if context.folder.rollbacks:
                yield MISSING.found(At(up.file, 1), f"there is no rollbacks/{up.name}")
            continue
        if rollback.statements:
            yield from _incomplete(context, up, rollback)
        yield from _enum_values(up, rollback)
    for rollback in context.folder.rollbacks.values():
        yield from _habits(rollback)
        yield from _destroyed(rollback)


def _habits(rollback: Source) -> Iterator[LintFinding]:
    for fact in rollback.facts:
        if isinstance(fact, Drop) and fact.cascade:
            names = ", ".join(str(name) for name in fact.names)
            yield CASCADE.found(fact.at, f"drop {fact.kind} {names} takes along whatever depends on it")
        hidden = isinstance(fact, Drop | DropPolicy | AlterTable) and fact.if_exists
        if hidden and rollback.transactional:
            yield IF_EXISTS.found(fact.at, "a name that is wrong would not be noticed")


def _made(up: Source) -> dict[_Object, At]:
    """What a migration makes and has at its end."""
    made: dict[_Object, At] = {}
    for fact in up.facts:
        for thing in _makes(fact):
            made[thing] = fact.at
        for thing in _takes(fact):
            for known in [known for known in made if _same(known, thing)]:
                del made[known]
        if isinstance(fact, AlterTable) and fact.action == "rename to":
            renamed = {thing: at for thing, at in made.items() if thing[:2] == ("table", str(fact.name))}
            for thing, at in renamed.items():
                del made[thing]
                made["table", str(Name(fact.name.schema, fact.subject)), None] = at
    return made


def _makes(fact: Fact) -> Iterator[_Object]:
    match fact:
        case CreateTable() if fact.kept:
            yield "table", str(fact.name), fact.partition_of
        case AlterTable(action="add column") if fact.subject:
            yield "column", fact.subject, fact.name
        case AlterTable(action="add constraint") if fact.subject:
            yield "constraint", fact.subject, fact.name
        case CreateIndex() if fact.name is not None:
            yield "index", str(fact.name), fact.table
        case Function():
            yield "function", str(fact.name), None
        case View():
            yield "view", str(fact.name), None
        case Trigger():
            yield "trigger", fact.name, fact.table
        case Policy():
            yield "policy", fact.name, fact.table
        case Create() if fact.kind not in {"extension", "aggregate", "collation", "server", "statistics"}:
            yield fact.kind, fact.name.name if fact.kind == "schema" else str(fact.name), None
        # That of Realtime is there in every project; a file that creates it has dropped it first, which is told.
        case Publication(action="create") if fact.name != REALTIME:
            yield "publication", fact.name, None
        case Publication(action="add"):
            for table in fact.tables:
                yield "published table", str(table), table


_KINDS = {"materialized view": "view", "procedure": "function", "routine": "function"}


def _takes(fact: Fact) -> Iterator[_Object]:
    match fact:
        case Drop():
            kind = _KINDS.get(fact.kind, fact.kind)
            for name in fact.names:
                plain = kind in {"schema", "publication"} or fact.on is not None
                yield kind, name.name if plain else str(name), fact.on
        case DropPolicy():
            yield "policy", fact.name, fact.table
        case AlterTable(action="drop column"):
            yield "column", fact.subject, fact.name
        case AlterTable(action="drop constraint"):
            yield "constraint", fact.subject, fact.name
        case Publication(action="drop"):
            for table in fact.tables:
                yield "published table", str(table), table
        case Publication(action="gone"):
            yield "publication", fact.name, None


def _same(made: _Object, taken: _Object) -> bool:
    """Whether taking one away takes the other: the same thing, or what hangs on a table, a column, a schema."""
    kind, name, table = made
    if taken[:2] == (kind, name) and (taken[2] == table or kind in {"index", "published table"} or taken[2] is None):
        return True
    if taken[0] == "table" and table is not None and str(table) == taken[1]:
        return True
    if taken[0] == "schema":
        return name.startswith(f"{taken[1]}.") or (table is not None and table.schema == taken[1])
    if taken[0] == "publication" and kind == "published table":
        return True
    return taken[0] == "domain" and kind == "type" and taken[1] == name


def _incomplete(context: Context, up: Source, rollback: Source) -> Iterator[LintFinding]:
    taken = [thing for fact in rollback.facts for thing in _takes(fact)]
    again = {thing[:2] for fact in rollback.facts for thing in _makes(fact)}
    built = [fact for fact in rollback.facts if isinstance(fact, Dynamic)]
    moved = {str(f.name) for f in rollback.facts if isinstance(f, Rename | AlterTable) and _renames(f)}
    earlier = _before(context, up)
    made = _made(up)
    for kind, name, parent in made:
        if kind == "table" and parent is not None and any(_same((kind, name, parent), other) for other in taken):
            taken.append((kind, name, None))  # a partition goes with its parent, and takes along what hangs on it
    for thing, at in made.items():
        kind, name, table = thing
        if any(_same(thing, other) for other in taken) or name in moved:
            continue
        if thing[:2] in again or (kind in {"function", "view"} and thing[:2] in earlier and thing[:2] in again):
            continue
        if any(dynamic.concerns(Name("", name.rpartition(".")[2])) and dynamic.does("drop") for dynamic in built):
            continue
        if table is not None and _goes_with_a_column(thing, table, up, taken):
            continue
        on = f" on {table}" if table is not None and kind not in {"published table", "index"} else ""
        hint = "; it writes on, and fails once its tables are gone" if kind == "trigger" else ""
        what = f"{kind} {name}{on} (made at {at}) is not taken back{hint}"
        yield INCOMPLETE.found(At(rollback.file, 1), what)


def _goes_with_a_column(thing: _Object, table: Name, up: Source, taken: list[_Object]) -> bool:
    """Whether it is an index or a constraint that Postgres drops with a column the rollback drops. What an expression
    or a CHECK is about is not read here: such a one is given the benefit of the doubt."""
    dropped = {name for kind, name, of in taken if kind == "column" and of == table}
    if not dropped or thing[0] not in {"index", "constraint"}:
        return False
    for fact in up.facts:
        if (
            isinstance(fact, CreateIndex)
            and thing[:2] == ("index", str(fact.name))
            and fact.columns
            and not fact.partial
        ):
            return bool(dropped & set(fact.columns))
        if isinstance(fact, AlterTable) and fact.action == "add constraint" and fact.subject == thing[1]:
            shape = fact.shape
            keys = [shape.primary_key, *shape.uniques, *(key.columns for key in shape.foreign_keys)]
            columns = {column for key in keys for column in key}
            return not columns or bool(dropped & columns)
    return True


def _renames(fact: Fact) -> bool:
    return isinstance(fact, Rename) or (isinstance(fact, AlterTable) and fact.action in {"rename to", "set schema"})


def _before(context: Context, up: Source) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for source in context.folder.ups:
        if source is up:
            break
        found |= {thing[:2] for fact in source.facts for thing in _makes(fact)}
    return found


def _destroyed(rollback: Source) -> Iterator[LintFinding]:
    if rollback.script is None:
        return  # its header cannot be read; that is told
    declared = rollback.script.destroys
    tables = {entry.table for entry in declared if entry.whole_table}
    columns = {(entry.table, column) for entry in declared for column in entry.columns}
    made_here = {f"{f.name.schema}.{f.name.name}" for f in rollback.facts if isinstance(f, CreateTable)}
    dropped: set[str] = set()
    for fact in rollback.facts:
        if isinstance(fact, Drop) and fact.kind == "table":
            for name in fact.names:
                table = f"{name.schema}.{name.name}"
                dropped.add(table)
                if table not in tables and table not in made_here:
                    yield UNDECLARED.found(fact.at, f"table {name} is dropped and not declared")
        elif isinstance(fact, AlterTable) and fact.action == "drop column":
            table = f"{fact.name.schema}.{fact.name.name}"
            if table not in tables and (table, fact.subject) not in columns and table not in made_here:
                yield UNDECLARED.found(fact.at, f"column {fact.name}.{fact.subject} is dropped and not declared")
    schemas = {name.name for f in rollback.facts if isinstance(f, Drop) and f.kind == "schema" for name in f.names}
    if any(isinstance(fact, Dynamic) for fact in rollback.facts):
        return
    for table in sorted(tables - dropped):
        if table.split(".")[0] not in schemas:
            yield DECLARED_ONLY.found(At(rollback.file, 1), f"table {table} is declared and not dropped")


def _enum_values(up: Source, rollback: Source) -> Iterator[LintFinding]:
    made = {fact.name for fact in (*up.facts, *rollback.facts) if isinstance(fact, Create) and fact.kind == "type"}
    dropped = {name for f in rollback.facts if isinstance(f, Drop) and f.kind == "type" for name in f.names}
    for fact in up.facts:
        if isinstance(fact, EnumValue) and fact.type not in made | dropped:
            yield ENUM_VALUE.found(fact.at, f"{fact.type} keeps {fact.value!r} after the rollback")
