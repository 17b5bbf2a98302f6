"""Exports the rows that a rollback destroys: a CSV for each table, a manifest, and a script that puts them back."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from toolkit.errors import EnvironmentError_, RefusalError
from toolkit.migrate.catalog import reading
from toolkit.migrate.catalog.tables import own_rows_of
from toolkit.migrate.folder.headers import Destroyed, merged
from toolkit.migrate.run.plan import Step
from toolkit.migrate.run.read_back import SCRIPT, Staged, row_digest, script
from toolkit.postgres.connection import Connection
from toolkit.report.files import new_folder
from toolkit.sql import history as sql
from toolkit.sql.quoting import quote_identifier, quote_name

_EXPORT_DEADLINE_S = 3600


@dataclass(frozen=True)
class Export:
    """The rows of one table (or some of its columns with the key), as written: `file` lies in `folder`."""

    table: str
    columns: tuple[str, ...]
    rows: int
    file: str
    sha256: str
    whole_table: bool


def export_folder(base: Path, label: str) -> Path:
    """A new folder for one rollback's exports, readable by its owner alone: rows are somebody's data."""
    return new_folder(base, label, option="--export-dir", private=True)


async def export_destroyed(conn: Connection, step: Step, folder: Path) -> tuple[Export, ...]:
    """Lock and write out everything the step's header declares, inside the step's own transaction.

    The lock comes first, so that no row is written between the export and the drop. Raises RefusalError for a
    declaration that names what does not exist, EnvironmentError_ when the disk refuses.
    """
    present = {row["table_name"]: tuple(row["columns"]) for row in await conn.fetch(sql.USER_COLUMNS, timeout=60)}
    # With row_security off, a role to which policies apply gets an error instead of a part of the rows.
    await conn.execute(sql.NO_PARTIAL_ROWS, timeout=10)
    exports: list[Export] = []
    staged: list[Staged] = []
    for destroyed in merged(step.destroys):
        columns = present.get(destroyed.table)
        missing = [destroyed.table] if columns is None else [name for name in destroyed.columns if name not in columns]
        if columns is None or missing:
            raise RefusalError(
                f"{step.script.path.name} declares that it destroys {destroyed}, but there is no {', '.join(missing)}.",
                "Correct the `-- destroys:` line; it is what gets exported.",
            )
        export, key = await _export(conn, destroyed, columns, folder)
        exports.append(export)
        compared = _others(columns, export.columns) if destroyed.columns else None
        staged.append(Staged(export.table, export.file, export.rows, export.columns, key, compared))
    _write_private(folder / "manifest.json", json.dumps(_manifest(step, exports), indent=2).encode())
    _write_private(folder / SCRIPT, script(step.migration.label, staged).encode())
    return tuple(exports)


async def _export(
    conn: Connection, destroyed: Destroyed, present: tuple[str, ...], folder: Path
) -> tuple[Export, tuple[str, ...]]:
    """The export, and the table's primary key."""
    table = quote_name(destroyed.table)
    await conn.execute(sql.LOCK_TABLE.format(table=table), timeout=_EXPORT_DEADLINE_S)
    key = tuple(row["name"] for row in await conn.fetch(sql.PRIMARY_KEY, table, timeout=30))
    columns = tuple(dict.fromkeys([*key, *destroyed.columns])) if destroyed.columns else present
    file = folder / f"{destroyed.table}.csv"
    chosen = [quote_identifier(name) for name in columns]
    if destroyed.columns:
        chosen.append(row_digest(_others(present, columns)))
    own_rows = await own_rows_of(conn, destroyed.table)
    query = sql.SELECT_COLUMNS.format(columns=", ".join(chosen), table=own_rows)
    counted = await conn.fetchval(sql.ROW_COUNT.format(table=own_rows), timeout=_EXPORT_DEADLINE_S)
    try:
        # Rendered the same way whatever the session's settings are: the script compares digests of texts.
        async with reading(conn):
            status = await conn.copy_from_query(
                query, output=file, format="csv", header=True, timeout=_EXPORT_DEADLINE_S
            )
        digest = _sealed(file)
    except OSError as error:
        raise EnvironmentError_(
            f"Cannot write {file}: {error.strerror}.", "Make room, or name another folder with --export-dir."
        ) from error
    rows = int(status.split()[-1])
    if rows != counted:
        raise RefusalError(
            f"{file.name} has {rows} rows, the table {counted}: row security hides some from this role.",
            "Run the rollback as the tables' owner.",
        )
    return Export(destroyed.table, columns, rows, file.name, digest, destroyed.whole_table), key


def _others(present: tuple[str, ...], columns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in present if name not in columns)


def _manifest(step: Step, exports: list[Export]) -> dict[str, object]:
    return {
        "version": step.migration.version,
        "name": step.migration.name,
        "rollback_sha256": step.script.sha256,
        "exported_at": datetime.now(UTC).isoformat(),
        "read_back": f'psql "$DATABASE_URL" -f {SCRIPT}',
        "tables": [asdict(export) for export in exports],
    }


def _sealed(file: Path) -> str:
    """The SHA-256 of a file, after making sure that it is on the disk."""
    file.chmod(0o600)
    with file.open("rb") as written:
        os.fsync(written.fileno())
        return hashlib.file_digest(written, "sha256").hexdigest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write_private(path: Path, data: bytes) -> None:
    with open(path, "wb", opener=_private) as output:
        output.write(data)
        output.flush()
        os.fsync(output.fileno())
