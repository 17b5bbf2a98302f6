"""What `postgres` of a hosted project may not do: change what the platform owns, reach into the server."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.migrate.lint.reading.facts import Create
from toolkit.migrate.lint.reading.findings import At, LintFinding, Rule, Severity
from toolkit.migrate.lint.rules.context import Context
from toolkit.sql.barred import barred

PLATFORM = Rule(
    "platform-object",
    Severity.ERROR,
    "A statement changes what the platform owns",
    "Tables, functions and schemas of auth, storage, realtime and vault belong to the platform's own roles. On "
    "Supabase the file fails with `must be owner of …` or `permission denied for schema …`, with nothing applied.",
    "Delete the line.",
)
FILES = Rule(
    "server-files",
    Severity.ERROR,
    "A statement reaches files or programs of the database server",
    "A hosted project refuses it. Where a superuser runs it, it acts with the rights and the secrets of the server's "
    "process, and whoever changes the migration runs programs there.",
    "Send rows with `copy … from stdin` or INSERT; what needs a program belongs beside the database.",
)
LANGUAGE = Rule(
    "untrusted-language",
    Severity.ERROR,
    "A function is written in an untrusted language",
    "A hosted project refuses it. Where a superuser makes it, whoever may execute it has the server's own rights.",
    "Write it in SQL or PL/pgSQL, or in the application.",
)
SYSTEM = Rule(
    "alter-system",
    Severity.ERROR,
    "A migration changes the settings of the whole server",
    "A hosted project refuses it, no transaction may hold it, and it concerns every database of the server.",
    "Use `alter role … set` or `alter database … set`; on Supabase, server settings are the dashboard's and the CLI's.",
)
RULES = (PLATFORM, FILES, LANGUAGE, SYSTEM)
_OF_KIND = {"owner": PLATFORM, "files": FILES, "language": LANGUAGE, "system": SYSTEM}


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about what only the platform's roles or a superuser may, in migrations and in rollbacks.

    A folder that makes `auth` or `storage` itself, and fails where there is one, is meant for a Postgres without the
    platform.
    """
    facts = (fact for fact in context.facts if isinstance(fact, Create))
    own = {fact.name.name for fact in facts if fact.kind == "schema" and not fact.if_not_exists}
    for source in context.folder.sources:
        for statement in source.statements:
            for one in barred(statement.tree) if statement.tree is not None else ():
                if one.schema not in own:
                    yield _OF_KIND[one.kind].found(At(source.file, one.line), one.what, one.remedy)
