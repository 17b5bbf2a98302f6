"""One statement of a file, with the rows behind it."""

from __future__ import annotations

import io
from typing import Any

from toolkit.migrate.folder.copy_rows import copy_into
from toolkit.migrate.folder.statements import Statement
from toolkit.postgres.connection import Connection


async def run_statement(conn: Connection, statement: Statement, deadline_s: float) -> None:
    """Run it; COPY … FROM STDIN gets the rows that stand behind it in the file. Raises what the driver raises."""
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
