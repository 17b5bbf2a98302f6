"""Triggers and functions that write events: numbering, rights, size, and what stops a write that has nothing to do
with events."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.migrate.lint.reading.code import (
    Code,
    calls,
    deletes,
    inserts,
    is_call,
    is_true,
    mentions,
    operator,
    unwrapped,
)
from toolkit.migrate.lint.reading.facts import Policy, Trigger, Write
from toolkit.migrate.lint.reading.findings import At, LintFinding, Rule, Severity
from toolkit.migrate.lint.reading.names import Name
from toolkit.migrate.lint.reading.schema import Routine, references_to
from toolkit.migrate.lint.rules.context import Context
from toolkit.sql.bodies import Body
from toolkit.sql.parse import AstNode, nodes, strings

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


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about triggers and the bodies of functions."""
    for routine in context.schema.functions.values():
        for line in _max_plus_one(routine.function.body.pieces):
            yield MAX_PLUS_ONE.found(At(routine.function.at.file, line), f"{routine.label} numbers by max + 1")
        yield from _deletes(context, routine)
        yield from _conflicts(context, routine)
    for trigger in context.schema.triggers.values():
        routine_ = context.schema.functions.get((trigger.function, ()))
        if routine_ is not None:
            yield from _trigger(context, trigger, routine_)
    yield from _backfills(context)


def _max_plus_one(code: Code) -> Iterator[int]:
    """Lines with `max(x) + 1`, also as `coalesce(max(x), 0) + 1`."""
    for piece in code:
        for sum_ in piece.find(nodes.A_Expr):
            if operator(sum_) != "+":
                continue
            for number, one in ((sum_.lexpr, sum_.rexpr), (sum_.rexpr, sum_.lexpr)):
                match one:
                    case nodes.A_Const(val=nodes.Integer(ival=1)) if (call := _maximum(number)) is not None:
                        yield piece.line(call.location)


def _maximum(node: AstNode | None) -> nodes.FuncCall | None:
    match node:
        case nodes.FuncCall() if is_call(node, "max"):
            return node
        case nodes.CoalesceExpr(args=[first, *_]):
            return _maximum(first)
        case nodes.TypeCast(arg=value):
            return _maximum(value)
        case nodes.SubLink(subselect=nodes.SelectStmt(target_list=[nodes.ResTarget(val=value)])):
            return _maximum(value)
    return None


def _deletes(context: Context, routine: Routine) -> Iterator[LintFinding]:
    code = routine.function.body.pieces
    words = mentions(code)
    for table, line in deletes(code):
        for child, key in references_to(context.schema, table):
            if not key.on_delete and not key.deferred and child.name.name not in words:
                at = At(routine.function.at.file, line)
                yield DELETE_BLOCKED.found(at, f"{routine.label} deletes from {table}, to which {child.name} refers")


def _conflicts(context: Context, routine: Routine) -> Iterator[LintFinding]:
    for piece, statement, name in inserts(routine.function.body.pieces):
        table = context.schema.tables.get(name)
        match statement.on_conflict_clause:
            case nodes.OnConflictClause(infer=nodes.InferClause() as target):
                wanted = _columns(target)
            case _:
                continue
        if table is None or table.shape.others or not wanted:
            continue
        unique = [set(columns) for columns in (table.shape.primary_key, *table.shape.uniques) if columns]
        indexes = [i for i in context.schema.indexes if i.table == name and i.unique]
        if any(i.columns is None for i in indexes):
            continue  # an index with an expression or an order: it may be the one
        unique += [set(i.columns) for i in indexes if i.columns]
        if wanted not in unique and not context.schema.may("unique", name):
            columns = ", ".join(sorted(wanted))
            at = At(routine.function.at.file, piece.line(target.location))
            yield ON_CONFLICT.found(at, f"{routine.label}: no unique key of {name} is ({columns})")


def _columns(target: nodes.InferClause) -> set[str]:
    """The columns of `on conflict (…)`; none where it names something else than columns."""
    plain = [one for one in target.index_elems if isinstance(one, nodes.IndexElem) and one.name and not one.collation]
    return {one.name for one in plain} if len(plain) == len(target.index_elems) else set()


def _trigger(context: Context, trigger: Trigger, routine: Routine) -> Iterator[LintFinding]:
    schema, code, at = context.schema, routine.function.body.pieces, trigger.at
    inserted = list(dict.fromkeys(name for _, _, name in inserts(code)))
    for child in inserted:
        keys = [key for table, key in references_to(schema, trigger.table) if table.name == child and not key.deferred]
        on_insert = any(name == child for _, _, name in inserts(routine.function.body.run_for("insert")))
        if trigger.timing == "before" and "insert" in trigger.events and keys and on_insert:
            yield BEFORE_CHILD.found(at, f"{trigger.name} writes {child}, which refers to {trigger.table}")
        if not routine.definer and child != trigger.table and schema.has_rls(child):
            yield from _as_caller(context, trigger, child)
    if inserted or any(calls(code, "pg_notify", "realtime.send")):
        yield from _whole_row(context, trigger, routine)


