"""The second opinion on a catalog: `pg_dump --schema-only`, which shares no line with our own queries."""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import itertools
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from toolkit.errors import EnvironmentError_
from toolkit.migrate.catalog.stored_options import alike
from toolkit.postgres.servers import EMBEDDED_VERSION, embedded_versions, wheel_bin_dir
from toolkit.redact import redact
from toolkit.sql.platform import HISTORY

_DEADLINE_S = 120
# pg_dump writes this above every object.
_HEADER = re.compile(r"^--\n-- Name: (.*); Type: (.*); Schema: (.*); Owner: (.*)\n--\n", re.MULTILINE)
# What stands above each entry of a normalised dump.
_MARK = "--== "
_TITLE = re.compile(rf"^{_MARK}(.*)\n", re.MULTILINE)
_NOISE = re.compile(r"--|\\(un)?restrict|SET \w+ = |SELECT pg_catalog\.set_config\(")
_END = re.compile(r"\n--\n-- PostgreSQL database dump complete\n--\n(?s:.*)\Z")
_SETTING = re.compile(r"^SET (default_tablespace|default_table_access_method) = (.*);\n", re.MULTILINE)
_STORED = frozenset({"TABLE", "MATERIALIZED VIEW", "INDEX", "CONSTRAINT"})
_RELATIONS = frozenset({"TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "INDEX"})
_WITH_OPTIONS = frozenset({"USER MAPPING", "SERVER", "FOREIGN DATA WRAPPER", "FOREIGN TABLE", "SUBSCRIPTION"})
_CONNECTION = re.compile(r"(\bCONNECTION )'((?:[^']|'')*)'")
_ANY_OPTION = re.compile(r"""(^ +(?:\w+|"[^"]+") )'((?:[^']|'')*)'""", re.MULTILINE)
_SECRET_OPTION = re.compile(
    r"""(^ +"?\w*(?:pass|secret|token|key|credential)\w*"? )'((?:[^']|'')*)'""", re.MULTILINE | re.IGNORECASE
)


async def dump_schema(
    dsn: str, pg_dump: Path | None = None, *, server_major: int = EMBEDDED_VERSION, left_out: Sequence[str] = ()
) -> str:
    """The normalised dump, to compare with another; arguments and errors are those of `dump_text`."""
    return normalise(await dump_text(dsn, pg_dump, server_major=server_major, left_out=left_out))


async def dump_text(
    dsn: str, pg_dump: Path | None = None, *, server_major: int = EMBEDDED_VERSION, left_out: Sequence[str] = ()
) -> str:
    """The dump as it is, without the migration history and the schemas `left_out`.

    `pg_dump` defaults to a shipped one that reads servers of `server_major`. Two dumps can be compared when the same
    program wrote both. Raises EnvironmentError_ when pg_dump fails.
    """
    program = pg_dump or _shipped(server_major)
    parts = urlsplit(dsn)
    environment = dict(os.environ)
    address = dsn
    if parts.password:
        # In the environment, not in the arguments: those are visible to every user of the machine.
        environment["PGPASSWORD"] = unquote(parts.password)
        address = urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", "@", 1)))
    process = await asyncio.create_subprocess_exec(
        str(program),
        "--schema-only",
        *(f'--exclude-schema="{name}"' for name in (HISTORY, *left_out)),
        "--no-password",
        f"--dbname={address}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        async with asyncio.timeout(_DEADLINE_S):
            output, errors = await process.communicate()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode:
        raise EnvironmentError_(
            f"pg_dump failed: {redact(errors.decode(errors='replace').strip())}",
            "A server newer than this pg_dump needs its own: install it and name it.",
        )
    return output.decode()


def _shipped(server_major: int) -> Path:
    """The oldest embedded pg_dump that reads this server; it refuses servers newer than itself."""
    known = list(embedded_versions())
    version = next((version for version in known if version >= server_major), known[-1])
    return wheel_bin_dir(version) / "pg_dump"


def normalise(dump: str) -> str:
    """What two dumps of one schema have in common: a text of entries in a fixed order.

    Left out are the random \\restrict token, versions, settings of the session, the order of entries, of grants and of
    options (it tells how the schema came to be), options that the server keeps for itself, and passwords: sixteen bits
    of their digest stand for them.
    """
    preamble, *parts = _HEADER.split(dump)
    text = "".join(f"{line}\n" for line in preamble.splitlines() if line.strip() and not _NOISE.match(line))
    settings: dict[str, str] = {}
    entries: defaultdict[str, list[str]] = defaultdict(list)
    for name, kind, schema, owner, body in zip(*(iter(parts),) * 5, strict=True):
        title = f"{kind}: {name}" if schema == "-" else f"{kind} {schema}: {name}"
        if kind == "DEFAULT ACL":
            title += f" of {owner}"
        entries[title].append(_canonical(kind, body, settings))
        # Settings that the objects after this one are made under; pg_dump writes them only when they change.
        settings.update(_SETTING.findall(body))
    return text + "".join(f"{_MARK}{title}\n" + "\n".join(sorted(entries[title])) + "\n" for title in sorted(entries))


@dataclass(frozen=True)
class DumpDifference:
    """One entry of which two dumps say different things; `lines` begin with `-` (before) or `+` (after), never none."""

    title: str
    lines: tuple[str, ...]


def compare_dumps(before: str, after: str) -> tuple[DumpDifference, ...]:
    """What two normalised dumps differ in, by entry."""
    first, second = _by_title(before), _by_title(after)
    found = []
    for title in sorted(first.keys() | second.keys()):
        old, new = first.get(title), second.get(title)
        if old == new:
            continue
        compared = difflib.unified_diff((old or "").splitlines(), (new or "").splitlines(), lineterm="", n=0)
        # After two lines of heading come hunks, each with a heading of its own.
        lines = [line for line in itertools.islice(compared, 2, None) if not line.startswith("@@")]
        # Empty lines say little, unless there are no others.
        found.append(DumpDifference(title, tuple(line for line in lines if line[1:].strip()) or tuple(lines) or ("+",)))
    return tuple(found)


def diff_dumps(before: str, after: str) -> tuple[str, ...]:
    """Changed lines of two normalised dumps, `+` and `-`, each with its entry."""
    return tuple(
        f"{line[0]} {difference.title} | {line[1:].strip()}"
        for difference in compare_dumps(before, after)
        for line in difference.lines
    )


def _by_title(normalised: str) -> dict[str, str]:
    preamble, *parts = _TITLE.split(normalised)
    return {"PREAMBLE": preamble} | dict(zip(parts[::2], parts[1::2], strict=True))


def _canonical(kind: str, body: str, settings: dict[str, str]) -> str:
    lines = _SETTING.sub("", _END.sub("", body)).strip("\n").splitlines()
    if kind in {"ACL", "DEFAULT ACL"}:
        lines.sort()
    # A line of a function's body must not look like the beginning of another entry.
    text = "\n".join(f" {line}" if line.startswith(_MARK) else line for line in lines)
    if kind in _RELATIONS:
        text = alike(text)
    if kind in _WITH_OPTIONS:
        text = _CONNECTION.sub(_masked, text)
        text = (_ANY_OPTION if kind == "USER MAPPING" else _SECRET_OPTION).sub(_masked, text)
    if kind in _STORED:
        text += "".join(f"\n-- {name}: {value}" for name, value in settings.items() if value not in {"''", "heap"})
    return text


def _masked(match: re.Match[str]) -> str:
    return f"{match[1]}'*** #{hashlib.sha256(match[2].encode()).hexdigest()[:4]}'"
