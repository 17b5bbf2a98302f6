"""Connections of the migration tools, and their addresses without secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg

from toolkit.errors import EnvironmentError_, UsageError
from toolkit.postgres.pooler import pools_transactions
from toolkit.redact import redact as mask
from toolkit.sql.session import SET_UP

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:  # subscriptable for type checkers only
    Connection = asyncpg.Connection

_CONNECT_DEADLINE_S = 15
_SECRET_PARAMETERS = {"password", "sslpassword", "passfile"}
_UNREACHED = "Check that the server runs, the address is right and the network lets you through."
_STOPPED = (
    "If it is an embedded target, it is stopped: start it with `toolkit up` in its folder, or "
    "`unset DATABASE_URL API_URL SUPABASE_URL`."
)


def redact(dsn: str) -> str:
    """The address without its password, fit for output. Never raises."""
    try:
        parts = urlsplit(dsn)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "<unreadable address>"
    if parts.scheme not in {"postgres", "postgresql"}:
        return "<unreadable address>"
    user = f"{quote(parts.username)}@" if parts.username else ""
    host = f"[{host}]" if ":" in host else host
    query = [(name, value) for name, value in parse_qsl(parts.query) if name not in _SECRET_PARAMETERS]
    return urlunsplit((parts.scheme, f"{user}{host}{port}", parts.path, urlencode(query, safe="/"), ""))


async def connect(dsn: str, purpose: str = "toolkit migrate", *, through_a_pooler: bool = False) -> Connection:
    """Open a connection fit for DDL; `purpose` is what `pg_stat_activity` shows.

    Raises UsageError for an address that cannot be parsed or leads to a transaction pooler (allowed with
    `through_a_pooler`, for questions that are a transaction each), EnvironmentError_ when no server answers or it
    refuses the login; neither message contains a password.
    """
    shown = redact(dsn)
    if shown == "<unreadable address>":
        raise UsageError("The database address cannot be read.", "Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE.")

    async def open_one() -> Connection:
        return await asyncpg.connect(
            dsn,
            timeout=_CONNECT_DEADLINE_S,
            # Cached plans go stale under DDL and fail inside a transaction (InvalidCachedStatementError).
            statement_cache_size=0,
            server_settings={"application_name": purpose},
        )

    try:
        opened = await open_one()
        pooled = await pools_transactions(opened, open_one)
        if not pooled:
            await opened.execute(SET_UP)
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise EnvironmentError_(
            f"{shown} refuses the login ({error.sqlstate}).", "Check the user and the password of the address."
        ) from error
    except asyncpg.InvalidCatalogNameError as error:
        raise EnvironmentError_(f"{shown}: there is no such database.", "Check the name, or create it.") from error
    except asyncpg.ClientConfigurationError as error:
        raise UsageError(f"{shown}: {mask(str(error))}.", "Correct the parameters of the database address.") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        reason = str(error) if isinstance(error, asyncpg.PostgresError | OSError) else type(error).__name__
        raise EnvironmentError_(
            f"No database answers at {shown}: {reason or type(error).__name__}.",
            _STOPPED
            if isinstance(error, FileNotFoundError | ConnectionRefusedError) and _by_socket(dsn)
            else _UNREACHED,
        ) from error
    if pooled and not through_a_pooler:
        opened.terminate()
        raise UsageError(
            f"{shown} is a transaction pooler: it gives each transaction another session, and the runner's lock "
            "belongs to a session.",
            "Use the direct connection or a pooler in session mode (on Supabase: port 5432).",
        )
    return opened


def _by_socket(dsn: str) -> bool:
    return dict(parse_qsl(urlsplit(dsn).query)).get("host", "").startswith("/")


@asynccontextmanager
async def connected(
    dsn: str, purpose: str = "toolkit migrate", *, through_a_pooler: bool = False
) -> AsyncIterator[Connection]:
    """A connection for the length of a block; see `connect`."""
    conn = await connect(dsn, purpose, through_a_pooler=through_a_pooler)
    try:
        yield conn
    finally:
        # close() waits for the server; after a cancellation we must not wait for one that hangs.
        try:
            await conn.close(timeout=5)
        except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            conn.terminate()
