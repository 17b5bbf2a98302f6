"""Statements that refuse a transaction: did one that was interrupted happen, and did it leave a wreck?"""

from __future__ import annotations

import re

from toolkit.migrate.ledger import Connection
from toolkit.migrate.split import Statement
from toolkit.sql import ledger as sql

_NAME = r'(?:"(?:[^"]|"")+"|[\w$]+)'
_CREATE_INDEX = re.compile(
    rf"create\s+(?:unique\s+)?index\s+concurrently\s+(?:if\s+not\s+exists\s+)?({_NAME})\s+on\s+(?:only\s+)?"
    rf"((?:{_NAME}\.)?{_NAME})",
    re.IGNORECASE,
)
_DROP_INDEX = re.compile(rf"drop\s+index\s+concurrently\s+(?:if\s+exists\s+)?((?:{_NAME}\.)?{_NAME})", re.IGNORECASE)


async def ran_after_all(conn: Connection, statement: Statement) -> bool:
    """Whether a statement whose run was cut short had taken effect; False means that it is safe to run it again."""
    if created := _CREATE_INDEX.search(_body(statement)):
        state = await conn.fetchrow(sql.INDEX_STATE, created.group(2), _unquoted(created.group(1)), timeout=30)
        return state is not None and bool(state["valid"])
    if dropped := _DROP_INDEX.search(_body(statement)):
        return await conn.fetchval(sql.IS_ABSENT, dropped.group(1), timeout=30) is True
    return False


async def index_wreck(conn: Connection, statement: Statement) -> tuple[str, str] | None:
    """What and remedy when an INVALID index stands where CREATE INDEX CONCURRENTLY wants its own, else None.

    With IF NOT EXISTS Postgres keeps such an index and reports success; queries never use it.
    """
    created = _CREATE_INDEX.search(_body(statement))
    if created is None:
        return None
    name, table = created.groups()
    state = await conn.fetchrow(sql.INDEX_STATE, table, _unquoted(name), timeout=30)
    if state is None or state["valid"]:
        return None
    return (
        f"Index {state['name']} on {table} is INVALID: a build of it was interrupted or failed. "
        "Queries never use it, writes keep paying for it.",
        f"Run `drop index concurrently {state['name']};` and then this command again: it goes on at this statement.",
    )


def _body(statement: Statement) -> str:
    return statement.text[len(statement.leading) :].strip()


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
