"""The client library against the whole system in processes of its own: embedded Postgres, server, broken networks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import until
from toolkit.client.errors import ApiError, NotReached, StreamFailed
from toolkit.client.generation import GenerationClient
from toolkit.client.legacy import LegacyFrame, LegacyWebSocketClient, SocketClosed
from toolkit.client.recovery import RecoveryLimits
from toolkit.client.session import ArticleGeneration, answer_with_first
from toolkit.client.state import GenerationState
from toolkit.scenarios.faults.proxy import TcpProxy
from toolkit.targets.embedded import EmbeddedTarget

pytestmark = pytest.mark.xdist_group("client_system")

START = {"initial_keywords": ["test"], "target_age_group": "30代", "persona_type": "主婦"}
QUICK = RecoveryLimits(silence_s=1, connect_base_s=0.05, connect_cap_s=0.5, fetch_base_s=0.05, fetch_cap_s=0.5)


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedTarget]:
    folder: Path = tmp_path_factory.mktemp("system")
    async with EmbeddedTarget(folder / "data", throwaway=True) as embedded:
        await embedded.start_server("api", transport="both", env={"WRITER_STEP_LATENCY_MS": "20"})
        yield embedded


def article(system: EmbeddedTarget, sub: str = "user_a", **options: Any) -> ArticleGeneration:
    return ArticleGeneration.on(system.target, system.target.user_token(sub), limits=QUICK, **options)


def in_order(article: ArticleGeneration) -> bool:
    return [event.sequence for event in article.events] == list(range(1, len(article.events) + 1))


async def test_the_guides_hook_from_start_to_article(system: EmbeddedTarget) -> None:
    async with article(system) as generation:
        await generation.start_article_generation(**START)
        await generation.wait_until(lambda s: s.input_type == "select_persona" and bool(s.personas))
        assert generation.is_waiting_for_input
        assert generation.current_step == "persona_generated"
        assert generation.is_connected
        await generation.select_persona(1)
        await generation.wait_until(lambda s: s.input_type == "select_theme" and bool(s.themes))
        await generation.regenerate()
        again = await generation.wait_until(lambda s: s.current_step == "theme_generating")
        assert not again.is_waiting_for_input
        await generation.wait_until(lambda s: s.input_type == "select_theme")
        await generation.select_theme(0)
        await generation.wait_until(lambda s: s.input_type == "approve_plan" and s.research_plan is not None)
        await generation.approve_plan(False)
        first = generation.state.prompt_sequence
        await generation.wait_until(lambda s: s.input_type == "approve_plan" and s.prompt_sequence > first)
        await generation.approve_plan()
        await generation.wait_until(lambda s: s.input_type == "approve_outline" and s.outline is not None)
        await generation.approve_outline()
        done = await generation.wait_until(lambda s: s.is_finished, 60)
        assert done.status == "completed", done.error
        assert done.article_id is not None
        saved = await generation.client.get_article(done.article_id)
        assert saved.generation_process_id == generation.process_id
        assert all(section.content in saved.content for section in done.completed_sections)
        assert done.sections_progress == (len(done.completed_sections),) * 2
        assert done.unknown_events == 0
        assert in_order(generation)
        stored = await generation.client.events_since(generation.process_id)
        assert [(e.id, dict(e.data)) for e in stored] == [(e.id, dict(e.data)) for e in generation.events]
        with pytest.raises(StreamFailed, match="No event of"):
            await generation.wait_until(lambda s: s.status == "cancelled", 5)


async def test_the_whole_flow_over_a_network_that_breaks(system: EmbeddedTarget) -> None:
    """HTTP and Realtime alike are cut at random moments; answers are repeated and never count twice."""
    assert system.target.api_url is not None
    rng = random.Random(5)
    async with TcpProxy.before(system.target.api_url) as proxy:
        target = system.target
        token, key = target.user_token("user_b"), target.get("SUPABASE_ANON_KEY")
        async with ArticleGeneration(proxy.url, proxy.url, key, token, limits=QUICK) as generation:
            await generation.start_article_generation(**START)
            over = asyncio.Event()
            cut = 0

            async def break_it() -> None:
                nonlocal cut
                while not over.is_set():
                    cut += proxy.cut().connections
                    await asyncio.sleep(rng.uniform(0.05, 0.4))

            breaking = asyncio.create_task(break_it())
            try:
                done = await generation.run_to_end(90)
            finally:
                over.set()
                await breaking
            assert done.status == "completed", generation.describe()
            assert cut >= 3
            assert generation.stream is not None
            assert generation.stream.reconnects >= 1
            assert in_order(generation)
            resolved = [e for e in generation.events if e.type == "user_input_resolved"]
            assert len(resolved) == 4, "an answer counted twice"
            assert (await generation.client.get_state(generation.process_id)).last_event_sequence == len(
                generation.events
            )


async def test_a_second_window_sees_the_same(system: EmbeddedTarget) -> None:
    async with article(system) as first:
        started = await first.start_article_generation(**START, auto_mode=True)
        done = await first.wait_until(lambda s: s.is_finished, 60)
        async with article(system) as second:
            second.attach(started.process_id)
            assert (await second.wait_until(lambda s: s.is_finished)) == done
            assert {event.via for event in second.events} == {"backfill"}


async def test_pause_resume_cancel(system: EmbeddedTarget) -> None:
    async with article(system) as generation:
        await generation.start_article_generation(**START)
        await generation.wait_until(lambda s: s.is_waiting_for_input)
        assert (await generation.pause()).status == "paused"
        assert (await generation.pause()).status == "paused"
        await generation.wait_until(lambda s: s.is_paused and not s.is_waiting_for_input)
        with pytest.raises(ApiError) as refused:
            await generation.select_persona(0)
        assert refused.value.status == 409
        asked = generation.state.prompt_sequence
        await generation.resume()
        await generation.wait_until(lambda s: s.is_waiting_for_input and s.prompt_sequence > asked)
        assert (await generation.cancel()).status == "cancelled"
        await generation.wait_until(lambda s: s.status == "cancelled")
        assert (await generation.cancel()).status == "cancelled"
        assert generation.events[-1].type == "generation_cancelled"


async def test_refusals_are_typed(system: EmbeddedTarget) -> None:
    async with GenerationClient(system.target.get("API_URL"), system.target.user_token("user_a")) as client:
        with pytest.raises(ApiError) as invalid:
            await client.start_article_generation(initial_keywords=[])
        assert (invalid.value.status, bool(invalid.value.remedy), bool(invalid.value.request_id)) == (422, True, True)
        started = await client.start_article_generation(**START)
        first = await client.start_article_generation(**START, idempotency_key="one")
        assert (await client.start_article_generation(**START, idempotency_key="one")).process_id == first.process_id
        info = await client.realtime_info(started.process_id)
        assert info.realtime_channel == started.realtime_channel
        written = await client.test_event(started.process_id, "hello")
        await client.acknowledge(started.process_id, written.event_id)
        (found,) = (await client.events(started.process_id, 0, event_types=["test_event"])).events
        assert (found.id, found.sequence, found.data["message"]) == (written.event_id, written.event_sequence, "hello")
        listed = {str(one["process_id"]) for one in (await client.list_processes(limit=100)).processes}
        assert {started.process_id, first.process_id} <= listed
        assert "queue" in await client.background_tasks_status()
    async with GenerationClient(system.target.get("API_URL"), system.target.user_token("user_z")) as stranger:
        with pytest.raises(ApiError) as hidden:
            await stranger.get_state(started.process_id)
        assert hidden.value.status == 404
        async with article(system, "user_z") as generation:
            generation.attach(started.process_id)
            with pytest.raises(StreamFailed):
                await generation.wait_until(lambda s: s.is_finished, 15)
    async with GenerationClient(system.target.get("API_URL"), "no token") as anonymous:
        with pytest.raises(ApiError) as unknown:
            await anonymous.list_processes()
        assert unknown.value.status == 401


async def test_a_server_that_is_killed_and_comes_back(system: EmbeddedTarget) -> None:
    server = await system.start_server("second", transport="both", env={"WRITER_STEP_LATENCY_MS": "20"})
    target = system.target
    token, key = target.user_token("user_c"), target.get("SUPABASE_ANON_KEY")
    async with ArticleGeneration(server.url, server.url, key, token, limits=QUICK) as generation:
        await generation.start_article_generation(**START)
        await generation.wait_until(lambda s: s.is_waiting_for_input)
        server.kill()
        await server.wait_exited(10)
        stream = generation.stream
        assert stream is not None
        await until(lambda: stream.reconnects > 0, "the loss to be noticed")
        with pytest.raises(NotReached) as gone:
            await generation.resume()
        assert gone.value.definite
        await system.restart_server("second")
        done = await generation.run_to_end(60)
        assert done.status == "completed"
        assert in_order(generation)
    await system.stop_server("second")


async def test_the_legacy_socket_from_start_to_article(system: EmbeddedTarget) -> None:
    answers: dict[str, dict[str, Any]] = {
        "select_persona": {"selected_id": 0},
        "select_theme": {"selected_index": 0},
        "approve_plan": {"approved": True},
        "approve_outline": {"approved": True},
    }
    token = system.target.user_token("user_legacy")
    frames: list[LegacyFrame] = []
    asked: list[str | None] = []
    async with LegacyWebSocketClient(system.target.get("API_URL"), token) as client:
        await client.start(**START)
        async with asyncio.timeout(60):
            async for frame in client:
                frames.append(frame)
                if frame.kind == "prompt":
                    break
    assert client.process_id is not None
    async with LegacyWebSocketClient(system.target.get("API_URL"), token) as client_again:
        # The first socket is gone with its question open: it is put again.
        await client_again.resume(client.process_id)
        async with asyncio.timeout(60):
            async for frame in client_again:
                frames.append(frame)
                if frame.kind == "prompt":
                    asked.append(frame.input_type)
                    assert frame.input_type is not None
                    await client_again.answer(frame.input_type, answers[frame.input_type])
                if frame.kind in {"final", "error"}:
                    break
    assert asked == list(answers)
    assert frames[-1].kind == "final", frames[-1]
    assert {frame.kind for frame in frames} >= {"status", "prompt", "research", "section", "final"}
    assert "unknown" not in {frame.kind for frame in frames}


async def test_the_legacy_socket_refuses_in_words(system: EmbeddedTarget) -> None:
    async with LegacyWebSocketClient(system.target.get("API_URL"), "no token") as client:
        with pytest.raises((SocketClosed, NotReached)):
            await client.start(**START)
            async for _ in client:
                pass
    async with LegacyWebSocketClient("http://127.0.0.1:9", "t") as client:
        with pytest.raises(NotReached) as gone:
            await client.start(**START)
        assert gone.value.definite


async def test_a_custom_answer_sees_the_proposals(system: EmbeddedTarget) -> None:
    async def choose_last(generation: ArticleGeneration, state: GenerationState) -> None:
        match state.input_type:
            case "select_persona":
                await generation.select_persona(len(state.personas) - 1)
            case "select_theme":
                await generation.select_theme(len(state.themes) - 1)
            case _:
                await answer_with_first(generation, state)

    async with article(system, "user_d") as generation:
        await generation.start_article_generation(**START, num_theme_proposals=2)
        assert (await generation.run_to_end(60, answer=choose_last)).status == "completed"
        picked = [e.data["user_response"] for e in generation.events if e.type == "user_input_resolved"]
        assert picked[1]["payload"]["selected_index"] == 1
