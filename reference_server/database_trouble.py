"""The exceptions that asyncpg raises when the database refuses, fails, or is not there."""

from __future__ import annotations

from typing import Final

import asyncpg

# InternalClientError: the server has ended the session, but the end of the connection has not been read yet.
DATABASE_TROUBLE: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
