"""`python -m reference_server.realtime`: the endpoint alone, on any database that has a publication.

The environment gives DATABASE_URL and SUPABASE_JWT_SECRET, and may give REALTIME_PRIVATE_ONLY and
REALTIME_OWNER_DATABASE_URL. The line `ready http://HOST:PORT` says that it serves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Sequence

import uvicorn

from reference_server.connection_kind import NO_REALTIME_THROUGH_A_POOLER, ConnectionKind, connection_kind
from reference_server.database_trouble import DATABASE_TROUBLE
from reference_server.log import configure_logging, redacted
from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.sockets.router import uvicorn_options
from reference_server.realtime.standalone import create_app, create_service

EXIT_USAGE = 2
EXIT_ENVIRONMENT = 4
_GRACE_S = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code is 0 after a graceful end."""
    parser = argparse.ArgumentParser(prog="python -m reference_server.realtime", description="The Realtime endpoint.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port (default: 0, a free one)")
    options = parser.parse_args(argv)
    missing = [name for name in ("DATABASE_URL", "SUPABASE_JWT_SECRET") if not os.environ.get(name)]
    if missing:
        print(f"The endpoint cannot start: set {' and '.join(missing)}.", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    configure_logging(os.environ.get("LOG_LEVEL", "INFO").upper())
    try:
        listener = socket.create_server((options.host, options.port), backlog=2048)
    except (OSError, OverflowError) as error:
        print(f"The endpoint cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_ENVIRONMENT
    with listener:
        return asyncio.run(_serve(listener))


async def _serve(listener: socket.socket) -> int:
    with contextlib.suppress(*DATABASE_TROUBLE):  # told by the service, which tries again
        if await connection_kind(os.environ["DATABASE_URL"]) is not ConnectionKind.DIRECT:
            print(f"The endpoint cannot start: {NO_REALTIME_THROUGH_A_POOLER}.", file=sys.stderr)  # noqa: T201
            return EXIT_ENVIRONMENT
    limits = Limits()
    service = create_service(
        os.environ["DATABASE_URL"],
        os.environ["SUPABASE_JWT_SECRET"],
        limits=limits,
        private_only=os.environ.get("REALTIME_PRIVATE_ONLY", "").lower() in {"1", "true", "on", "yes"},
        owner_dsn=os.environ.get("REALTIME_OWNER_DATABASE_URL") or None,
    )
    config = uvicorn.Config(
        create_app(service),
        **uvicorn_options(limits),
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Announcing(config)
    await server.serve(sockets=[listener])
    if not server.started:
        print(redacted("The endpoint cannot start: the log above says why."), file=sys.stderr)  # noqa: T201
        return EXIT_ENVIRONMENT
    return 0


class _Announcing(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            print(f"ready http://{host}:{port}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
