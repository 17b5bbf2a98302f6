"""The Realtime endpoint on a scratch database: started as a process, subscribed to with the official client."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from realtime import AsyncRealtimeClient
from realtime.types import RealtimePostgresChangesListenEvent, RealtimeSubscribeStates

from toolkit import extras
from toolkit.errors import ToolkitError
from toolkit.migrate.prove.delivery.endpoint_judge import (
    PUBLICATION,
    SERVICE,
    ReceivedChange,
    Subscriber,
    missing,
    owned,
)
from toolkit.migrate.prove.delivery.publications import Published
from toolkit.migrate.prove.delivery.wal_judge import Phase, Promise, Write
from toolkit.migrate.rows.shapes import Shape
from toolkit.postgres.connection import Connection
from toolkit.server_process import ServerHandle, server_environment
from toolkit.sql import prove_delivery as sql
from toolkit.sql.quoting import quote_identifier, quote_name
from toolkit.tokens import mint, mint_api_key

_DEADLINE_S = 30
_JOIN_S = 15
_SETTLE_S = 4.0
_SETTLE_OWNER_S = 0.5
_BINDINGS = 50  # of one channel
_MOST_OWNERS = 3
_SUBSCRIBED = "Subscribed to PostgreSQL"
COMMAND = (sys.executable, "-m", "reference_server.realtime", "--port", "0")


class Endpoint:
    """The endpoint, started when there is something to subscribe to. `off`: why it does not run although it is
    `wanted`."""

    def __init__(self, dsn: str, stack: AsyncExitStack, *, supabase: bool) -> None:
        self.off = ""
        self.subscribers: list[Subscriber] = []
        self.wanted = False
        # Subscriptions to tables that a rollback drops may end with an error; others may not.
        self.taking_back: frozenset[str] = frozenset()
        self._dsn, self._stack, self._supabase = dsn, stack, supabase
        self._secret = secrets.token_urlsafe(32)
        self._clients: dict[str, AsyncRealtimeClient] = {}
        self._owners: list[str] = []
        self._columns: dict[str, str] = {}
        self._news = asyncio.Event()
        self._channels = 0

    async def owners(
        self, look: Connection, state: Published, shapes: Mapping[str, Shape]
    ) -> dict[str, Mapping[str, str]]:
        """Table → values that give its rows an owner, for tables under row security with a column that names one.

        They are those of an existing row and the rows it refers to, so that a policy decides alike each time. The few
        most frequent owners subscribe, too.
        """
        given: dict[str, Mapping[str, str]] = {}
        if not self._supabase:
            return given
        known: Counter[str] = Counter()
        for row in await look.fetch(sql.OWNED_TABLES, timeout=_DEADLINE_S):
            table, column = f"{row['schema']}.{row['name']}", row["owner_column"]
            if table not in state.written or table not in shapes or column is None:
                continue
            names = [column, *_references(shapes[table], column)]
            query = sql.OWNED_ROW.format(
                column=quote_identifier(column),
                table=quote_name(table),
                columns=", ".join(f"{quote_identifier(name)}::text" for name in names),
            )
            found = await look.fetchrow(query, timeout=_DEADLINE_S)
            if found is not None:
                given[table] = {n: v for n, v in zip(names, found.values(), strict=True) if v is not None}
                self._columns[table] = column
                known[given[table][column]] += 1
        self._owners = [owner for owner, _ in known.most_common(_MOST_OWNERS)]
        return given

    async def listen(self, state: Published, writes: Sequence[Write]) -> None:
        """Subscribe to what is newly published, as the service and as each owner; returns when the subscriptions are
        live."""
        names = sorted(table for publication, table in state.members if publication == PUBLICATION)
        known = self.subscribers[0].listens if self.subscribers else {}
        fresh = [name for name in names if state.root(name) not in known]
        if not self._supabase or not fresh or self.off:
            return
        self.wanted = True
        try:
            if not self._clients:
                await self._start()
            for subscriber in self.subscribers:
                await self._bind(subscriber, fresh)
                subscriber.listens.update({state.root(name): len(writes) for name in fresh})
        except (ToolkitError, OSError, TimeoutError) as error:
            self.off = f"the endpoint does not serve there: {_words(error)}"

    async def settle(
        self, writes: Sequence[Write], promised: Mapping[Phase, frozenset[Promise]], state: Published
    ) -> None:
        """Return when every subscriber received all expected writes, or nothing more came for a while; the wait is
        shorter for owners, since what a policy hides from them never comes."""
        if self.off:
            return
        for subscriber in self.subscribers:
            mine = [write for write in writes if not subscriber.owns or owned(write, subscriber)]
            with contextlib.suppress(TimeoutError):
                while missing(mine, subscriber, promised, state):
                    self._news.clear()
                    async with asyncio.timeout(_SETTLE_OWNER_S if subscriber.owns else _SETTLE_S):
                        await self._news.wait()

    async def _start(self) -> None:
        extras.require("server", "The Realtime endpoint")
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="toolkit-endpoint-")))
        environment = server_environment(DATABASE_URL=self._dsn, SUPABASE_JWT_SECRET=self._secret)
        server = ServerHandle("realtime", COMMAND, environment, folder / "realtime.log")
        await server.start()
        self._stack.push_async_callback(server.stop)
        url = await server.wait_ready(_DEADLINE_S)
        for name in (SERVICE, *self._owners):
            key = mint_api_key(self._secret, SERVICE if name == SERVICE else "anon")
            token = key if name == SERVICE else mint(self._secret, sub=name)
            client = AsyncRealtimeClient(f"{url}/realtime/v1", token=key, auto_reconnect=False, max_retries=1)
            self._stack.push_async_callback(_close, client)
            async with asyncio.timeout(_JOIN_S):
                await client.set_auth(token)
                await client.connect()
            self._clients[name] = client
            self.subscribers.append(Subscriber(name, owns={} if name == SERVICE else self._columns))

    async def _bind(self, subscriber: Subscriber, tables: Sequence[str]) -> None:
        for start in range(0, len(tables), _BINDINGS):
            self._channels += 1
            channel = self._clients[subscriber.name].channel(f"toolkit-prove-{self._channels}")
            bound = tables[start : start + _BINDINGS]
            for table in bound:
                schema, _, name = table.partition(".")
                channel.on_postgres_changes(
                    RealtimePostgresChangesListenEvent.All, self._receiving(subscriber), table=name, schema=schema
                )
            live, told = asyncio.Event(), list[str]()
            channel.on_system(self._system(subscriber, bound, live, told))
            async with asyncio.timeout(_JOIN_S):
                await channel.subscribe(self._status(subscriber, bound, live, told))
                await live.wait()
            if told:
                raise ToolkitError(told[0], "Read the endpoint's log.")

    def _receiving(self, subscriber: Subscriber) -> Any:
        def change(payload: Mapping[str, Any]) -> None:
            data = payload["data"]
            row = data.get("old_record") if data["type"] == "DELETE" else data.get("record")
            subscriber.received.append(ReceivedChange(f"{data['schema']}.{data['table']}", data["type"], row or {}))
            if data.get("errors"):
                subscriber.trouble.append(f"{data['table']}: {data['errors']}")
            self._news.set()

        return change

    def _system(self, subscriber: Subscriber, tables: Sequence[str], live: asyncio.Event, told: list[str]) -> Any:
        def system(payload: Any) -> None:
            said = dict(payload) if isinstance(payload, Mapping) else payload.model_dump()
            if said.get("message") == _SUBSCRIBED:
                live.set()
            elif said.get("status") == "error":
                self._complain(subscriber, tables, live, told, str(said.get("message")))

        return system

    def _status(self, subscriber: Subscriber, tables: Sequence[str], live: asyncio.Event, told: list[str]) -> Any:
        def status(state: RealtimeSubscribeStates, error: Exception | None) -> None:
            if state is not RealtimeSubscribeStates.SUBSCRIBED:
                self._complain(subscriber, tables, live, told, f"{state.value}: {error}" if error else state.value)

        return status

    def _complain(
        self, subscriber: Subscriber, tables: Sequence[str], live: asyncio.Event, told: list[str], what: str
    ) -> None:
        """Note an error: before the channel is live, as the reason why it is not; afterwards as an interruption."""
        if not live.is_set():
            told.append(what)
            live.set()
        elif not self.taking_back.issuperset(tables):
            subscriber.trouble.append(what)


@asynccontextmanager
async def endpoint_on(dsn: str, look: Connection) -> AsyncIterator[Endpoint]:
    """An endpoint for the length of the block. A database without Supabase's roles, `auth` functions and publication
    gets none, and none is wanted there. Every process and connection ends with the block."""
    supabase = bool(await look.fetchval(sql.LIKE_SUPABASE, PUBLICATION, timeout=_DEADLINE_S))
    async with AsyncExitStack() as stack:
        yield Endpoint(dsn, stack, supabase=supabase)


def _references(shape: Shape, owner: str) -> list[str]:
    """Columns that refer to other tables and that many rows may share."""
    single = {name for names in (shape.primary_key, *shape.uniques) for name in names}
    referring = (name for key in shape.foreign_keys for name in key.columns)
    return [name for name in dict.fromkeys(referring) if name not in single and name != owner]


async def _close(client: AsyncRealtimeClient) -> None:
    # Should the first call fail, the second finds no socket and only ends the client's tasks.
    for _ in range(2):
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_JOIN_S):
                await client.close()


def _words(error: BaseException) -> str:
    lines: Iterable[str] = str(error).splitlines()
    return " ".join(lines) or f"no answer within {_JOIN_S} s"
