"""Recorded conversations of a real Realtime server, replayed against ours.

A case is a list of steps in tests/golden/realtime-frames/*.jsonl. Client frames, SQL and HTTP
requests are sent as recorded (placeholders filled in); what the server answers is compared with
what was recorded, as JSON, apart from what no two servers share: generated ids, timestamps, the
order between sockets and between a reply and the fan-out it caused.

A case is replayed (`cases`), replayed with a named difference (`Difference.change` rewrites what is
expected), or named as not compared (`Difference.change is None`). There is no fourth way.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import asyncpg
import httpx
import jwt
import uvicorn
from starlette.types import ASGIApp
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as ws_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from reference_server.realtime.messages.message_table import MessageTable
from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.sockets.router import uvicorn_options
from tests.support.databases import as_superuser
from tests.support.golden_match import Mismatch, Names, match_frame, match_http

FRAMES = Path(__file__).resolve().parents[1] / "golden" / "realtime-frames"
FAN_OUT = re.compile(r'"(broadcast|presence_diff|postgres_changes|INSERT|UPDATE|DELETE)"[,}]')
USER_BROADCAST = 4
# Its rows tell that everything before them was delivered; who subscribed to everything gets them too.
PROBE_TABLE = "feed_probe"
SETUP = FRAMES / "setup.sql"
SECRET = "golden-frames-secret-with-at-least-32-bytes"
OWNERS = {
    "owner-a": "a0000000-0000-4000-8000-00000000000a",
    "owner-b": "b0000000-0000-4000-8000-00000000000b",
}
ANSWER_S = 8.0  # an answer that is not there by then will not come
TIME_SCALE = 0.1  # of recorded silences and of tokens about to expire
SILENCE_S = 0.05  # the longest silence that is listened to, unless a token is about to expire


@dataclass(frozen=True)
class Step:
    case: str
    vsn: str
    step: int
    dir: str
    text: str | None = None
    hex: str | None = None
    conn: str = "a"
    note: str = ""
    ms: int = 0

    @property
    def frame(self) -> str | bytes | None:
        return bytes.fromhex(self.hex) if self.hex is not None else self.text

    @property
    def statements(self) -> list[str]:
        """The step's SQL; a note such as `50 commits, N = 51 .. 100` means one for each N."""
        text, numbers = self.text or "", re.search(r"N = (\d+) \.\. (\d+)", self.note)
        if numbers is None:
            return [text]
        return [text.replace("N,", f"{n},") for n in range(int(numbers[1]), int(numbers[2]) + 1)]

    @property
    def silence_s(self) -> float | None:
        found = re.match(r"silence for (\d+) ms", self.note)
        return int(found[1]) / 1000 if found and self.dir == "server" and self.frame is None else None

    @property
    def closed(self) -> int | None:
        found = re.match(r"websocket closed by server, code (\d+)", self.note)
        return int(found[1]) if found else None

    def __str__(self) -> str:
        return f"{self.case} vsn {self.vsn} step {self.step} ({self.conn}): {(self.text or self.hex or '')[:300]}"


Steps = list[Step]
# Returns when everything that committed has been handed to the sockets.
Settle: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Difference:
    """Where we mean to differ, and why. `change` rewrites the recorded steps; None: not compared."""

    reason: str
    change: Callable[[Steps], Steps] | None = None


def cases(*files: str) -> dict[tuple[str, str], Steps]:
    """(case, vsn) → steps, of the named files (`connect`, `join`, …) or of all that are in the repository."""
    paths = [FRAMES / f"{name}.jsonl" for name in files] or sorted(FRAMES.glob("*.jsonl"))
    found: dict[tuple[str, str], Steps] = {}
    for path in paths:
        # Not splitlines(): a frame may hold U+2028, which is no end of a line of JSON.
        for line in filter(None, path.read_text(encoding="utf-8").split("\n")):
            step = Step(**json.loads(line))
            found.setdefault((step.case, step.vsn), []).append(step)
    return found


def touches_database(steps: Steps) -> bool:
    return any(step.dir == "sql" for step in steps)


def expected(steps: Steps, difference: Difference | None) -> Steps:
    """What the case must look like here. The real server sends v1 peers some invalid JSON; we send none."""
    steps = [step for step in steps if not step.note.startswith("not valid JSON")]
    return difference.change(steps) if difference is not None and difference.change is not None else steps


def edit(pattern: str, replacement: str) -> Callable[[Steps], Steps]:
    """A change: in the server's frames, replace text by a regular expression. It must occur."""

    def change(steps: Steps) -> Steps:
        changed = [
            replace(step, text=re.sub(pattern, replacement, step.text))
            if step.dir in {"server", "http"} and step.text is not None
            else step
            for step in steps
        ]
        assert changed != steps, f"{pattern} does not occur in {steps[0].case}"
        return changed

    return change


