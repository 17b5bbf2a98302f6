"""Policies: whom they let in, and whether they can be evaluated at all."""

from __future__ import annotations

import re
from collections.abc import Iterator

from toolkit.migrate.lint.reading.code import Code, calls, holds_false, is_true, mentions, relations, selects
from toolkit.migrate.lint.reading.facts import Policy
from toolkit.migrate.lint.reading.findings import LintFinding, Rule, Severity
from toolkit.migrate.lint.reading.names import Name
from toolkit.migrate.lint.rules.context import Context
from toolkit.sql.openness import says_anybody

WITHOUT_ROLE = Rule(
    "policy-without-role",
    Severity.WARNING,
    "A policy names no role",
    "It then holds for PUBLIC, anon included: what was meant for users who are logged in is evaluated for, and may let "
    "in, everybody with the public API key.",
    "Add `to authenticated` (or the role that is meant) to the policy.",
)
OPEN_READ = Rule(
    "policy-true-for-anon",
    Severity.WARNING,
    "A policy shows every row to anon",
    "Everybody with the public API key reads the whole table and may subscribe to all of its changes.",
    "Name the condition, or `to authenticated`. Where the table is public, suppress this with that reason.",
)
OPEN_WRITE = Rule(
    "policy-open-write",
    Severity.ERROR,
    "A policy lets anon or every user write any row",
    "Rows can be forged or destroyed by anybody: completion events, numbers at the end of their range, tasks.",
    "Say whose rows: `with check (user_id = (select auth.jwt() ->> 'sub'))`. Server code uses service_role, which "
    "needs no policy.",
)
OPEN_INSERT = Rule(
    "policy-open-insert",
    Severity.WARNING,
    "A policy lets clients add any row, and says so",
    "It names anon or says `anyone`, or the table has no column for an owner: a form or a count of visits, it seems. "
    "Everybody with the public API key fills the table as long as nothing bounds what one row holds and how many come.",
    "Bound the row in WITH CHECK and in constraints, and the number by a trigger or a function that the API calls.",
)
WITHOUT_CHECK = Rule(
    "policy-write-without-check",
    Severity.INFO,
    "A policy for writes has no WITH CHECK",
    "Postgres applies USING to the new row as well. A reader cannot tell whether that was meant, and whoever widens "
    "USING later widens what may be written.",
    "Repeat the condition in `with check (…)`.",
)
RECURSION = Rule(
    "policy-recursion",
    Severity.ERROR,
    "A policy reads a table whose policies read it in turn",
    "Postgres ends every query of that table, whatever it holds, with `infinite recursion detected in policy`; "
    "Realtime delivers nothing of it.",
    "Put the lookup into a SECURITY DEFINER function with `set search_path = ''` and call that in the policy.",
)
ALL_COLUMNS = Rule(
    "policy-update-all-columns",
    Severity.INFO,
    "Users may update every column of their rows",
    "A policy chooses rows, not columns: sequence numbers, owners and states can be rewritten by the row's owner.",
    "Take UPDATE back and grant it on the columns that are the user's: `grant update (title) on … to authenticated`.",
)
USER_METADATA = Rule(
    "policy-user-metadata",
    Severity.ERROR,
    "A policy trusts user_metadata",
    "Users write their own user_metadata with the public client: whoever wants a right gives it to himself.",
    "Use app_metadata, which only the server writes, or a table.",
)
ROLE_IN_EXPRESSION = Rule(
    "policy-role-in-expression",
    Severity.INFO,
    "A policy compares auth.role() instead of naming its role",
    "It is evaluated for every row and every role, anon included; `to authenticated` is decided once.",
    "Write `to authenticated` and leave the comparison out.",
)
NESTED = Rule(
    "policy-nested-on-published",
    Severity.INFO,
    "The policy of a published table reads a table whose policy reads further",
    "Realtime evaluates it for every change and every subscriber, and each level multiplies the work.",
    "Copy the owner into the published table, or look it up in one SECURITY DEFINER function.",
)
RULES = (
    WITHOUT_ROLE,
    OPEN_READ,
    OPEN_WRITE,
    OPEN_INSERT,
    WITHOUT_CHECK,
    RECURSION,
    ALL_COLUMNS,
    USER_METADATA,
    ROLE_IN_EXPRESSION,
    NESTED,
)
_EVERYBODY = {"anon", "public"}
_WRITES = {"all", "insert", "update", "delete"}
_PEOPLE = {"users", "user", "profiles", "profile", "accounts", "members"}
_OWNER = re.compile(r"user|owner|author|creator|profile|account|member|sender|recipient|customer|_by$")


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about policies."""
    for policy in context.schema.policies.values():
        yield from _scope(policy)
        yield from _open(context, policy)
        yield from _words(policy)
        if _recurses(context, policy):
            what = f"policy {policy.name} of {policy.table} comes back to {policy.table}"
            yield RECURSION.found(policy.at, what)
        elif policy.table in context.schema.members and policy.command in {"all", "select"}:
            yield from _nested(context, policy)
    yield from _columns(context)


def expressions(policy: Policy) -> Code:
    """USING and WITH CHECK together."""
    return (policy.using or ()) + (policy.check or ())


def _scope(policy: Policy) -> Iterator[LintFinding]:
    if not policy.roles:
        yield WITHOUT_ROLE.found(policy.at, f"policy {policy.name} of {policy.table} holds for everybody")
    if policy.command in {"all", "update"} and policy.check is None and policy.using is not None:
        what = f"policy {policy.name} of {policy.table} is for {policy.command.upper()}"
        yield WITHOUT_CHECK.found(policy.at, what)


def _open(context: Context, policy: Policy) -> Iterator[LintFinding]:
    if not policy.permissive:
        return
    roles = set(policy.roles) or {"public"}
    writes = policy.command in _WRITES
    # For INSERT only WITH CHECK counts, for DELETE only USING; an UPDATE without a check uses USING.
    open_write = writes and (is_true(policy.check) or (is_true(policy.using) and (policy.check is None)))
    who = ", ".join(policy.roles) or "everybody"
    if open_write and roles & (_EVERYBODY | {"authenticated"}):
        what = f"policy {policy.name} of {policy.table} is true for {policy.command.upper()} by {who}"
        yield (OPEN_INSERT if _meant(context, policy, roles) else OPEN_WRITE).found(policy.at, what)
    elif policy.command in {"all", "select"} and is_true(policy.using) and roles & _EVERYBODY:
        yield OPEN_READ.found(policy.at, f"policy {policy.name} of {policy.table} shows every row to {who}")


def _meant(context: Context, policy: Policy, roles: set[str]) -> bool:
    """Whether an INSERT of any row is what its author says it is: open."""
    if policy.command != "insert":
        return False
    if "anon" in roles or says_anybody(policy.name):
        return True
    table = context.schema.tables.get(policy.table)
    if "public" in roles or table is None or table.shape.others or not table.shape.columns:
        return False
    owned = {column for key in table.shape.foreign_keys for column in key.columns if key.target.name in _PEOPLE}
    return not owned and not any(_OWNER.search(column.name) for column in table.shape.columns)


def _words(policy: Policy) -> Iterator[LintFinding]:
    code = expressions(policy)
    if mentions(code) & {"user_metadata", "raw_user_meta_data"}:
        yield USER_METADATA.found(
            policy.at, f"policy {policy.name} of {policy.table} reads what users write themselves"
        )
    if any(calls(code, "auth.role")):
        yield ROLE_IN_EXPRESSION.found(policy.at, f"policy {policy.name} of {policy.table} asks auth.role()")


def _reading(context: Context, table: Name, roles: set[str]) -> list[Policy]:
    """Policies that decide a subselect on `table` made under one of these roles."""
    return [
        policy
        for policy in context.schema.policies_of(table)
        if policy.command in {"all", "select"} and _overlap(set(policy.roles), roles)
    ]


def _overlap(some: set[str], others: set[str]) -> bool:
    return not some or not others or "public" in some | others or bool(some & others)


def _recurses(context: Context, policy: Policy) -> bool:
    """Whether evaluating it arrives at its own table again, where Postgres would have to expand policies with
    subselects a second time.

    A function runs a query of its own, in which nothing is expanded yet: a policy for writes comes back to its table
    by its own subselects only, one for reads also through functions, without end.
    """
    roles, reading = set(policy.roles), policy.command in {"all", "select"}
    reads = context.reads if reading else relations
    waiting = sorted(reads((policy.using or ()) if reading else expressions(policy)))
    seen: set[Name] = set()
    while waiting:
        table = waiting.pop()
        if table == policy.table:
            if reading:
                return True
            # Any subselect makes Postgres expand the policy, also `(select auth.uid())`, which reads no table.
            return any(selects(p.using or ()) for p in _reading(context, table, roles))
        if table not in seen:
            seen.add(table)
            for further in _reading(context, table, roles):
                waiting += sorted(reads(further.using or ()))
    return False


def _nested(context: Context, policy: Policy) -> Iterator[LintFinding]:
    roles = set(policy.roles)
    for table in sorted(context.reads(policy.using or ())):
        deeper = [p for p in _reading(context, table, roles) if relations(p.using or ())]
        if deeper and table != policy.table:
            what = f"policy {policy.name} of {policy.table} reads {table}, whose policy {deeper[0].name} reads further"
            yield NESTED.found(policy.at, what)
            return


def _columns(context: Context) -> Iterator[LintFinding]:
    schema = context.schema
    for policy in schema.policies.values():
        roles = set(policy.roles) or {"public"}
        limited = policy.table in schema.column_grants or policy.table in schema.update_revoked
        if (
            policy.command in {"update", "all"}
            and policy.permissive
            and not limited
            and roles & (_EVERYBODY | {"authenticated"})
            and not holds_false(policy.using or ())
        ):
            what = f"policy {policy.name} of {policy.table} says whose rows, not which columns"
            yield ALL_COLUMNS.found(policy.at, what)
