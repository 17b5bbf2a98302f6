"""Tables: row level security, indexes, statements that hide what happened."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.migrate.lint.reading.facts import CreateTable
from toolkit.migrate.lint.reading.findings import LintFinding, Rule, Severity
from toolkit.migrate.lint.reading.schema import Table
from toolkit.migrate.lint.rules.context import Context

WITHOUT_RLS = Rule(
    "table-without-rls",
    Severity.ERROR,
    "A table of an exposed schema has no row level security",
    "Supabase's default privileges give anon and authenticated every right on it, so whoever holds the public API key "
    "reads and writes all of it, and Realtime sends its changes to everybody.",
    "Enable it in the file that makes the table: `alter table … enable row level security`, then say who may what.",
)
RLS_DISABLED = Rule(
    "rls-disabled",
    Severity.ERROR,
    "Row level security is switched off",
    "The policies stay in the catalog and are not asked any more: the table looks protected and is open to anon.",
    "Leave it on; write a policy for whoever has to get through, or use service_role, which passes it.",
)
WITHOUT_POLICY = Rule(
    "rls-without-policy",
    Severity.INFO,
    "Row level security is on and no policy lets anybody in",
    "Only service_role and the owner see rows. A client gets empty answers and silent subscriptions, not errors.",
    "Write a policy, or say with one that is `using (false)` that it is meant so.",
)
POLICIES_LOST = Rule(
    "policies-lost",
    Severity.WARNING,
    "The last policy of a table is dropped and none takes its place",
    "Row level security stays on, so everybody is locked out from that migration on, without an error anywhere.",
    "Create the policies that replace it in the same file.",
)
REDUNDANT_INDEX = Rule(
    "redundant-index",
    Severity.INFO,
    "An index repeats the beginning of another",
    "Each write pays for both, and the planner needs one of them.",
    "Leave the shorter one out.",
)
IF_NOT_EXISTS = Rule(
    "create-table-if-not-exists",
    Severity.INFO,
    "IF NOT EXISTS passes over a table of another shape",
    "The migration is then recorded as applied while the schema is not the one it describes; indexes, triggers and "
    "policies after it fail or attach to the wrong table.",
    "Leave IF NOT EXISTS out: the runner applies a file once and as a whole, and a rest of an earlier try is told.",
)
RULES = (WITHOUT_RLS, RLS_DISABLED, WITHOUT_POLICY, POLICIES_LOST, REDUNDANT_INDEX, IF_NOT_EXISTS)


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about tables."""
    schema = context.schema
    for table in schema.tables.values():
        if table.name.schema in context.exposed:
            yield from _row_security(context, table)
        yield from _indexes(context, table)
    for name, (enabled, at) in schema.row_security.items():
        if not enabled and name.schema in context.exposed:
            yield RLS_DISABLED.found(at, f"row level security of {name} is switched off")
    for fact in context.facts:
        if isinstance(fact, CreateTable) and fact.if_not_exists and fact.kept:
            yield IF_NOT_EXISTS.found(fact.at, f"{fact.name} may exist in another shape")


def _row_security(context: Context, table: Table) -> Iterator[LintFinding]:
    schema = context.schema
    if table.name not in schema.row_security:
        if context.open_to_clients(table.name) and not schema.may("row level security", table.name):
            yield WITHOUT_RLS.found(table.at, f"{table.name} is open to anon and authenticated")
    elif schema.has_rls(table.name) and table.name in schema.swept:
        yield POLICIES_LOST.found(schema.swept[table.name], f"{table.name} may have no policy left after this loop")
    elif schema.has_rls(table.name) and not schema.policies_of(table.name):
        if table.policy_dropped is not None:
            yield POLICIES_LOST.found(table.policy_dropped, f"{table.name} has row level security and no policy left")
        elif schema.may("policy", table.name, verb="drop"):
            built = next(b for b in schema.dynamic if b.does("policy", verb="drop") and b.concerns(table.name))
            yield POLICIES_LOST.found(built.at, f"{table.name} may have no policy left after this loop")
        elif not schema.may("policy", table.name, verb="create"):
            yield WITHOUT_POLICY.found(table.at, f"{table.name} has no policy")


def _indexes(context: Context, table: Table) -> Iterator[LintFinding]:
    keys = [columns for columns in (table.shape.primary_key, *table.shape.uniques) if columns]
    mine = [i for i in context.schema.indexes if i.table == table.name and i.columns and not i.partial]
    plain = [index for index in mine if index.method == "btree"]
    for position, index in enumerate(plain):
        assert index.columns is not None
        others = [other.columns for n, other in enumerate(plain) if n != position and other.columns is not None]
        # Of two that are the same, the later one is too many.
        longer = [o for o in others if len(o) > len(index.columns)]
        longer += [other.columns for other in plain[:position] if other.columns == index.columns and other.columns]
        for covering in (*keys, *longer):
            if not index.unique and covering[: len(index.columns)] == index.columns:
                what = f"({', '.join(index.columns)}) of {table.name} is the beginning of ({', '.join(covering)})"
                yield REDUNDANT_INDEX.found(index.at, what)
                break
