"""A snapshot as a file: canonical JSON, the same catalog gives the same text, and a change shows in a diff of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.migrate.catalog.facts import Snapshot, Unmodelled, canonical, digest
from toolkit.migrate.catalog.take import NOT_MODELLED

FORMAT = "toolkit-catalog-snapshot"
# Raised whenever the same catalog gives other facts than before.
FORMAT_VERSION = 2
_REMEDY = "Name a file that `toolkit migrate snapshot -o FILE` wrote."


@dataclass(frozen=True)
class Document:
    """A complete snapshot and where it came from; `source` is an address without its password."""

    snapshot: Snapshot
    source: str
    server_version: str
    tool_version: str
    taken_at: datetime


def to_json(document: Document) -> dict[str, Any]:
    """The document for JSON. `sha256` is over the facts, `positions_sha256` over the positions."""
    snapshot = document.snapshot
    positions = snapshot.positions or {}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "sha256": snapshot.digest(),
        "positions_sha256": digest(positions),
        "source": document.source,
        "server_version": document.server_version,
        "server_major": snapshot.major,
        "tool_version": document.tool_version,
        "taken_at": document.taken_at.isoformat(),
        "facts": {key: json.loads(fact) for key, fact in snapshot.facts.items()},
        "positions": {key: json.loads(fact) for key, fact in positions.items()},
        "unmodelled": [
            {"kind": one.kind, "count": one.count, "names": list(one.names)} for one in snapshot.unmodelled or ()
        ],
        "not_modelled": list(NOT_MODELLED),
    }


def as_text(document: Document) -> str:
    """The file's text: sorted keys, one value a line."""
    return json.dumps(to_json(document), sort_keys=True, ensure_ascii=False, indent=1) + "\n"


def read(path: Path) -> Document:
    """A snapshot file. Raises UsageError when it cannot be read, is something else, is of another version of the format
    or was changed since it was written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise UsageError(f"{path} cannot be read: {reason}.", _REMEDY) from error
    except json.JSONDecodeError as error:
        raise UsageError(f"{path} is no snapshot: line {error.lineno} is not JSON ({error.msg}).", _REMEDY) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"{path} is JSON, but no snapshot of a catalog.", _REMEDY)
    if content.get("format_version") != FORMAT_VERSION:
        raise UsageError(
            f"{path} is in version {content.get('format_version')} of the format; this toolkit reads {FORMAT_VERSION}.",
            "Take the snapshot again with this toolkit.",
        )
    try:
        document = _parse(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} is damaged: {type(error).__name__} {error}.", "Take the snapshot again.") from error
    snapshot = document.snapshot
    for name, found in (("sha256", snapshot.digest()), ("positions_sha256", digest(snapshot.positions or {}))):
        if content.get(name) != found:
            raise UsageError(
                f"{path} was changed since it was written: its {name} is {content.get(name)}, its content's {found}.",
                "Restore the file, or take the snapshot again.",
            )
    return document


def _parse(content: Mapping[str, Any]) -> Document:
    snapshot = Snapshot(
        {key: canonical(fact) for key, fact in content["facts"].items()},
        {key: canonical(fact) for key, fact in content["positions"].items()},
        tuple(Unmodelled(one["kind"], int(one["count"]), tuple(one["names"])) for one in content["unmodelled"]),
        int(content["server_major"]),
    )
    return Document(
        snapshot,
        str(content["source"]),
        str(content["server_version"]),
        str(content["tool_version"]),
        datetime.fromisoformat(content["taken_at"]),
    )
