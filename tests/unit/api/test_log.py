"""Logs: one JSON object a line, and no secret in any of them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from reference_server.log import redacted

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:hunter2@host/db",
        'could not connect to "postgres://me:hunter2@host"',
        "GET /ws?token=hunter2&process_id=1",
        "wss://h/socket?apikey=hunter2",
        "password=hunter2 host=h",
        f"Authorization: Bearer {JWT}",
        json.dumps({"nested": {"token": JWT, "dsn": "postgresql://me:hunter2@h"}}),
    ],
)
def test_secrets_are_masked(text: str) -> None:
    assert "hunter2" not in redacted(text)
    assert JWT not in redacted(text)
    assert "***" in redacted(text)


def test_ordinary_text_is_left_alone() -> None:
    text = "process 7b1d0b0e: token expired at http://127.0.0.1:8000/api, 3 tokens left"
    assert redacted(text) == text


def test_lines_are_json_with_context_and_traceback() -> None:
    program = f"""
import structlog, logging
from reference_server.log import configure_logging
configure_logging("INFO")
structlog.contextvars.bind_contextvars(request_id="r1")
structlog.get_logger("a").info("said", detail={{"token": "{JWT}"}}, half="\\ud800")
logging.getLogger("b").warning("to postgresql://me:%s@h", "hunter2")
try:
    raise RuntimeError("at postgresql://me:hunter2@h")
except RuntimeError:
    structlog.get_logger("c").exception("broke")
structlog.get_logger("d").debug("not said")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    first, second, third = (json.loads(line) for line in done.stderr.splitlines())
    assert (first["event"], first["request_id"], first["level"], first["logger"]) == ("said", "r1", "info", "a")
    assert second["event"] == "to postgresql://me:***@h"
    assert "Traceback" in third["exception"]
    assert "hunter2" not in done.stderr
    assert JWT not in done.stderr