def without(pattern: str) -> Callable[[Steps], Steps]:
    """A change: server frames that contain the pattern are not sent by us."""

    def change(steps: Steps) -> Steps:
        kept = [step for step in steps if not (step.dir == "server" and step.text and re.search(pattern, step.text))]
        assert len(kept) < len(steps), f"{pattern} does not occur in {steps[0].case}"
        return kept

    return change


def last_leave_by_closing(name: str) -> Callable[[Steps], Steps]:
    """A change: the recording ended by closing its sockets, which was not recorded; its last presence_diff was."""

    def change(steps: Steps) -> Steps:
        gone = re.findall(r'"phx_ref":"([^"]+)"', steps[-1].text or "")[-1]
        at = next(i for i, step in enumerate(steps) if gone in (step.text or "") and '"joins":{}' in (step.text or ""))
        closing = replace(steps[at], dir="client", text=None, conn=name, note="websocket closed by client")
        return [*steps[:at], closing, *steps[at:]]

    return change


Frame = TypeVar("Frame", str, bytes)


def repeated(frame: Frame) -> Frame:
    """The frame with its long values written out."""
    if isinstance(frame, bytes):
        return frame
    return re.sub(r"<repeat:(.):(\d+)>", lambda found: found[1] * int(found[2]), frame)


class Tokens:
    """Mints what the placeholders name; the same placeholder is the same token within a case."""

    def __init__(self) -> None:
        self._minted: dict[str, str] = {}

    def fill(self, text: str) -> str:
        return repeated(re.sub(r"<jwt:([^>]*)>", lambda found: self._token(found[1]), text))

    def _token(self, name: str) -> str:
        if name not in self._minted:
            self._minted[name] = mint(name)
        return self._minted[name]


def mint(name: str) -> str:
    """`ROLE:OWNER[:variant]` as a token, with the variants of the recordings."""
    parts = name.split(":")
    secret = SECRET
    claims: dict[str, Any] = {"exp": int(time.time()) + 3600}
    for part in parts:
        if part in {"authenticated", "anon", "service_role"}:
            claims["role"] = part
        elif part in OWNERS:
            claims["sub"] = OWNERS[part]
        elif part == "expired":
            claims["exp"] = int(time.time()) - 100
        elif part == "other-secret":
            secret = "another-secret-that-nobody-else-knows"
        elif part == "no-exp":
            del claims["exp"]
        elif part == "decimal-exp-iat":
            claims |= {"exp": time.time() + 3600.5, "iat": time.time() - 0.5}
        elif part == "exp-as-string":
            claims["exp"] = str(claims["exp"])
        elif part == "refreshed":
            claims["exp"] += 60
        elif part.startswith("exp+"):
            claims["exp"] = time.time() + float(part[4:-1]) * TIME_SCALE
        else:
            assert part in {"none", "no-role"}, f"unknown token variant {part}"
    # PyJWT insists on whole seconds of a text exp; the recordings contain one on purpose.
    return jwt.encode(claims, secret, "HS256")


@dataclass
class _Closed:
    code: int


@dataclass
class Socket:
    connection: ClientConnection
    frames: asyncio.Queue[str | bytes | _Closed] = field(default_factory=asyncio.Queue)
    reader: asyncio.Task[None] | None = None

    async def read(self) -> None:
        try:
            async for frame in self.connection:
                if f'"table":"{PROBE_TABLE}"' not in str(frame):
                    self.frames.put_nowait(frame)
        except ConnectionClosed:
            pass
        self.frames.put_nowait(_Closed(self.connection.close_code or 1006))


