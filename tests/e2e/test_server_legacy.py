"""The legacy transport through real sockets: before the migration, during it, after it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import websockets

from tests.support.server_process import RunningServer, bearer, running_server

LEGACY = {"GENERATION_TRANSPORT": "websocket"}
START = {"initial_keywords": ["テスト", "article"], "target_age_group": "30代", "persona_type": "主婦"}
ANSWERS = {
    "select_persona": {"selected_id": 0},
    "select_theme": {"selected_index": 0},
    "approve_plan": {"approved": True},
    "approve_outline": {"approved": True},
}


class Client:
    """A legacy client that remembers every frame."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.frames: list[dict[str, Any]] = []

    async def next(self) -> dict[str, Any]:
        """The payload of the next server event."""
        async with asyncio.timeout(20):
            while True:
                frame = json.loads(await self.socket.recv())
                if frame["type"] == "server_event":
                    self.frames.append(frame["payload"])
                    return frame["payload"]

    async def until(self, key: str) -> dict[str, Any]:
        while key not in (payload := await self.next()):
            assert "error_message" not in payload or key == "error_message", payload
        return payload

    async def answer(self, response_type: str, payload: dict[str, Any]) -> None:
        frame = {"type": "client_response", "response_type": response_type, "payload": payload}
        await self.socket.send(json.dumps(frame))

    async def finish(self) -> dict[str, Any]:
        """Answer every prompt until the final frame."""
        while True:
            payload = await self.next()
            assert "error_message" not in payload, payload
            if "request_type" in payload:
                await self.answer(payload["request_type"], ANSWERS[payload["request_type"]])
            if "final_html_content" in payload:
                return payload

    async def closed(self) -> tuple[int, str]:
        async with asyncio.timeout(20):
            await self.socket.wait_closed()
        return self.socket.close_code or 0, self.socket.close_reason or ""


def connect(server: RunningServer, process_id: str | None = None, *, sub: str = "user_1") -> Any:
    query = f"?process_id={process_id}" if process_id else ""
    return websockets.connect(
        f"{server.ws_url}/api/articles/ws/generate{query}", additional_headers=bearer(sub), open_timeout=10
    )


async def begin(socket: websockets.ClientConnection, **body: Any) -> tuple[Client, str]:
    client = Client(socket)
    await socket.send(json.dumps(START | body))
    return client, (await client.until("process_id"))["process_id"]


async def test_a_whole_generation_before_the_migration(legacy_db: str) -> None:
    async with running_server(legacy_db, env=LEGACY) as server, server.client() as http:
        async with connect(server) as socket:
            client, process_id = await begin(socket)
            final = await client.finish()
            assert await client.closed() == (1000, "completed")
        state = (await http.get(f"/api/articles/generation/{process_id}")).json()
        assert state["status"] == "completed"
        assert state["progress_percentage"] == 100
        assert state["transport"] == "websocket"
        assert state["realtime_channel"] is None
        article = (await http.get(f"/api/articles/{final['article_id']}")).json()
        assert article["title"] == final["title"]
        assert article["content"] == final["final_html_content"]
        assert article["generation_process_id"] == process_id
        ready = (await http.get("/health/ready")).json()
        assert ready["status"] == "ready"
        assert ready["checks"]["replication"]["status"] == "off"
        listed = (await http.get("/api/articles/generation")).json()
        assert [process["process_id"] for process in listed["processes"]] == [process_id]
        sections = [frame for frame in client.frames if "section_index" in frame]
        for index in {frame["section_index"] for frame in sections}:
            mine = [frame for frame in sections if frame["section_index"] == index]
            assert "".join(frame["html_content_chunk"] for frame in mine) == mine[-1]["section_complete_content"]
        progress = [frame["progress_percentage"] for frame in client.frames if "progress_percentage" in frame]
        assert progress == sorted(progress)
