"""An application's Supabase client as the way in: its session, its renewal and its Realtime connection, end to end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from supabase import AsyncClient, AsyncClientOptions, Client, acreate_client
from supabase_auth.types import Session

from tests.integration.client.conftest import QUICK, Process
from tests.integration.client.test_stream import Application, comes_live, complete
from tests.support.golden import SECRET
from tests.support.standin_auth import StandIn, standin_project
from tests.support.waiting import until
from toolkit.client.connection import Frame
from toolkit.client.errors import ApiError, StreamFailed
from toolkit.client.generation import GenerationClient
from toolkit.client.stream import ProcessEventStream
from toolkit.client.supabase_session import SessionTokens
from toolkit.errors import UsageError

EMAIL, PASSWORD = "aiko@example.org", "a long enough password"
# The client renews a session ten seconds before its end: two seconds after the beginning.
SHORT_S = 12


@asynccontextmanager
async def signed_in(project: StandIn, **options: Any) -> AsyncIterator[AsyncClient]:
    async with httpx.AsyncClient(timeout=10) as http:
        settings = AsyncClientOptions(httpx_client=http, persist_session=False, **options)
        client = await acreate_client(project.url, project.anon_key, settings)
        await client.auth.sign_in_with_password({"email": EMAIL, "password": PASSWORD})
        try:
            yield client
        finally:
            await client.auth.sign_out({"scope": "local"})
            await client.realtime.close()


@pytest.fixture
async def project(realtime: str) -> AsyncIterator[StandIn]:
    async with standin_project(realtime, SECRET) as standin:
        yield standin


@pytest.fixture
async def owner(project: StandIn, process: Process) -> str:
    """Registers the user, and gives the process to them."""
    return await owned(project, process)


async def owned(project: StandIn, process: Process) -> str:
    user = await project.register(EMAIL, PASSWORD)
    await process.writer.execute("update generated_articles_state set user_id = $1 where id = $2", user, process.id)
    return user


def stream_on(client: AsyncClient, process: Process, **options: Any) -> ProcessEventStream:
    return ProcessEventStream.from_supabase(client, process.id, fetch=process.page, limits=QUICK, **options)


async def test_events_come_over_the_clients_own_connection(project: StandIn, owner: str, process: Process) -> None:
    async with signed_in(project) as client:
        mine = client.channel("the application's own")
        await mine.subscribe()
        async with stream_on(client, process) as stream:
            application = Application(stream)
            await comes_live(process, application)
            await process.write("generation_completed", title="t")
            assert await application.finished() == complete(await process.last())
        assert (await project.told())["calls"]["sockets"] == 1, "the stream opened no socket of its own"
        assert client.get_channels() == [mine], "the stream left its channel and no other"
        assert mine.is_joined


async def test_a_renewed_token_loses_nothing_and_the_channel_stays(realtime: str, process: Process) -> None:
    renewed: list[Session | None] = []
    frames: list[Frame] = []
    async with standin_project(realtime, SECRET, ttl_s=SHORT_S) as project:
        await owned(project, process)
        async with signed_in(project) as client:
            client.auth.on_auth_state_change(
                lambda event, session: renewed.append(session) if event == "TOKEN_REFRESHED" else None
            )
            async with stream_on(client, process, tap=frames.append) as stream:
                application = Application(stream)
                await comes_live(process, application)
                (channel,) = client.get_channels()
                while len(renewed) < 2:  # through two renewals, events all the while
                    sequence = await process.write()
                    await until(lambda sequence=sequence: sequence in application.sequences, "the event")
                session = renewed[-1]
                assert session is not None
                assert client.realtime.access_token == session.access_token
                assert channel.join_push.payload["access_token"] == session.access_token
                await comes_live(process, application)
                await process.write("generation_completed", title="t")
                assert await application.finished() == complete(await process.last())
                assert stream.reconnects == 0
    assert [frame.payload["status"] for frame in frames if frame.kind == "status"] == ["SUBSCRIBED"]


async def test_planted_a_token_that_is_not_handed_over_costs_the_channel_but_no_event(
    realtime: str, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with standin_project(realtime, SECRET, ttl_s=3) as project:
        await owned(project, process)
        async with signed_in(project) as client, stream_on(client, process) as stream:
            application = Application(stream)
            await comes_live(process, application)

            async def forgets(token: str | None) -> None:
                return

            with monkeypatch.context() as planted:
                planted.setattr(client.realtime, "set_auth", forgets)
                await until(lambda: stream.reconnects > 0, "the server to end the channel")
                await process.write()
            await comes_live(process, application)
            await process.write("generation_completed", title="t")
            assert await application.finished() == complete(await process.last())


async def test_a_client_that_does_not_renew_by_itself_is_asked_to(realtime: str, process: Process) -> None:
    """With auto_refresh_token off nobody else does: at five seconds before the end we ask, and the client renews."""
    async with standin_project(realtime, SECRET, ttl_s=8) as project:
        await owned(project, process)
        async with signed_in(project, auto_refresh_token=False) as client, stream_on(client, process) as stream:
            application = Application(stream)
            await comes_live(process, application)
            first = client.realtime.access_token
            await until(lambda: client.realtime.access_token != first, "another token")
            await comes_live(process, application)
            await process.write("generation_completed", title="t")
            assert await application.finished() == complete(await process.last())
            assert stream.reconnects == 0


async def test_a_lost_connection_of_the_client_costs_nothing(project: StandIn, owner: str, process: Process) -> None:
    async with signed_in(project) as client, stream_on(client, process) as stream:
        application = Application(stream)
        await comes_live(process, application)
        socket = client.realtime._ws_connection
        assert socket is not None
        socket.transport.abort()
        await until(lambda: stream.reconnects > 0, "the loss to be noticed")
        await comes_live(process, application)
        await process.write("generation_completed", title="t")
        assert await application.finished() == complete(await process.last())


async def test_a_refused_token_is_renewed_and_a_session_that_is_over_is_told(project: StandIn, owner: str) -> None:
    async with signed_in(project) as client:
        tokens = SessionTokens(client)
        first = await tokens.get()
        assert await tokens.get() == first
        second = await tokens.get(refused=first)
        assert second != first
        await project.revoke_refresh_tokens()
        with pytest.raises(ApiError, match="The session is over") as over:
            await tokens.get(refused=second)
        assert over.value.status == 400
        await client.auth.sign_out({"scope": "local"})
        with pytest.raises(ApiError, match="Nobody is signed in"):
            await tokens.get()


async def test_signing_out_ends_the_stream_in_words(project: StandIn, owner: str, process: Process) -> None:
    async with signed_in(project) as client:
        await client.auth.sign_out({"scope": "local"})
        tokens = SessionTokens(client)

        async def fetch(process_id: str, since_sequence: int, /) -> Any:
            await tokens.get()
            return await process.page(process_id, since_sequence)

        stream = ProcessEventStream.from_supabase(client, process.id, fetch=fetch, tokens=tokens, limits=QUICK)
        async with stream:
            with pytest.raises(StreamFailed, match="Nobody is signed in"):
                await anext(stream)


def test_the_synchronous_client_is_refused() -> None:
    client = Client("http://127.0.0.1:1", "key")
    with pytest.raises(UsageError, match="synchronous"):
        GenerationClient.from_supabase(client, "http://127.0.0.1:1")  # type: ignore[arg-type]
