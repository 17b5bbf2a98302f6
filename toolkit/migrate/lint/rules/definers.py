"""SECURITY DEFINER functions: who may call them, what that gives, and whose search_path they follow."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.migrate.lint.reading.code import Code, called, is_true, relations, unqualified
from toolkit.migrate.lint.reading.facts import Create, Fact, Policy, Privileges
from toolkit.migrate.lint.reading.findings import LintFinding, Rule, Severity
from toolkit.migrate.lint.reading.names import Name
from toolkit.migrate.lint.reading.schema import Routine
from toolkit.migrate.lint.rules.context import Context
from toolkit.sql.openness import asks_caller, only_asks, takes_secret, writes

SEARCH_PATH = Rule(
    "definer-without-search-path",
    Severity.WARNING,
    "A SECURITY DEFINER function does not fix its search_path",
    "It looks names up in the caller's search_path with the owner's rights: who can create an object in any schema of "
    "that path runs code as the owner. On Supabase clients of the API can create none; every other login may.",
    "Add `set search_path = ''` and qualify every name in the body.",
)
AUTH_TRIGGER = Rule(
    "auth-trigger-without-search-path",
    Severity.ERROR,
    "A function that a trigger of auth fires finds its tables by a search_path that is not there",
    "Supabase Auth writes as supabase_auth_admin, whose search_path is `auth` alone: names without a schema are not "
    "found (42P01), and every sign-up ends with `Database error saving new user`.",
    "Add `set search_path = ''` to the function and qualify every name in its body.",
)
EXECUTABLE = Rule(
    "definer-executable-by-public",
    Severity.ERROR,
    "A SECURITY DEFINER function can be called by everybody",
    "PUBLIC may execute every new function, and the API offers those of an exposed schema as /rpc: anon runs it with "
    "the owner's rights, past row level security, and it does not ask who calls.",
    "Take it back in the same file: `revoke execute on function … from public, anon, authenticated`, then grant it to "
    "the roles that need it; or let it compare what it is given with auth.uid().",
)
EXECUTABLE_LIMITED = Rule(
    "definer-executable-limited",
    Severity.WARNING,
    "Everybody can call a SECURITY DEFINER function, which limits by itself what that gives",
    "It asks who calls or for a secret, serves a policy, tells what anon may read, or is granted to anon by name. The "
    "next change of its body is open to everybody with the public API key.",
    "Revoke it from public and anon where no policy for them needs it: `revoke execute on function … from public, "
    "anon`.",
)
EXECUTABLE_ANON = Rule(
    "definer-executable-by-anon",
    Severity.WARNING,
    "A SECURITY DEFINER function is taken from PUBLIC and still granted to anon",
    "Supabase's default privileges grant every new function of public to anon by name; revoking it from PUBLIC leaves "
    "that grant.",
    "Revoke it from anon too: `revoke execute on function … from public, anon`.",
)
RULES = (SEARCH_PATH, AUTH_TRIGGER, EXECUTABLE, EXECUTABLE_LIMITED, EXECUTABLE_ANON)


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about functions that run with their owner's rights, and those that Supabase Auth fires."""
    schema = context.schema
    helpers = {name for policy in schema.policies.values() for name in called(_conditions(policy))}
    for routine in schema.functions.values():
        name = routine.function.name
        if routine.definer and not routine.search_path and not schema.may("search_path", name):
            yield SEARCH_PATH.found(routine.function.at, f"{routine.label} runs with its owner's rights")
        if routine.definer and name.schema in context.exposed and not schema.may("revoke", name):
            yield from _executable(context, routine, helpers)
    yield from _auth_triggers(context)


def _conditions(policy: Policy) -> Code:
    return (policy.using or ()) + (policy.check or ())


def _executable(context: Context, routine: Routine, helpers: set[Name]) -> Iterator[LintFinding]:
    # A trigger function cannot be called, only fired.
    if routine.function.returns in {"trigger", "event_trigger"}:
        return
    if routine.public:
        why = _limit(context, routine, helpers)
        rule, what = (EXECUTABLE_LIMITED, f"; {why}") if why else (EXECUTABLE, "")
        yield rule.found(routine.function.at, f"{routine.label} is never revoked from PUBLIC{what}")
    elif routine.anon:
        yield EXECUTABLE_ANON.found(routine.function.at, f"{routine.label} is never revoked from anon")


def _limit(context: Context, routine: Routine, helpers: set[Name]) -> str:
    """Why a call by anybody gives little; "" where nothing says so."""
    body = routine.function.body
    name = routine.function.name
    if name in helpers:
        return "policies need it"
    if _asks(context, routine):
        return "it asks who calls"
    if takes_secret(routine.function.parameters):
        return "it takes a secret"
    if any(_given_to_anon(fact, name) for fact in context.facts):
        return "it is granted to anon by name"
    quiet = bool(body.pieces) and not body.executes and not _acts(context, routine)
    if quiet and routine.function.returns == "boolean":
        return "it answers yes or no"
    if quiet and only_asks(body.pieces):
        return "it only asks whether rows exist"
    read = relations(body.pieces)
    if quiet and read and all(_shown(context, table) for table in read):
        return "anon reads the same rows without it"
    return ""


def _given_to_anon(fact: Fact, name: Name) -> bool:
    """A GRANT EXECUTE to anon by the function's name; the GRANT ALL that dumps write for every function is none."""
    named = isinstance(fact, Privileges) and fact.given and "anon" in fact.roles and fact.verbs == ("execute",)
    return named and isinstance(fact, Privileges) and any(one == name for one, _ in fact.objects)


def _shown(context: Context, table: Name) -> bool:
    """Whether a policy shows all of its rows to anon."""
    return any(
        policy.permissive
        and policy.command in {"all", "select"}
        and is_true(policy.using)
        and set(policy.roles or ("public",)) & {"anon", "public"}
        for policy in context.schema.policies_of(table)
    )


def _chain(context: Context, routine: Routine) -> Iterator[Routine]:
    """The function, and those of the folder that it calls, directly and through others."""
    waiting, seen = [routine], {id(routine)}
    while waiting:
        one = waiting.pop()
        yield one
        further = [other for other in context.called(one.function.body.pieces) if id(other) not in seen]
        seen |= {id(other) for other in further}
        waiting += further


def _asks(context: Context, routine: Routine) -> bool:
    return any(asks_caller(one.function.body.pieces) for one in _chain(context, routine))


def _acts(context: Context, routine: Routine) -> bool:
    return any(writes(one.function.body.pieces) for one in _chain(context, routine))


def _auth_triggers(context: Context) -> Iterator[LintFinding]:
    schema = context.schema
    fired = {trigger.function for trigger in schema.triggers.values() if trigger.table.schema == "auth"}
    types = {fact.name.name for fact in context.facts if isinstance(fact, Create) and fact.kind in {"type", "domain"}}
    functions = {name.name for name, _ in schema.functions}
    for routine in schema.functions.values():
        name = routine.function.name
        if name not in fired or routine.search_path or schema.may("search_path", name):
            continue
        if missed := sorted(unqualified(routine.function.body.pieces, functions, types)):
            yield AUTH_TRIGGER.found(routine.function.at, f"{routine.label} means {', '.join(missed)} without a schema")
