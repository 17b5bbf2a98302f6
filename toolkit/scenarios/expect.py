"""Compares what a step expects with what came; a mismatch is one sentence. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_MISSING = object()
_TEMPLATE = re.compile(r"\{([a-z][a-z0-9_-]*(?:\[\d+\])?)\.(id|article_id|last_sequence)\}")
_TESTS = frozenset({"contains", "present", "at_least", "length", "matches"})


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as expectations see it; header names in lower case."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """The roots of the paths `status`, `body.…`, `header.…`."""
        return {"status": self.status, "body": self.body, "header": dict(self.headers)}

    @property
    def words(self) -> str:
        """The answer in a line: the status and, of an error, its code and message."""
        error = self.body.get("error") if isinstance(self.body, dict) else None
        if isinstance(error, dict):
            return f"the API answered {self.status} {error.get('code')}: {error.get('message')}"
        return f"the API answered {self.status}: {_short(self.body)}"


def mismatches(facts: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """One sentence for each expectation that does not hold; empty when all do."""
    found = []
    for path, wanted in expected.items():
        got = look_up(facts, path)
        if not _matches(got, wanted):
            shown = "nothing" if got is _MISSING else _short(got)
            found.append(f"expected {path} to be {_words(wanted)}, got {shown}")
    return found


def look_up(facts: Any, path: str) -> Any:
    """The value at a dotted path through mappings and lists; a private marker when there is none.

    The longest matching key wins, so that a key may contain a dot.
    """
    if path == "":
        return facts
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        key, rest = ".".join(parts[:length]), ".".join(parts[length:])
        if isinstance(facts, Mapping) and key in facts:
            return look_up(facts[key], rest)
    if isinstance(facts, list) and parts[0].isdigit() and int(parts[0]) < len(facts):
        return look_up(facts[int(parts[0])], ".".join(parts[1:]))
    return _MISSING


def fill(value: Any, processes: Mapping[str, Mapping[str, Any]]) -> Any:
    """`value` with `{article.id}` and the like filled in, in every text.

    Raises KeyError naming a process that was not started or has no such thing yet.
    """
    if isinstance(value, str):

        def replaced(match: re.Match[str]) -> str:
            known = processes.get(match[1], {}).get(match[2])
            if known is None:
                raise KeyError(f"{match[1]} has no {match[2]} yet")
            return str(known)

        return _TEMPLATE.sub(replaced, value)
    if isinstance(value, dict):
        return {key: fill(item, processes) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, processes) for item in value]
    return value


def named(value: Any, name: str) -> Any:
    """`value` with `{name}` filled in with a process' own name, in every text, so that each process of a `count`
    differs."""
    if isinstance(value, str):
        return value.replace("{name}", name)
    if isinstance(value, dict):
        return {key: named(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [named(item, name) for item in value]
    return value


def _matches(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and len(wanted) == 1 and next(iter(wanted)) in _TESTS:
        ((test, bound),) = wanted.items()
        if test == "present":
            return (got is not _MISSING and got is not None) is bool(bound)
        if got is _MISSING or got is None:
            return False
        match test:
            case "contains":
                return bound in got if isinstance(got, str | list | dict) else False
            case "at_least":
                return isinstance(got, int | float) and got >= bound
            case "length":
                return isinstance(got, str | list | dict) and len(got) == bound
            case _:
                return re.search(str(bound), str(got)) is not None
    if isinstance(wanted, list) and not isinstance(got, list):
        return any(_matches(got, one) for one in wanted)
    return bool(got == wanted) and isinstance(got, bool) == isinstance(wanted, bool)


def _words(wanted: Any) -> str:
    if isinstance(wanted, dict) and len(wanted) == 1 and next(iter(wanted)) in _TESTS:
        ((test, bound),) = wanted.items()
        return {
            "contains": f"something that contains {bound!r}",
            "present": "present" if bound else "absent",
            "at_least": f"at least {bound}",
            "length": f"of length {bound}",
            "matches": f"something that matches /{bound}/",
        }[test]
    if isinstance(wanted, list):
        return "one of " + ", ".join(map(repr, wanted))
    return repr(wanted)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:157] + "…"