def _as_caller(context: Context, trigger: Trigger, child: Name) -> Iterator[LintFinding]:
    """Whether the policies of `child` leave a caller without a right to write, or only with one that is open to all."""
    allowed = [p for p in context.schema.policies_of(child) if p.permissive and p.command in {"all", "insert"}]
    what = f"{trigger.name} inserts into {child} as whoever changed {trigger.table}"
    # Roles that bypass row security need no policy; of the others every one that may change the table has to be let in.
    changing = [p for p in context.schema.policies_of(trigger.table) if p.permissive and _fires(trigger, p)]
    named = {role for p in changing for role in p.roles or ("public",)} - _BYPASSING
    # A policy without a role is mostly meant for those who are signed in.
    callers = {"authenticated" if role == "public" else role for role in named}
    lacking = sorted(
        role for role in callers if not any({role, "public"} & set(p.roles or ("public",)) for p in allowed)
    )
    if not allowed:
        yield AS_CALLER.found(trigger.at, what)
    elif lacking:
        yield AS_CALLER.found(trigger.at, f"{what}, and no policy of {child} lets {', '.join(lacking)} insert")
    elif all(is_true(p.check if p.check is not None else p.using) for p in allowed):
        names = ", ".join(p.name for p in allowed)
        yield AS_CALLER.found(trigger.at, f"{what}: it works only while {names} lets everybody write")


def _fires(trigger: Trigger, policy: Policy) -> bool:
    return policy.command == "all" or policy.command in trigger.events


_BYPASSING = frozenset({"service_role", "postgres", "supabase_admin"})


def _whole_row(context: Context, trigger: Trigger, routine: Routine) -> Iterator[LintFinding]:
    code, file = routine.function.body.pieces, routine.function.at.file
    table = context.schema.tables.get(trigger.table)
    wide = {c.name for c in table.shape.columns if c.type in {"json", "jsonb"}} if table is not None else set()
    for call, line in calls(code, "to_jsonb", "to_json", "row_to_json"):
        if [_row(argument) for argument in call.args] in (["new"], ["old"]):
            what = f"{routine.label} puts the whole row of {trigger.table} into what it writes"
            yield WHOLE_ROW.found(At(file, line), what)
            return
    for call, line in calls(code, *_BUILDERS):
        for column in (part for argument in call.args for part in _operands(argument)):
            match strings(column.fields):
                case ("new", name) if name in wide:
                    what = f"{routine.label} puts {trigger.table}.{name} into what it writes"
                    yield WHOLE_ROW.found(At(file, line), what)
                    return


_BUILDERS = ("jsonb_build_object", "json_build_object", "jsonb_build_array", "json_build_array")


_SENDERS = ("pg_notify", "realtime.send", "net.http_post")


def _stamps(body: Body, code: Code) -> bool:
    """Whether a BEFORE trigger writes the time, or a new number, into the row that is changed."""
    values = tuple(piece for target, piece in body.assigned if target.startswith("new") and piece in code)
    return any(calls(values, *_EVER_NEW)) or any(True for piece in values for _ in piece.find(nodes.SQLValueFunction))


_EVER_NEW = ("now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "timezone", "nextval")


def _row(node: AstNode) -> str:
    """The variable that stands for a whole row."""
    parts = strings(node.fields) if isinstance(node, nodes.ColumnRef) else ()
    return parts[0] if len(parts) == 1 else ""


def _operands(node: AstNode | None) -> Iterator[nodes.ColumnRef]:
    """The columns of an expression that no function changes first."""
    match unwrapped(node):
        case nodes.ColumnRef() as column:
            yield column
        case nodes.TypeCast(arg=value):
            yield from _operands(value)
        case nodes.A_Expr(lexpr=left, rexpr=right):
            yield from _operands(left)
            yield from _operands(right)


def _backfills(context: Context) -> Iterator[LintFinding]:
    for source in context.folder.ups:
        armed: dict[tuple[Name, str], Trigger] = {}
        for fact in source.facts:
            if isinstance(fact, Trigger):
                for event in fact.events:
                    armed.setdefault((fact.table, event), fact)
            elif isinstance(fact, Write) and fact.verb in {"update", "delete"} and (fact.table, fact.verb) in armed:
                trigger = armed[fact.table, fact.verb]
                routine = context.schema.functions.get((trigger.function, ()))
                body = routine.function.body if routine is not None else Body()
                code = body.run_for(fact.verb)
                stamped = trigger.timing == "before" and fact.verb == "update" and _stamps(body, code)
                if body.performs or any(inserts(code)) or any(calls(code, *_SENDERS)) or stamped:
                    what = f"{fact.verb} of {fact.table} fires {trigger.name} for every row it changes"
                    yield BACKFILL.found(fact.at, what)
