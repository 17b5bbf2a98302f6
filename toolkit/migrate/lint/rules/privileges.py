"""Grants: what anon and PUBLIC are given."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from toolkit.migrate.lint.reading import for_anon
from toolkit.migrate.lint.reading.code import Code
from toolkit.migrate.lint.reading.facts import DefaultPrivileges, Policy, Privileges
from toolkit.migrate.lint.reading.findings import LintFinding, Rule, Severity
from toolkit.migrate.lint.reading.names import Name
from toolkit.migrate.lint.rules.context import Context

WRITE_ANON = Rule(
    "grant-write-to-anon",
    Severity.ERROR,
    "anon is granted a right to write where no policy stands in between",
    "Everybody with the public API key then writes any row: row level security is off, a policy for anon is `true`, or "
    "a view writes with its owner's rights.",
    "Grant it to authenticated or service_role instead, or switch row level security on.",
)
PERHAPS_WRITE_ANON = Rule(
    "grant-write-to-anon-unjudged",
    Severity.WARNING,
    "anon is granted a right to write, and what stands in between is not known",
    "A table that the folder does not make may have no row level security, and a policy that holds for anon may be "
    "true for many rows: everybody with the public API key writes those.",
    "Grant it to authenticated or service_role instead. Where clients without a login are meant, suppress this with "
    "that reason.",
)
BEHIND_POLICIES = Rule(
    "grant-to-anon-behind-policies",
    Severity.INFO,
    "anon is granted rights that only policies limit",
    "Row level security is on and no policy can be true for anon, so it selects, inserts, updates and deletes no row. "
    "TRUNCATE, REFERENCES and TRIGGER ask no policy; the platform gives them to anon by default, and the Data API "
    "has no request for them. The next policy without a role opens the table to everybody with the public API key.",
    "Grant it to authenticated or service_role instead; where clients without a login are meant, leave it.",
)
SELECT_ANON = Rule(
    "grant-select-to-anon",
    Severity.WARNING,
    "anon is granted SELECT",
    "Everybody with the public API key reads what the policies let through, and may subscribe to its changes.",
    "Grant it to authenticated. Where the table is public, suppress this with that reason.",
)
EXECUTE_ANON = Rule(
    "grant-definer-to-anon",
    Severity.WARNING,
    "anon is granted a SECURITY DEFINER function",
    "Everybody with the public API key runs it with its owner's rights, past row level security.",
    "Grant it to authenticated, or suppress this with the reason why it is safe in anybody's hands.",
)
TO_PUBLIC = Rule(
    "grant-to-public",
    Severity.ERROR,
    "A right is granted to PUBLIC",
    "PUBLIC is every role there is and will be, anon among them; a later revoke from anon does not take it away.",
    "Name the roles: authenticated, service_role.",
)
DEFAULTS_ANON = Rule(
    "default-privileges-to-anon",
    Severity.WARNING,
    "Default privileges give anon rights on objects to come",
    "Every table or function that anybody adds later is open before its own migration has said a word. Projects of "
    "before 30 May 2026 have these by themselves, and every dump of one repeats them; in newer ones this opens.",
    "Leave anon and public out; grant where an object is made.",
)
RULES = (WRITE_ANON, PERHAPS_WRITE_ANON, BEHIND_POLICIES, SELECT_ANON, EXECUTE_ANON, TO_PUBLIC, DEFAULTS_ANON)
_READS = {"all", "select"}
_WRITES = {"all", "insert", "update", "delete", "truncate", "trigger", "references", "maintain"}
_ROWS = {"insert", "update", "delete"}
# USAGE of a schema, a type or a language opens no data by itself.
_HARMLESS = {"schema", "type", "domain", "language"}
_ROUTINES = {"function", "procedure", "routine"}


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about grants, also those that a later file takes back: they were live in between."""
    for fact in context.facts:
        if isinstance(fact, Privileges) and fact.given:
            yield from _grant(context, fact)
        elif isinstance(fact, DefaultPrivileges) and fact.given and set(fact.roles) & {"anon", "public"}:
            who = " and ".join(role for role in fact.roles if role in {"anon", "public"})
            yield DEFAULTS_ANON.found(fact.at, f"{who} gets {', '.join(fact.verbs).upper()} on future {fact.kind}")


def _grant(context: Context, fact: Privileges) -> Iterator[LintFinding]:
    verbs = set(fact.verbs)
    what = _what(fact)
    if "public" in fact.roles and fact.kind not in _HARMLESS:
        yield TO_PUBLIC.found(fact.at, f"PUBLIC gets {what}")
    if "anon" not in fact.roles:
        return
    if fact.kind in {"table", "sequence"}:
        if fact.kind == "table":
            yield from _on_tables(context, fact, verbs, what)
    elif fact.kind in _ROUTINES and verbs & {"all", "execute"}:
        names = {name for name, _ in fact.objects}
        for routine in context.schema.functions.values():
            named = routine.function.name in names or routine.function.name.schema in fact.all_in
            if named and routine.definer and routine.function.returns not in {"trigger", "event_trigger"}:
                yield EXECUTE_ANON.found(fact.at, f"anon gets {routine.label}, which runs with its owner's rights")


