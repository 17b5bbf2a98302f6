"""What the grammar does not accept: told, since no rule judges what nobody has read."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.migrate.lint.reading.facts import Unread
from toolkit.migrate.lint.reading.findings import LintFinding, Rule, Severity
from toolkit.migrate.lint.rules.context import Context
from toolkit.sql.parse import GRAMMAR

STATEMENT = Rule(
    "statement-not-read",
    Severity.ERROR,
    f"A statement is no SQL of Postgres {GRAMMAR} or earlier",
    f"A server of version {GRAMMAR} or earlier refuses the file at this line, and no rule has judged the statement.",
    "Correct it. Where it is the syntax of a later Postgres that your servers run, suppress this with that reason; "
    "`toolkit migrate up --dry-run` tries it on one of them.",
)
BODY = Rule(
    "body-syntax-error",
    Severity.ERROR,
    "The body of a function or DO block is no SQL or PL/pgSQL",
    "Postgres refuses it when the file runs or, where it checks no bodies, when it is called first.",
    "Correct it at this line.",
)
BODY_UNKNOWN = Rule(
    "body-not-read",
    Severity.INFO,
    "The body of a function or DO block cannot be read without a database",
    "It rests on types that only the catalog knows, or is wrong; no rule has judged what it runs.",
    "Read it yourself with the other rules in mind; `toolkit migrate prove` runs it.",
)
RULES = (STATEMENT, BODY, BODY_UNKNOWN)


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about what could not be read, in migrations and in rollbacks."""
    for source in context.folder.sources:
        for fact in source.facts:
            if isinstance(fact, Unread) and not fact.body:
                yield STATEMENT.found(fact.at, fact.why)
            elif isinstance(fact, Unread):
                rule = BODY if fact.why.startswith("syntax error") else BODY_UNKNOWN
                yield rule.found(fact.at, fact.why)
