"""Triggers and functions that write events: numbering, rights, size, and what stops a write that has nothing to do
with events."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.migrate.lint.reading.facts import Trigger, Write
from toolkit.migrate.lint.reading.findings import At, Hit, Rule, Severity
from toolkit.migrate.lint.reading.reader import Name, Reader, has
from toolkit.migrate.lint.reading.schema import Routine, references_to
from toolkit.migrate.lint.reading.tokens import Tokens
from toolkit.migrate.lint.rules.context import Context

MAX_PLUS_ONE = Rule(
    "max-plus-one-numbering",
    Severity.ERROR,
    "The next number is computed as max + 1",
    "Two transactions compute the same number: one fails, and with it the change it was part of. After a clean-up of "
    "the newest rows numbers are given out again, and clients that remember the last one never see the new rows.",
    "Keep one counter row for each series and take the number with `update … set last = last + 1 returning last`.",
)
BEFORE_CHILD = Rule(
    "before-insert-writes-child",
    Severity.ERROR,
    "A BEFORE INSERT trigger writes a row that refers to the one being inserted",
    "That row is not there yet: the foreign key fails (23503), and with it every insert into the table.",
    "Make the trigger AFTER INSERT.",
)
AS_CALLER = Rule(
    "trigger-writes-as-caller",
    Severity.WARNING,
    "A trigger writes a protected table with the rights of whoever changed the row",
    "A user who may change the row and not write the other table is refused, or sees only a part of it and computes "
    "the wrong thing.",
    "Make the function SECURITY DEFINER with `set search_path = ''`, or let the server alone write the table.",
)
WHOLE_ROW = Rule(
    "whole-row-in-event",
    Severity.WARNING,
    "A trigger copies a whole row, or a JSON column of it, into an event",
    "Each event is as large as the row: a 50 kB context makes 50 kB events, pg_notify refuses above 8 kB, and Realtime "
    "trims what is above its limit.",
    "Write identifiers and what changed; clients read the row when they need it.",
)
BACKFILL = Rule(
    "backfill-fires-trigger",
    Severity.WARNING,
    "Rows are changed after the trigger on them was made",
    "The trigger fires for every old row: events of processes that ended long ago, and new timestamps on them.",
    "Change the rows first, or not at all; create the trigger at the end of the file.",
)
DELETE_BLOCKED = Rule(
    "delete-blocked-by-foreign-key",
    Severity.WARNING,
    "A clean-up deletes rows that others refer to",
    "The first row that is referred to ends the whole clean-up with 23503.",
    "Leave such rows out (`not exists (…)`), or give the foreign key an ON DELETE action.",
)
ON_CONFLICT = Rule(
    "on-conflict-without-key",
    Severity.ERROR,
    "ON CONFLICT names columns that no unique key covers",
    "Postgres refuses the statement each time it runs (42P10), which is when the function is called, not when it is "
    "made.",
    "Create the unique constraint on exactly these columns, or name those of one that exists.",
)
RULES = (MAX_PLUS_ONE, BEFORE_CHILD, AS_CALLER, WHOLE_ROW, BACKFILL, DELETE_BLOCKED, ON_CONFLICT)


def look(context: Context) -> Iterator[Hit]:
    """Findings about triggers and the bodies of functions."""
    for routine in context.schema.functions.values():
        body = routine.function.body
        for line in _max_plus_one(body):
            yield Hit(MAX_PLUS_ONE, At(routine.function.at.file, line), f"{routine.label} numbers by max + 1")
        yield from _deletes(context, routine)
        yield from _conflicts(context, routine)
    for trigger in context.schema.triggers.values():
        routine_ = context.schema.functions.get((trigger.function, ()))
        if routine_ is not None:
            yield from _trigger(context, trigger, routine_)
    yield from _backfills(context)


def _max_plus_one(body: Tokens) -> Iterator[int]:
    """Lines with `max(x) + 1`, also as `coalesce(max(x), 0) + 1`."""
    for position, token in enumerate(body):
        if not (token.is_name and token.text == "max") or position + 1 >= len(body) or not body[position + 1].mark("("):
            continue
        reader = Reader(body)
        reader.at = position + 1
        reader.parens()
        if reader.mark(","):  # the other arguments of coalesce(…) around it
            while reader.next is not None and not reader.next.mark(")"):
                reader.at += 1
        while reader.mark(")"):
            pass
        if reader.mark("+") and reader.next is not None and reader.next.text == "1":
            yield token.line


def _written(body: Tokens, verb: str, second: str) -> Iterator[tuple[Name, int]]:
    """Tables behind `insert into` or `delete from`, with the position behind the name."""
    for position in range(len(body) - 2):
        if body[position].word(verb) and body[position + 1].word(second):
            reader = Reader(body)
            reader.at = position + 2
            reader.one_of("only")
            if (name := reader.name()) is not None:
                yield name, reader.at


def _deletes(context: Context, routine: Routine) -> Iterator[Hit]:
    body = routine.function.body
    words = {token.text for token in body if token.is_name}
    for table, position in _written(body, "delete", "from"):
        for child, key in references_to(context.schema, table):
            if not key.on_delete and not key.deferred and child.name.name not in words:
                at = At(routine.function.at.file, body[position - 1].line)
                yield Hit(DELETE_BLOCKED, at, f"{routine.label} deletes from {table}, to which {child.name} refers")


def _conflicts(context: Context, routine: Routine) -> Iterator[Hit]:
    body = routine.function.body
    for table_name, position in _written(body, "insert", "into"):
        table = context.schema.tables.get(table_name)
        end = next((n for n in range(position, len(body)) if body[n].mark(";")), len(body))
        reader = Reader(body[position:end])
        if table is None or table.shape.others or not reader.seek("on", "conflict"):
            continue
        inside = reader.parens()
        if not inside or not all(t.is_name or t.mark(",") for t in inside) or any(t.word("collate") for t in inside):
            continue
        wanted = {token.text for token in inside if token.is_name}
        unique = [set(columns) for columns in (table.shape.primary_key, *table.shape.uniques) if columns]
        indexes = [i for i in context.schema.indexes if i.table == table_name and i.unique]
        if any(i.columns is None for i in indexes):
            continue  # an index with an expression or an order: it may be the one
        unique += [set(i.columns) for i in indexes if i.columns]
        if wanted not in unique and not context.schema.may("unique", table_name):
            at = At(routine.function.at.file, inside[0].line)
            columns = ", ".join(sorted(wanted))
            yield Hit(ON_CONFLICT, at, f"{routine.label}: no unique key of {table_name} is ({columns})")


def _trigger(context: Context, trigger: Trigger, routine: Routine) -> Iterator[Hit]:
    schema, body, at = context.schema, routine.function.body, trigger.at
    inserted = list(dict.fromkeys(name for name, _ in _written(body, "insert", "into")))
    for child in inserted:
        keys = [key for table, key in references_to(schema, trigger.table) if table.name == child and not key.deferred]
        # With further events the body may tell them apart by tg_op.
        told_apart = trigger.events != ("insert",) and has(body, "tg_op")
        if trigger.timing == "before" and "insert" in trigger.events and keys and not told_apart:
            yield Hit(BEFORE_CHILD, at, f"{trigger.name} writes {child}, which refers to {trigger.table}")
        if not routine.definer and child != trigger.table and schema.has_rls(child):
            writers = [p for p in schema.policies_of(child) if p.command in {"all", "insert"}]
            if not writers:
                what = f"{trigger.name} inserts into {child} as whoever changed {trigger.table}"
                yield Hit(AS_CALLER, at, what)
    if inserted or _calls_out(body):
        yield from _whole_row(context, trigger, routine)


def _calls_out(body: Tokens) -> bool:
    return any(token.word("pg_notify") for token in body) or any(
        token.word("realtime") and position + 2 < len(body) and body[position + 2].word("send")
        for position, token in enumerate(body)
    )


def _whole_row(context: Context, trigger: Trigger, routine: Routine) -> Iterator[Hit]:
    body = routine.function.body
    table = context.schema.tables.get(trigger.table)
    wide = {c.name for c in table.shape.columns if c.type in {"json", "jsonb"}} if table is not None else set()
    for position in range(len(body) - 2):
        token, after = body[position], body[position + 1]
        at = At(routine.function.at.file, token.line)
        whole = token.word("to_jsonb", "to_json", "row_to_json") and after.mark("(")
        whole = whole and body[position + 2].word("new", "old")
        if whole and position + 3 < len(body) and body[position + 3].mark(")"):
            yield Hit(WHOLE_ROW, at, f"{routine.label} puts the whole row of {trigger.table} into what it writes")
            return
        if token.word("new") and after.mark(".") and body[position + 2].text in wide and _in_json(body, position):
            what = f"{routine.label} puts {trigger.table}.{body[position + 2].text} into what it writes"
            yield Hit(WHOLE_ROW, at, what)
            return


def _in_json(body: Tokens, position: int) -> bool:
    """Whether it is an argument of a function that builds JSON."""
    depth = 0
    for n in range(position - 1, 0, -1):
        token = body[n]
        depth += token.mark(")") - token.mark("(")
        if depth < 0:
            return body[n - 1].word("jsonb_build_object", "json_build_object", "jsonb_build_array", "json_build_array")
        if token.mark(";"):
            return False
    return False


def _backfills(context: Context) -> Iterator[Hit]:
    for source in context.folder.ups:
        armed: dict[tuple[Name, str], Trigger] = {}
        for fact in source.facts:
            if isinstance(fact, Trigger):
                for event in fact.events:
                    armed.setdefault((fact.table, event), fact)
            elif isinstance(fact, Write) and fact.verb in {"update", "delete"} and (fact.table, fact.verb) in armed:
                trigger = armed[fact.table, fact.verb]
                routine = context.schema.functions.get((trigger.function, ()))
                body = routine.function.body if routine is not None else ()
                if trigger.timing == "after" and (any(_written(body, "insert", "into")) or has(body, "perform")):
                    what = f"{fact.verb} of {fact.table} fires {trigger.name} for every row it changes"
                    yield Hit(BACKFILL, fact.at, what)