def _on_tables(context: Context, fact: Privileges, verbs: set[str], what: str) -> Iterator[LintFinding]:
    names = [name for name, _ in fact.objects]
    if fact.all_in:
        tables = (*context.schema.tables, *context.schema.views)
        names = [name for name in tables if name.schema in fact.all_in]
    if verbs & _WRITES:
        opened = [(name, why) for name in names if (why := _open_write(context, fact, name))]
        perhaps = [(name, why) for name in names if (why := _perhaps(context, name, verbs))]
        if fact.all_in and not names:
            perhaps = [(Name(schema, "*"), "the folder makes no table here") for schema in fact.all_in]
        if opened or perhaps:
            rule = WRITE_ANON if opened else PERHAPS_WRITE_ANON
            whys = "; ".join(f"{name}: {why}" for name, why in opened or perhaps)
            yield rule.found(fact.at, f"anon gets {what}; {whys}")
            return
        yield BEHIND_POLICIES.found(fact.at, f"anon gets {what}")
    elif "select" in verbs:
        silent = names and all(
            name in context.schema.tables and context.schema.has_rls(name) and not _for_anon(context, name, _READS)
            for name in names
        )
        rule = BEHIND_POLICIES if silent else SELECT_ANON
        yield rule.found(fact.at, f"anon gets {what}")


def _open_write(context: Context, fact: Privileges, name: Name) -> str:
    """Why whoever holds these privileges writes any row of the table or view; "" where something may limit it."""
    schema, verbs = context.schema, set(fact.verbs)
    if (view := schema.views.get(name)) is not None:
        known = any(one in schema.tables or one in schema.views for one in view.view.reads)
        return "a view with its owner's rights" if not view.invoker and not view.view.materialized and known else ""
    if name not in schema.tables:
        return ""
    if not schema.has_rls(name) and not schema.may("enable row level security", name):
        return "row level security is off"
    if verbs & {"all", "truncate"} and _had_taken_truncate(context, fact, name):
        return "TRUNCATE, which was taken from anon, asks no policy"
    for policy in _for_anon(context, name, _writing(verbs)):
        if all(for_anon.always(condition) for condition in _written(policy)):
            return f"policy {policy.name} is true for anon"
    return ""


def _perhaps(context: Context, name: Name, verbs: set[str], above: frozenset[Name] = frozenset()) -> str:
    """Why it is not known whether whoever holds these privileges writes a row of the table or view."""
    schema = context.schema
    if (view := schema.views.get(name)) is not None:
        if view.view.materialized or name in above:
            return ""
        reads = sorted(view.view.reads)
        return next((f"{one}: {why}" for one in reads if (why := _perhaps(context, one, verbs, above | {name}))), "")
    if name not in schema.tables:
        return "the folder has no such table at its end"
    if not schema.has_rls(name):
        return "whether row level security is on is not known"
    for policy in _for_anon(context, name, _writing(verbs)):
        if not any(for_anon.never(condition) for condition in _written(policy)):
            return f"policy {policy.name} holds for anon"
    return ""


def _writing(verbs: set[str]) -> set[str]:
    """The commands of the policies that these privileges ask."""
    rows = _ROWS if "all" in verbs else verbs & _ROWS
    return rows | {"all"} if rows else set()


def _written(policy: Policy) -> tuple[Code | None, ...]:
    """The conditions that all must be true for a row to be written."""
    if policy.command == "delete":
        return (policy.using,)
    if policy.command == "update" and policy.check:
        return (policy.using, policy.check)
    return (policy.check or policy.using,)


def _had_taken_truncate(context: Context, fact: Privileges, name: Name) -> bool:
    """Whether a statement before this grant took TRUNCATE from anon, which holds it by default."""
    taken = False
    for earlier in context.facts:
        if earlier is fact:
            break
        if isinstance(earlier, Privileges) and earlier.kind == "table" and "anon" in earlier.roles:
            concerned = name in {one for one, _ in earlier.objects} or name.schema in earlier.all_in
            if concerned and set(earlier.verbs) & {"all", "truncate"}:
                taken = not earlier.given
    return taken


def _for_anon(context: Context, name: Name, commands: Collection[str]) -> list[Policy]:
    return [
        policy
        for policy in context.schema.policies_of(name)
        if policy.permissive and policy.command in commands and set(policy.roles or ("public",)) & {"anon", "public"}
    ]


def _what(fact: Privileges) -> str:
    on = ", ".join(str(name) if name.name else name.schema for name, _ in fact.objects)
    on = on or f"all {fact.kind}s of {', '.join(fact.all_in)}"
    return f"{', '.join(fact.verbs).upper()} on {on}"