class Replay:
    """One run of one case."""

    def __init__(
        self,
        port: int,
        dsn: str | None,
        *,
        answer_s: float = ANSWER_S,
        settle: Settle | None = None,
        unordered: bool = False,
    ) -> None:
        self._settle = settle
        self._unordered = unordered
        self._port = port
        self._dsn = dsn
        self._answer_s = answer_s
        self._tokens = Tokens()
        self._names = Names()
        self._sockets: dict[str, Socket] = {}
        self._http: dict[str, asyncio.Task[httpx.Response]] = {}
        self._upgrades: dict[str, tuple[int, bytes]] = {}

    async def run(self, steps: Steps) -> None:
        """Raises Mismatch at the first step that is not as expected."""
        exact_time = any("exp+" in (step.text or "") for step in steps)
        conn = await asyncpg.connect(self._dsn, timeout=10) if self._dsn and touches_database(steps) else None
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._port}", timeout=10)
        try:
            at = 0
            while at < len(steps):
                at += await self._step(steps, at, conn, client, exact_time)
            await asyncio.sleep(0.02)
            for name, opened in self._sockets.items():
                while not opened.frames.empty():
                    frame = opened.frames.get_nowait()
                    if not isinstance(frame, _Closed):
                        raise Mismatch(f"{steps[-1]}\n{name} received more than was recorded: {frame!r:.400}")
        finally:
            for opened in self._sockets.values():
                await opened.connection.close()
                if opened.reader is not None:
                    await opened.reader
            for task in self._http.values():
                task.cancel()
            await client.aclose()
            if conn is not None:
                await conn.close(timeout=5)

    async def _step(
        self, steps: Steps, at: int, conn: asyncpg.Connection | None, client: httpx.AsyncClient, exact_time: bool
    ) -> int:
        step = steps[at]
        if step.dir == "sql":
            assert conn is not None, "this case needs a database"
            for statement in step.statements:
                await conn.execute(statement, timeout=10)
        elif step.dir == "http":
            await self._http_step(step, client)
        elif step.dir == "client":
            opened = self._sockets[step.conn]
            frame = step.frame
            if frame is None:
                assert "closed by client" in step.note, step
                await opened.connection.close()
                if at + 1 < len(steps):  # the recorded pause, in which the server noticed
                    await asyncio.sleep(min((steps[at + 1].ms - step.ms) / 1000 * TIME_SCALE, SILENCE_S))
            else:
                with suppress(ConnectionClosed):  # a close while sending is what the next step expects, or not
                    await opened.connection.send(self._tokens.fill(frame) if isinstance(frame, str) else frame)
        elif step.silence_s is not None:
            await self._silent(step, exact_time)
        elif step.closed is not None:
            got = await self._next(step)
            if got != _Closed(step.closed):
                raise Mismatch(f"{step}\nexpected close {step.closed}, got {got!r:.300}")
        else:
            run = [step]
            while at + len(run) < len(steps) and steps[at + len(run)].dir == "server":
                following = steps[at + len(run)]
                if following.frame is None:
                    break
                run.append(following)
            await self._frames(run)
            return len(run)
        return 1

    async def _frames(self, run: Steps) -> None:
        """A run of frames: in order for each socket, replies and fan-out apart."""
        for name in dict.fromkeys(step.conn for step in run):
            wanted = [step for step in run if step.conn == name]
            got = [await self._next(step) for step in wanted]
            if self._unordered:
                wanted, got = sorted(wanted, key=_shape), sorted(got, key=_shape)
            for step, frame in zip(*_in_groups(wanted, got), strict=True):
                if isinstance(frame, _Closed):
                    raise Mismatch(f"{step}\nthe server closed the socket, code {frame.code}")
                assert step.frame is not None
                try:
                    match_frame(repeated(step.frame), frame, self._names)
                except Mismatch as error:
                    raise Mismatch(f"{step}\ngot {frame!r:.600}\n{error}") from None

    async def _next(self, step: Step) -> str | bytes | _Closed:
        try:
            async with asyncio.timeout(self._answer_s):
                return await self._sockets[step.conn].frames.get()
        except TimeoutError:
            raise Mismatch(f"{step}\nnothing was received within {self._answer_s} s") from None

    async def _silent(self, step: Step, exact_time: bool) -> None:
        assert step.silence_s is not None
        if self._settle is not None and step.conn in self._sockets:
            await self._settled(step, self._sockets[step.conn], self._settle)
            return
        window = step.silence_s * TIME_SCALE if exact_time else min(step.silence_s * TIME_SCALE, SILENCE_S)
        try:
            async with asyncio.timeout(window):
                got = await self._sockets[step.conn].frames.get()
        except TimeoutError:
            return
        raise Mismatch(f"{step}\nexpected silence, got {got!r:.400}")

    async def _settled(self, step: Step, opened: Socket, settle: Settle) -> None:
        """Silence without waiting: what was to be sent is on its way before a heartbeat's answer."""
        await settle()
        beat = {"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "settle"}
        await opened.connection.send(
            json.dumps(beat if step.vsn == "1.0.0" else [None, *map(beat.get, ("ref", "topic", "event", "payload"))])
        )
        got = await self._next(step)
        if not isinstance(got, str) or '"phoenix"' not in got:
            raise Mismatch(f"{step}\nexpected silence, got {got!r:.400}")

    async def _http_step(self, step: Step, client: httpx.AsyncClient) -> None:
        text = self._tokens.fill(step.text or "")
        if step.note == "websocket upgrade request":
            await self._upgrade(step.conn, text)
        elif step.note.startswith("request"):
            head, _, body = text.partition("\n\n")
            request, *headers = head.split("\n")
            method, _, path = request.partition(" ")
            content = bytes.fromhex(step.hex) if step.hex is not None else body.encode()
            pairs = [tuple(header.split(": ", 1)) for header in headers]
            self._http[step.conn] = asyncio.create_task(
                client.request(method, path, headers=pairs, content=content)  # type: ignore[arg-type]
            )
        elif step.conn in self._upgrades:
            status, payload = self._upgrades.pop(step.conn)
            match_http(str(step), text, status, {}, payload)
        else:
            response = await self._http.pop(step.conn)
            match_http(str(step), text, response.status_code, dict(response.headers), response.content)

    async def _upgrade(self, name: str, text: str) -> None:
        request, *lines = text.split("\n")
        path = request.removeprefix("GET ")
        headers = [tuple(line.split(": ", 1)) for line in lines]
        try:
            connection = await ws_connect(
                f"ws://127.0.0.1:{self._port}{path}",
                additional_headers=headers,  # type: ignore[arg-type]
                compression=None,
                max_size=None,
                ping_interval=None,
                open_timeout=10,
            )
        except InvalidStatus as refused:
            self._upgrades[name] = (refused.response.status_code, bytes(refused.response.body or b""))
            return
        self._upgrades[name] = (101, b"")
        opened = self._sockets[name] = Socket(connection)
        opened.reader = asyncio.create_task(opened.read())


def _shape(item: object) -> str:
    """By which frames without an order are put into one: their keys, whatever order those are sent in."""
    frame = item.frame if isinstance(item, Step) else item
    return " ".join(sorted(re.findall(r'"[^"]+":', str(frame))))


def _in_groups(wanted: Steps, got: list[Any]) -> tuple[Steps, list[Any]]:
    """Both sides with fan-out last, topic by topic; order kept within each."""
    return sorted(wanted, key=lambda step: _group(step.frame)), sorted(got, key=_group)


def _group(frame: object) -> tuple[bool, str]:
    """Fan-out or not, and for fan-out its topic."""
    if isinstance(frame, bytes):
        return True, frame[5 if frame[0] == USER_BROADCAST else 3 :][: frame[1]].decode(errors="replace")
    if not isinstance(frame, str) or FAN_OUT.search(frame[:400]) is None:
        return False, ""
    topic = re.search(r'"realtime:[^"]*"', frame)
    return True, topic[0] if topic else ""


class LiveServer:
    """uvicorn in a thread of its own on a free loopback port, as in production apart from the thread."""

    def __init__(self, app: ASGIApp) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                **uvicorn_options(Limits()),
                log_level="warning",
                lifespan="on",
                timeout_graceful_shutdown=5,
            )
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    async def start(self, deadline_s: float = 30) -> None:
        self._thread.start()
        async with asyncio.timeout(deadline_s):
            while not self._server.started:
                assert self._thread.is_alive(), "the server did not start; its log says why"
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._server.should_exit = True
        await asyncio.to_thread(self._thread.join, 15)
        self._socket.close()
        assert not self._thread.is_alive(), "the server did not stop"


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """The port of a running server for `app`."""
    server = LiveServer(app)
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop()


