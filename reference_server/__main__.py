"""`python -m reference_server`: one server process."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import warnings
from collections.abc import Sequence

gc.disable()  # what is imported stays till the end: looking through it for garbage was a fifth of the start
try:
    import structlog
    import uvloop

    from reference_server.log import configure_logging, redacted
    from reference_server.process import ServerProcess, StartRefused
    from reference_server.settings import SettingsRefused, load_settings, parse_roles
    from reference_server.tokens.verifier import SHORTEST_SECRET
except ModuleNotFoundError as error:
    print(  # noqa: T201
        f"The server cannot start: {error.name} is not installed.\n"
        "Install the extra `server`: pip install 'realtime-migration-toolkit[server]'",
        file=sys.stderr,
    )
    sys.exit(4)
finally:
    gc.freeze()
    gc.enable()

EXIT_USAGE = 2
EXIT_ENVIRONMENT = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; the exit code is 0 after a graceful end."""
    parser = argparse.ArgumentParser(
        prog="python -m reference_server",
        description="The article generation server: HTTP API, workers, Realtime, and the legacy WebSocket.",
        epilog="Settings come from the environment: DATABASE_URL and SUPABASE_JWT_SECRET are required.",
    )
    parser.add_argument("--role", default="all", help="all, or a comma list of api, worker, realtime (default: all)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=_port, default=8000, help="port, 0 picks a free one (default: 8000)")
    options = parser.parse_args(argv)
    try:
        roles = parse_roles(options.role)
        settings = load_settings()
    except SettingsRefused as error:
        print(f"The server cannot start:\n{redacted(str(error))}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    configure_logging(settings.log_level)
    _tell_of_a_short_secret(settings.jwt_secret)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(ServerProcess(settings, roles, host=options.host, port=options.port).run())
    except StartRefused as error:
        print(f"The server cannot start: {redacted(str(error))}", file=sys.stderr)  # noqa: T201
        return EXIT_ENVIRONMENT
    return 0


def _tell_of_a_short_secret(secret: str | None) -> None:
    warnings.filterwarnings("ignore", message="The HMAC key is .* bytes long")  # told here, once
    if secret is not None and (length := len(secret.encode())) < SHORTEST_SECRET:
        structlog.get_logger(__name__).warning(
            "SUPABASE_JWT_SECRET is too short: tokens can be forged by trying secrets",
            bytes=length,
            at_least=SHORTEST_SECRET,
            remedy="toolkit keys --new-secret makes a longer one",
        )


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; use a number from 0 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
