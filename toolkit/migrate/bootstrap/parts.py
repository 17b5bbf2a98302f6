"""What a plain Postgres is given: each part with the question whether it is there, and the statement that makes it.
Pure, but for the platform's own file, from which the functions of schema auth are taken."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from toolkit.migrate.folder.project_mode import ProjectMode
from toolkit.migrate.folder.statements import split
from toolkit.migrate.scratch.platform import part_sql
from toolkit.sql import bootstrap as sql

CLAIM_FUNCTIONS = ("auth.uid", "auth.role", "auth.email", "auth.jwt")
PUBLICATION = "supabase_realtime"
_FUNCTION = re.compile(r"\bfunction (auth\.\w+)\(", re.IGNORECASE)
_KINDS = {"r": "tables", "S": "sequences", "f": "functions"}


@dataclass(frozen=True)
class Part:
    """`question` is a query that answers true where the part is there; `statement` makes it where it is not."""

    id: str
    title: str
    question: str
    statement: str


@cache
def parts(mode: ProjectMode = "old") -> tuple[Part, ...]:
    """Every part, in the order in which they are made; `mode` says what new objects grant by themselves."""
    return (*_roles(), *_auth(), *_public(mode), _publication())


def _roles() -> list[Part]:
    found = []
    for role in sql.API_ROLES:
        bypassing = role == "service_role"
        make = sql.MAKE_BYPASSING_ROLE if bypassing else sql.MAKE_ROLE
        found.append(
            Part(f"role-{role}", f"Role {role} exists", sql.HAS_ROLE.format(role=role), make.format(role=role))
        )
        if bypassing:
            found.append(
                Part(
                    "bypasses",
                    f"Row level security does not hold for {role}",
                    sql.BYPASSES.format(role=role),
                    sql.MAKE_BYPASSING.format(role=role),
                )
            )
    found += [
        Part(
            f"member-{role}",
            f"Who connects may act as {role}",
            sql.MAY_BECOME.format(role=role),
            sql.MAKE_MEMBER.format(role=role),
        )
        for role in sql.API_ROLES
    ]
    return found


def _auth() -> list[Part]:
    functions = {found[1]: one.text for one in split(part_sql("claims")) if (found := _FUNCTION.search(one.text))}
    return [
        Part("schema-auth", "Schema auth exists", *_formatted(sql.HAS_SCHEMA, sql.MAKE_SCHEMA)),
        Part("usage-auth", "Schema auth may be used by these roles", *_formatted(sql.ALL_MAY_USE, sql.GRANT_USAGE)),
        *(
            Part(
                f"function-{name}",
                f"Function {name}() tells a claim of the request",
                sql.HAS_FUNCTION.format(function=name),
                functions[name],
            )
            for name in CLAIM_FUNCTIONS
        ),
    ]


def _formatted(question: str, statement: str) -> tuple[str, str]:
    return question.format(schema="auth"), statement.format(schema="auth")


def _public(mode: ProjectMode) -> list[Part]:
    return [
        Part(
            "usage-public",
            "Schema public may be used by these roles",
            sql.ALL_ARE_GRANTED_PUBLIC,
            sql.GRANT_PUBLIC,
        ),
        *(_default(kind, objects, mode) for kind, objects in _KINDS.items()),
    ]


def _default(kind: str, objects: str, mode: ProjectMode) -> Part:
    if mode == "new":
        return Part(
            f"default-{objects}",
            f"New {objects} in public are granted to nobody but their owner, as in a new Supabase project",
            sql.DEFAULTS_ARE_SET.format(kind=kind),
            sql.GRANT_LEFTOVERS[objects],
        )
    return Part(
        f"default-{objects}",
        f"New {objects} in public are granted to these roles, as in a Supabase project",
        sql.DEFAULTS_GRANT.format(kind=kind),
        sql.GRANT_BY_DEFAULT.format(objects=objects),
    )


def _publication() -> Part:
    return Part(
        "publication",
        f"Publication {PUBLICATION} exists",
        sql.HAS_PUBLICATION.format(publication=PUBLICATION),
        sql.MAKE_PUBLICATION.format(publication=PUBLICATION),
    )
