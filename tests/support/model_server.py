"""A real HTTP server that speaks the chat completions API and follows a script."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], str]
"""Status, headers, body."""


@dataclass
class ModelServer:
    """Answers each request with `reply(question)`; `questions` are the user messages, decoded."""

    reply: Callable[[dict[str, Any]], Reply]
    base_url: str = ""
    questions: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)


def completion(answer: object, *, text: str | None = None) -> Reply:
    """A completion whose message holds `answer` as JSON, or `text` as it is."""
    content = json.dumps(answer, ensure_ascii=False) if text is None else text
    return 200, {}, json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]})


def from_schema(schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """Some value that the JSON schema allows."""
    root = root or schema
    if "$ref" in schema:
        return from_schema(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root)
    if "anyOf" in schema:
        return from_schema(schema["anyOf"][0], root)
    match schema.get("type"):
        case "object":
            return {name: from_schema(part, root) for name, part in schema["properties"].items()}
        case "array":
            return [from_schema(schema["items"], root) for _ in range(3)]
        case "integer":
            return 500
        case _:
            return "section_1_image" if "pattern" in schema else "<p>文 section_1_image</p>"


@contextlib.contextmanager
def model_server(reply: Callable[[dict[str, Any]], Reply], *, delay_s: float = 0) -> Iterator[ModelServer]:
    model = ModelServer(reply)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            assert self.path == "/v1/chat/completions"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            question = json.loads(body["messages"][-1]["content"])
            model.questions.append(question)
            model.authorizations.append(self.headers.get("Authorization"))
            time.sleep(delay_s)
            status, headers, text = model.reply(question)
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(text.encode()))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    model.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
