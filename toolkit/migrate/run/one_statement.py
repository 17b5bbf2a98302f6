"""One statement of a file, with the rows behind it."""

from __future__ import annotations

import io
from typing import Any

from toolkit.migrate.folder.copy_rows import copy_into
from toolkit.migrate.folder.statements import Statement
from toolkit.postgres.connection import Connection
from toolkit.sql import history as sql
from toolkit.sql.parse import AstNode, label, nodes


def _is_let_through(node: AstNode | None) -> bool:
    match node:
        case nodes.CreateEventTrigStmt() | nodes.AlterEventTrigStmt() | nodes.CreateFdwStmt():
            return True
        case nodes.CreatePublicationStmt():
            named = [one.pubtable is not None for one in node.pubobjects if isinstance(one, nodes.PublicationObjSpec)]
            return node.for_all_tables or not all(named)
        case nodes.DropStmt():
            return label("ObjectType", node.remove_type) in {"OBJECT_EVENT_TRIGGER", "OBJECT_PUBLICATION", "OBJECT_FDW"}
    return False


async def run_statement(conn: Connection, statement: Statement, deadline_s: float) -> None:
    """Run it; COPY … FROM STDIN gets the rows that stand behind it in the file. Raises what the driver raises."""
    if statement.rows is None and _is_let_through(statement.node) and await conn.fetchval(sql.LETS_THROUGH, timeout=10):
        await conn.execute(sql.LET_THROUGH, statement.body, timeout=deadline_s)
        return
    if statement.rows is None:
        await conn.execute(statement.text, timeout=deadline_s)
        return
    into = copy_into(statement.node)
    options: dict[str, Any] = dict(into.options)
    await conn.copy_to_table(
        into.table,
        schema_name=into.schema,
        columns=into.columns,
        source=io.BytesIO(statement.rows.encode()),
        timeout=deadline_s,
        **options,
    )
