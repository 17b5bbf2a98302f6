"""Reads what the database holds, independently of the application: by SQL, or by the events API without SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg
import orjson

from toolkit.errors import EnvironmentError_
from toolkit.scenarios.caller import Caller, NoAnswer
from toolkit.scenarios.expect import Answer, look_up
from toolkit.scenarios.recorded.facts import DATABASE
from toolkit.sql import observations

DEADLINE_S = 15.0
PAGE = 500
# The API's error code for a database that has no event log yet.
NOT_MIGRATED = "schema_not_migrated"


@dataclass(frozen=True)
class StoredEvent:
    """One row of `process_events`; `created_at` in ISO 8601."""

    sequence: int
    id: str
    type: str
    data: dict[str, Any]
    category: str
    created_at: str

    @property
    def value(self) -> dict[str, Any]:
        """The value of its record in the history."""
        return {"type": self.type, "data": self.data, "category": self.category, "created_at": self.created_at}


@dataclass(frozen=True)
class Rows:
    """The rows of one process other than its events; None where they cannot be read."""

    state: dict[str, Any] | None
    articles: list[dict[str, Any]] | None
    tasks: list[dict[str, Any]] | None

    @property
    def facts(self) -> dict[str, Any]:
        """The roots of the paths that a `database` step may name."""
        tasks = self.tasks or []
        return {
            "state": self.state,
            "articles": None if self.articles is None else len(self.articles),
            "article": self.articles[0] if self.articles else None,
            "tasks": None if self.tasks is None else len(tasks),
            "open_tasks": None if self.tasks is None else sum(t["status"] in ("pending", "running") for t in tasks),
        }


class Witness(Protocol):
    """Reads what is stored. Every method raises EnvironmentError_ when the store does not answer.

    `store` names what is read, for reports.
    """

    store: str

    async def events(self, process: str, since: int = 0) -> list[StoredEvent]: ...

    async def last_sequence(self, process: str) -> int: ...

    async def rows(self, process: str) -> Rows: ...

    async def processes_of(self, user: str, subject: str) -> list[str]: ...

    async def has_log(self) -> bool: ...

    async def close(self) -> None: ...


class SqlWitness:
    """Reads by SQL; after a failure the next read opens a new connection, so that it survives a restart of the
    database."""

    store = DATABASE

    def __init__(self, database_url: str) -> None:
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._url = database_url
        self._has_events: bool | None = None

    async def events(self, process: str, since: int = 0) -> list[StoredEvent]:
        if not await self.has_log():
            return []
        return [
            StoredEvent(
                row["event_sequence"],
                row["id"],
                row["event_type"],
                orjson.loads(row["event_data"]),
                row["event_category"],
                row["created_at"].isoformat(timespec="microseconds"),
            )
            for row in await self._fetch(observations.EVENTS, process, since)
        ]

    async def last_sequence(self, process: str) -> int:
        if not await self.has_log():
            return 0
        rows = await self._fetch(observations.LAST_SEQUENCE, process)
        return int(rows[0][0]) if rows else 0

    async def rows(self, process: str) -> Rows:
        state = [orjson.loads(row[0]) for row in await self._fetch(observations.STATE, process)]
        articles = [orjson.loads(row[0]) for row in await self._fetch(observations.ARTICLES, process)]
        tasks: list[dict[str, Any]] = []
        if await self.has_log():
            tasks = [orjson.loads(row[0]) for row in await self._fetch(observations.TASKS, process)]
            if state:
                state[0]["last_event_sequence"] = await self.last_sequence(process)
        return Rows(state[0] if state else None, articles, tasks)

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def processes_of(self, user: str, subject: str) -> list[str]:
        return [row[0] for row in await self._fetch(observations.PROCESSES_OF, subject)]

    async def has_log(self) -> bool:
        if self._has_events is None:
            self._has_events = bool((await self._fetch(observations.HAS_EVENTS))[0][0])
        return self._has_events

    async def _fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        try:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=4,
                    timeout=DEADLINE_S,
                    command_timeout=DEADLINE_S,
                    statement_cache_size=0,  # the address may lead through a transaction pooler
                )
            return await self._pool.fetch(query, *arguments, timeout=DEADLINE_S)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            raise EnvironmentError_(
                f"The database does not answer: {type(error).__name__}: {error}", "Check DATABASE_URL and the database."
            ) from error


class ApiWitness:
    """Reads by the events API alone; rows of articles and tasks stay unknown."""

    store = "the events API"

    def __init__(self, caller: Caller, owners: dict[str, str]) -> None:
        self._caller = caller
        self._owners = owners
        self._log = True

    async def events(self, process: str, since: int = 0) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        while True:
            page = await self._get(process, since, PAGE)
            found += [
                StoredEvent(
                    row["event_sequence"],
                    str(row["id"]),
                    row["event_type"],
                    row["event_data"],
                    row.get("event_category", ""),
                    row["created_at"],
                )
                for row in page[0]
            ]
            if len(page[0]) < PAGE:
                return found
            since = found[-1].sequence

    async def last_sequence(self, process: str) -> int:
        return (await self._get(process, 0, 1))[1]

    async def rows(self, process: str) -> Rows:
        return Rows(None, None, None)

    async def processes_of(self, user: str, subject: str) -> list[str]:
        answer = await self._ask("/api/articles/generation?limit=100", user)
        listed = answer.body.get("processes") if isinstance(answer.body, dict) else None
        # The list cannot be read before the migration; then nothing is reported as a stray.
        return [str(row["process_id"]) for row in listed or ()]

    async def has_log(self) -> bool:
        if self._log and self._owners:
            await self._get(next(iter(self._owners)), 0, 1)
        return self._log

    async def close(self) -> None:
        return

    async def _get(self, process: str, since: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        path = f"/api/articles/generation/{process}/events?since_sequence={since}&limit={limit}"
        answer = await self._ask(path, self._owners.get(process))
        if answer.status == 503 and look_up(answer.facts, "body.error.code") == NOT_MIGRATED:
            self._log = False
            return [], 0
        if answer.status != 200 or not isinstance(answer.body, list):
            raise EnvironmentError_(
                f"The events of {process} cannot be read: the API answered {answer.status}.",
                "Give DATABASE_URL, or check the API.",
            )
        return answer.body, int(answer.headers.get("x-last-sequence", 0))

    async def _ask(self, path: str, user: str | None) -> Answer:
        try:
            return await self._caller.quietly("GET", path, user)
        except NoAnswer as error:
            raise EnvironmentError_(f"The API does not answer: {error}", "Check API_URL and the server.") from error
