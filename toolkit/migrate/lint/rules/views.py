"""Views: whose rights read the tables behind them."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.migrate.lint.reading.findings import LintFinding, Rule, Severity
from toolkit.migrate.lint.reading.names import Name
from toolkit.migrate.lint.reading.schema import API_ROLES, Relation
from toolkit.migrate.lint.rules.context import Context

WITHOUT_INVOKER = Rule(
    "view-without-security-invoker",
    Severity.ERROR,
    "A view reads protected tables with its owner's rights",
    "Without security_invoker a view passes the row level security of the tables it reads: whoever may read the view "
    "sees everybody's rows, and Supabase grants new views to anon.",
    "Create it `with (security_invoker = true)` (Postgres 15 and later), or take it from anon and authenticated.",
)
SHOWN = Rule(
    "view-granted-past-row-security",
    Severity.WARNING,
    "A view reads protected tables with its owner's rights, and is granted by name",
    "Somebody chose which columns and rows it shows: a catalog or a list of names, it seems. Row level security of the "
    "tables behind it is passed, and a column that is added to it is public from then on.",
    "Keep it if that is meant; otherwise create it `with (security_invoker = true)`.",
)
MATERIALIZED = Rule(
    "materialized-view-exposed",
    Severity.ERROR,
    "A materialized view of protected tables is open to the API",
    "It holds its owner's result and can have no row level security: anon or authenticated read every row of it.",
    "Take it back: `revoke all on … from anon, authenticated`, or keep it in a schema that the API does not serve.",
)
AUTH_USERS = Rule(
    "view-exposes-auth-users",
    Severity.ERROR,
    "A view of an exposed schema reads auth.users",
    "E-mail addresses and metadata of all users can be read through the API.",
    "Copy what the application shows into a table of its own that has row level security.",
)
RULES = (WITHOUT_INVOKER, SHOWN, MATERIALIZED, AUTH_USERS)


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about views."""
    schema = context.schema
    for name, relation in schema.views.items():
        if name.schema not in context.exposed or _closed(relation) or schema.may("revoke", name):
            continue
        protected = sorted(_protected(context, relation, set()))
        at = relation.view.at
        if Name("auth", "users") in relation.view.reads and not relation.invoker:
            yield AUTH_USERS.found(at, f"{name} reads auth.users")
        if relation.view.materialized:
            if protected:
                yield MATERIALIZED.found(at, f"{name} holds rows of {', '.join(map(str, protected))}")
        elif protected and not relation.invoker and not schema.may("security_invoker", name):
            rule = SHOWN if relation.shown & {*API_ROLES} else WITHOUT_INVOKER
            yield rule.found(at, f"{name} reads {', '.join(map(str, protected))}")


def _closed(relation: Relation) -> bool:
    return set(API_ROLES) <= relation.closed and not relation.opened & {*API_ROLES, "public"}


def _protected(context: Context, relation: Relation, seen: set[Name]) -> set[Name]:
    """The tables with row level security that it reads, through further views too."""
    found: set[Name] = set()
    for name in relation.view.reads:
        if context.schema.has_rls(name):
            found.add(name)
        elif (further := context.schema.views.get(name)) is not None and name not in seen and not further.invoker:
            seen.add(name)
            found |= _protected(context, further, seen)
    return found