async def prepare(dsn: str) -> None:
    """The database objects that were in force during the recording, on a bare database."""
    conn = await asyncpg.connect(dsn, timeout=10)
    try:
        await conn.execute(SETUP.read_text(encoding="utf-8"), timeout=30)
        # The test cluster flushes WAL 200 ms late, and only what is flushed is streamed.
        name = await conn.fetchval("select quote_ident(current_database())")
        await conn.execute(f"alter database {name} set synchronous_commit = on")
    finally:
        await conn.close(timeout=5)
    await publish_messages(dsn)


async def publish_messages(dsn: str) -> None:
    """What the Realtime service of a hosted project makes as the owner of `realtime.messages`."""
    table = MessageTable(dsn, owner_dsn=as_superuser(dsn))
    try:
        await table.publish()
    finally:
        await table.close()


async def empty_tables(dsn: str) -> None:
    """Each case was recorded on empty tables."""
    conn = await asyncpg.connect(dsn, timeout=10)
    try:
        names = [
            row["name"]
            for row in await conn.fetch(
                "select format('%I.%I', schemaname, tablename) as name from pg_tables"
                " where schemaname = 'gfw' or (schemaname = 'public' and tablename ~* '^gf')"
            )
        ]
        any_row = " union all ".join(f"select '{name}' where exists (select from {name})" for name in names)
        if filled := [row[0] for row in await conn.fetch(any_row)]:
            await conn.execute(f"truncate {', '.join(filled)}")
    finally:
        await conn.close(timeout=5)


def undecided(recorded: Iterable[str], compared: Iterable[str], differences: dict[str, Difference]) -> set[str]:
    """Cases that are neither compared nor named."""
    named = {case for case, difference in differences.items() if difference.change is None}
    return set(recorded) - set(compared) - named
