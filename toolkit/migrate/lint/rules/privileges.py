"""Grants: what anon and PUBLIC are given."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.migrate.lint.reading.facts import DefaultPrivileges, Privileges
from toolkit.migrate.lint.reading.findings import LintFinding, Rule, Severity
from toolkit.migrate.lint.rules.context import Context

WRITE_ANON = Rule(
    "grant-write-to-anon",
    Severity.ERROR,
    "anon is granted a right to write",
    "Everybody with the public API key then writes wherever a policy, present or future, does not forbid it; TRUNCATE "
    "asks no policy at all.",
    "Grant it to authenticated or service_role instead.",
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
    Severity.ERROR,
    "Default privileges give anon rights on objects to come",
    "Every table or function that anybody adds later is open before its own migration has said a word.",
    "Leave anon and public out; grant where an object is made.",
)
RULES = (WRITE_ANON, SELECT_ANON, EXECUTE_ANON, TO_PUBLIC, DEFAULTS_ANON)
_WRITES = {"all", "insert", "update", "delete", "truncate", "trigger", "references", "maintain"}
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
        if verbs & _WRITES and fact.kind == "table":
            yield WRITE_ANON.found(fact.at, f"anon gets {what}")
        elif "select" in verbs and fact.kind == "table":
            yield SELECT_ANON.found(fact.at, f"anon gets {what}")
    elif fact.kind in _ROUTINES and verbs & {"all", "execute"}:
        names = {name for name, _ in fact.objects}
        for routine in context.schema.functions.values():
            named = routine.function.name in names or routine.function.name.schema in fact.all_in
            if named and routine.definer and routine.function.returns != "trigger":
                yield EXECUTE_ANON.found(fact.at, f"anon gets {routine.label}, which runs with its owner's rights")


def _what(fact: Privileges) -> str:
    on = ", ".join(str(name) if name.name else name.schema for name, _ in fact.objects)
    on = on or f"all {fact.kind}s of {', '.join(fact.all_in)}"
    return f"{', '.join(fact.verbs).upper()} on {on}"
