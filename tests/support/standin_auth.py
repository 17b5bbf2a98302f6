"""A stand-in for a Supabase project's front door: its auth server's HTTP for the calls we use, and Realtime behind it.

`python -m tests.support.standin_auth UPSTREAM` speaks GoTrue's password grant, refresh grant, logout and the admin's
create and delete of users at /auth/v1, and passes sockets at /realtime/v1/websocket on to UPSTREAM. Refresh tokens work
once, and for ten seconds more, as GoTrue's do. `GET /standin` tells how often each call was made.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jwt
import uvicorn
import websockets
from fastapi import FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from starlette.websockets import WebSocketDisconnect

from toolkit.tokens import mint, mint_api_key

REUSE_S = 10.0


@dataclass
class _User:
    id: str
    email: str
    password: str

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "aud": "authenticated",
            "role": "authenticated",
            "email": self.email,
            "app_metadata": {"provider": "email"},
            "user_metadata": {},
            "created_at": datetime.now(UTC).isoformat(),
        }


@dataclass
class _Project:
    secret: str
    ttl_s: int
    users: dict[str, _User] = field(default_factory=dict)
    refreshes: dict[str, str] = field(default_factory=dict)
    used: dict[str, float] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    def session(self, user: _User) -> dict[str, Any]:
        refresh = secrets.token_urlsafe(9)
        self.refreshes[refresh] = user.email
        now = int(time.time())
        return {
            "access_token": mint(
                self.secret, sub=user.id, ttl_s=self.ttl_s, email=user.email, jti=secrets.token_hex(4)
            ),
            "token_type": "bearer",
            "expires_in": self.ttl_s,
            "expires_at": now + self.ttl_s,
            "refresh_token": refresh,
            "user": user.shown(),
        }


def create_app(secret: str, upstream: str, ttl_s: int) -> FastAPI:
    project, app = _Project(secret, ttl_s), FastAPI()

    def refused(status: int, code: str, message: str) -> JSONResponse:
        return JSONResponse({"code": code, "error_code": code, "msg": message, "message": message}, status)

    def must_be_admin(request: Request) -> None:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            claims = jwt.decode(bearer, secret, algorithms=["HS256"], options={"verify_aud": False})
        except jwt.InvalidTokenError:
            claims = {}
        if claims.get("role") != "service_role":
            raise HTTPException(403, "not_admin")

    @app.post("/auth/v1/token")
    async def token(grant_type: str, request: Request) -> Response:
        project.calls[grant_type] += 1
        body = await request.json()
        if grant_type == "password":
            user = project.users.get(body["email"])
            if user is None or user.password != body["password"]:
                return refused(400, "invalid_credentials", "Invalid login credentials")
            return JSONResponse(project.session(user))
        given, now = body["refresh_token"], time.monotonic()
        email = project.refreshes.get(given, "")
        if email not in project.users or now - project.used.setdefault(given, now) > REUSE_S:
            return refused(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
        return JSONResponse(project.session(project.users[email]))

    @app.post("/auth/v1/logout")
    async def logout() -> Response:
        project.calls["logout"] += 1
        return Response(status_code=204)

    @app.post("/auth/v1/admin/users")
    async def create(request: Request) -> Response:
        must_be_admin(request)
        project.calls["create"] += 1
        body = await request.json()
        if body["email"] in project.users:
            return refused(422, "email_exists", "A user with this email address has already been registered")
        user = project.users[body["email"]] = _User(str(uuid.uuid4()), body["email"], body["password"])
        return JSONResponse(user.shown())

    @app.delete("/auth/v1/admin/users/{user_id}")
    async def delete(user_id: str, request: Request) -> Response:
        must_be_admin(request)
        project.calls["delete"] += 1
        project.users = {email: user for email, user in project.users.items() if user.id != user_id}
        return JSONResponse({})

    @app.get("/standin")
    async def standin() -> dict[str, Any]:
        return {"calls": project.calls, "users": sorted(project.users), "refresh_tokens": len(project.refreshes)}

    @app.delete("/standin/refresh-tokens")
    async def revoke() -> None:
        project.refreshes.clear()

    @app.get("/realtime/v1/health")
    async def health(request: Request) -> Response:
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"{upstream}/realtime/v1/health", headers={"apikey": request.headers["apikey"]})
        return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))

    @app.websocket("/realtime/v1/websocket")
    async def realtime(socket: WebSocket) -> None:
        project.calls["sockets"] += 1
        address = upstream.replace("http", "ws", 1) + f"/realtime/v1/websocket?{socket.url.query}"
        try:
            behind = await websockets.connect(address, proxy=None)
        except websockets.InvalidStatus as refusal:
            await socket.send_denial_response(Response(status_code=refusal.response.status_code))
            return
        async with behind:
            await socket.accept()
            both = {asyncio.create_task(_up(socket, behind)), asyncio.create_task(_down(socket, behind))}
            _, open_ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in open_:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    return app


async def _up(socket: WebSocket, behind: websockets.ClientConnection) -> None:
    with contextlib.suppress(WebSocketDisconnect, websockets.ConnectionClosed):
        while True:
            await behind.send(await socket.receive_text())


async def _down(socket: WebSocket, behind: websockets.ClientConnection) -> None:
    with contextlib.suppress(websockets.ConnectionClosed):
        async for text in behind:
            await socket.send_text(text if isinstance(text, str) else text.decode())
    with contextlib.suppress(RuntimeError):
        await socket.close(behind.close_code or 1011)


@dataclass(frozen=True)
class StandIn:
    """A running stand-in: the project's URL and keys."""

    url: str
    anon_key: str
    service_key: str

    async def told(self) -> dict[str, Any]:
        """How often each call was made, and who the users are."""
        async with httpx.AsyncClient() as http:
            return dict((await http.get(f"{self.url}/standin")).json())

    async def revoke_refresh_tokens(self) -> None:
        """No session can be renewed any more."""
        async with httpx.AsyncClient() as http:
            await http.delete(f"{self.url}/standin/refresh-tokens")

    async def register(self, email: str, password: str) -> str:
        """A user of the project; returns the id."""
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {self.service_key}"}) as http:
            answer = await http.post(f"{self.url}/auth/v1/admin/users", json={"email": email, "password": password})
        return str(answer.raise_for_status().json()["id"])


@contextlib.asynccontextmanager
async def standin_project(upstream: str, secret: str, *, ttl_s: int = 3600) -> AsyncIterator[StandIn]:
    """A process of its own on loopback, killed at the end. `ttl_s`: how long its access tokens live."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.standin_auth",
        upstream,
        env={"PATH": os.environ["PATH"], "SECRET": secret, "TTL_S": str(ttl_s)},
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("ready http://"), line
        yield StandIn(line.split()[1], mint_api_key(secret, "anon"), mint_api_key(secret, "service_role"))
    finally:
        process.kill()
        await process.wait()


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"ready http://127.0.0.1:{port}", flush=True)  # noqa: T201


if __name__ == "__main__":
    _app = create_app(os.environ["SECRET"], sys.argv[1], int(os.environ["TTL_S"]))
    _Server(uvicorn.Config(_app, host="127.0.0.1", port=0, log_level="warning")).run()
