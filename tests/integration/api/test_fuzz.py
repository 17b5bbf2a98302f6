"""Random requests built from the OpenAPI document: whatever a client sends, the answer is never a 500."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reference_server.api.server_context import ServerContext
from reference_server.app import build_app
from tests.integration.api.conftest import client_of, code_of, started

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
TEXT = st.text(max_size=30)
HEADERS = {"idempotency-key": st.text(max_size=30), "x-request-id": st.text(max_size=30)}


def bodies(schema: dict[str, Any], document: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that fit the schema's shape now and then, and wrong ones otherwise."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema:
        return st.one_of([bodies(option, document) for option in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"]) | JSON
    match schema.get("type"):
        case "object" if "properties" in schema:
            fields = {name: bodies(inner, document) | JSON for name, inner in schema["properties"].items()}
            needed = set(schema.get("required", ()))
            optional = {name: field for name, field in fields.items() if name not in needed}
            return st.fixed_dictionaries({name: fields[name] for name in needed}, optional=optional)
        case "array":
            return st.lists(bodies(schema.get("items", {}), document), max_size=3)
        case "string":
            return st.text(max_size=20) | st.sampled_from(["test", "\x00", "\ud800"])
        case "integer":
            return st.integers() | st.integers(0, 5)
        case "boolean":
            return st.booleans()
    return JSON


@pytest.fixture
async def client(server: ServerContext) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(server) as found:
        yield found


async def test_every_answer_has_a_documented_shape(shared_server: ServerContext) -> None:
    for path, methods in build_app(shared_server).openapi()["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/api"):
                schemas = [a["content"]["application/json"]["schema"] for a in operation["responses"].values()]
                assert all("$ref" in schema or "items" in schema for schema in schemas), (method, path, schemas)
                assert {"401", "422", "503"} <= set(operation["responses"]), (method, path)


async def test_no_request_ends_in_a_500(server: ServerContext, client: httpx.AsyncClient) -> None:
    document = build_app(server).openapi()
    process_id = await started(client)
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/api") and (method, path) != ("delete", "/api/articles/generation/{process_id}")
    ]

    def request_of(data: st.DataObject) -> dict[str, Any]:
        method, path, operation = data.draw(st.sampled_from(operations))
        query: dict[str, str] = {}
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query" and data.draw(st.booleans()):
                value = data.draw(bodies(parameter["schema"], document) | TEXT)
                query[parameter["name"]] = str(value).encode("utf-8", "replace").decode()
        identifier = data.draw(st.sampled_from([process_id, str(uuid.uuid4()), "x", "%00", "%ff"]))
        for name in ("process_id", "event_id", "article_id"):
            path = path.replace(f"{{{name}}}", identifier)
        headers = {
            name: value.encode("latin-1", "replace").strip()
            for name, strategy in HEADERS.items()
            if data.draw(st.booleans()) and (value := data.draw(strategy)).isprintable()
        }
        content = b""
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            value = data.draw(bodies(schema, document) | JSON)
            content = _dumps(value) if data.draw(st.integers(0, 9)) else data.draw(st.binary(max_size=40))
            headers["content-type"] = "application/json"
        return {"method": method, "url": path, "params": query, "headers": headers, "content": content}

    loop = asyncio.get_running_loop()
    refused = 0

    def check(data: st.DataObject) -> None:
        nonlocal refused
        request = request_of(data)
        answer = asyncio.run_coroutine_threadsafe(client.request(**request), loop).result(20)
        assert answer.status_code < 500, (request, answer.text)
        if answer.status_code >= 400:
            refused += 1
            code_of(answer)

    fuzz = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), database=None)(
        given(data=st.data())(check)
    )
    await asyncio.to_thread(fuzz)
    assert refused > 50, "the fuzz must reach the refusals"


def _dumps(value: Any) -> bytes:
    """As lax clients send it: NaN, Infinity and half surrogate pairs included."""
    return json.dumps(value).encode()
