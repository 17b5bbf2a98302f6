"""When is a frame the recorded one? Equal as JSON, apart from what a server generates."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
EXPIRED = re.compile(r"expired (\d+) seconds ago")


class Digits(str):
    """A number by its digits: 1.50 is not 1.5, and 1e2 not 100."""

    __slots__ = ()


class Mismatch(AssertionError):
    """The server did something else than was recorded."""


@dataclass
class Names:
    """Generated values: a recorded one stands for one of ours, always the same, and back."""

    ours: dict[object, object] = field(default_factory=dict)
    theirs: dict[object, object] = field(default_factory=dict)

    def same(self, recorded: object, actual: object) -> bool:
        return self.ours.setdefault(recorded, actual) == actual and self.theirs.setdefault(actual, recorded) == recorded


def match_frame(recorded: str | bytes, actual: str | bytes, names: Names) -> None:
    """Raises Mismatch with the path of the first difference."""
    if isinstance(recorded, bytes) != isinstance(actual, bytes):
        raise Mismatch("one is text, the other binary")
    if isinstance(recorded, bytes):
        assert isinstance(actual, bytes)
        _match(_binary(recorded), _binary(actual), "frame", names)
        return
    assert isinstance(actual, str)
    _match(_json(recorded), _json(actual), "frame", names)


def match_http(where: str, recorded: str, status: int, headers: dict[str, str], body: bytes) -> None:
    """Status, body (as JSON where it is), and the CORS header; rate headers and content types are not compared."""
    head, _, wanted = recorded.partition("\n\n")
    lines = head.split("\n")
    if int(lines[0]) != status:
        raise Mismatch(f"{where}\nexpected status {lines[0]}, got {status} {body[:300]!r}")
    if "access-control-allow-origin: *" in lines and headers.get("access-control-allow-origin") != "*":
        raise Mismatch(f"{where}\nno access-control-allow-origin")
    if wanted.strip().startswith(("{", '"', "[")):
        _match(_json(wanted), _json(body.decode()), "body", Names())
    elif wanted.strip() != body.decode().strip():
        raise Mismatch(f"{where}\nexpected body {wanted[:200]!r}, got {body[:200]!r}")


def exact(text: str | bytes) -> Any:
    """JSON whose numbers keep their digits: plain whole ones are int, all others Digits."""
    return json.loads(
        text, parse_float=Digits, parse_int=lambda digits: Digits(digits) if digits == "-0" else int(digits)
    )


def _json(text: str) -> Any:
    try:
        return exact(text)
    except json.JSONDecodeError as error:
        raise Mismatch(f"not JSON ({error}): {text[:300]}") from None


def _binary(frame: bytes) -> dict[str, Any]:
    kind = frame[0]
    if kind == 2:
        lengths, start, encoding = frame[1:3], 3, 0
        names = ["topic", "event"]
    elif kind == 4:
        lengths, start, encoding = frame[1:4], 5, frame[4]
        names = ["topic", "event", "meta"]
    else:
        raise Mismatch(f"binary kind {kind} is not one a server sends")
    parts: dict[str, Any] = {"kind": kind, "encoding": encoding}
    for name, length in zip(names, lengths, strict=True):
        parts[name] = frame[start : start + length].decode()
        start += length
    body = frame[start:]
    try:
        parts["payload"] = exact(body) if encoding == 1 else body.hex()
    except json.JSONDecodeError:
        parts["payload"] = body.hex()
    parts["meta"] = exact(parts["meta"]) if parts.get("meta") else {}
    return parts


def _match(recorded: Any, actual: Any, path: str, names: Names) -> None:
    key = path.rpartition(".")[2]
    if isinstance(recorded, dict) and isinstance(actual, dict):
        _match_objects(recorded, actual, path, names)
    elif isinstance(recorded, list) and isinstance(actual, list):
        if len(recorded) != len(actual):
            raise Mismatch(f"{path}: {len(recorded)} entries recorded, {len(actual)} received: {actual!r:.300}")
        if key == "ids":
            recorded, actual = sorted(recorded, key=lambda n: str(names.ours.get(n, n))), sorted(actual, key=str)
        for index, (left, right) in enumerate(zip(recorded, actual, strict=True)):
            _match(left, right, f"{path}.ids[{index}]" if key == "ids" else f"{path}[{index}]", names)
    elif _generated(path, key, recorded, actual):
        if not names.same(recorded, actual):
            raise Mismatch(f"{path}: {actual!r} does not stand for {recorded!r} as before")
    elif not _equal(key, recorded, actual):
        raise Mismatch(f"{path}: recorded {recorded!r:.300}, received {actual!r:.300}")


def _match_objects(recorded: dict[str, Any], actual: dict[str, Any], path: str, names: Names) -> None:
    left, right = list(recorded), list(actual)
    # A presence key nobody chose is a generated uuid.
    if len(left) == len(right) == 1 and UUID.fullmatch(left[0]) and UUID.fullmatch(right[0]):
        if not names.same(left[0], right[0]):
            raise Mismatch(f"{path}: {right[0]} does not stand for {left[0]} as before")
        _match(recorded[left[0]], actual[right[0]], f"{path}.{right[0]}", names)
        return
    if set(left) != set(right):
        raise Mismatch(f"{path}: recorded keys {sorted(left)}, received {sorted(right)}")
    for key in left:
        _match(recorded[key], actual[key], f"{path}.{key}", names)


def _generated(path: str, key: str, recorded: Any, actual: Any) -> bool:
    if key in {"phx_ref", "phx_ref_prev"}:
        return isinstance(recorded, str) and isinstance(actual, str)
    if ".ids[" in path or (key == "id" and ".response.postgres_changes[" in path):
        return isinstance(recorded, int) and isinstance(actual, int) and actual != 0
    if key == "id" and isinstance(recorded, str) and isinstance(actual, str):
        return UUID.fullmatch(recorded) is not None and UUID.fullmatch(actual) is not None
    return False


def _equal(key: str, recorded: Any, actual: Any) -> bool:
    if key == "commit_timestamp" and isinstance(recorded, str) and isinstance(actual, str):
        return TIMESTAMP.fullmatch(actual) is not None
    if isinstance(recorded, str) and isinstance(actual, str):
        left, right = EXPIRED.search(recorded), EXPIRED.search(actual)
        if left and right and abs(int(left[1]) - int(right[1])) <= 5:
            return EXPIRED.sub("", recorded) == EXPIRED.sub("", actual)
    # True is not 1, and the text "1.5" not the number.
    return type(recorded) is type(actual) and str(recorded) == str(actual)
