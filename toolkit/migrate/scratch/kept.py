"""States that were built before, kept in the user's cache folder: the files of a stopped cluster, in one archive.

A kept state is used only where everything that made it is the same: every file that was replayed, the platform, the
server's program, the toolkit's own code. Its archive is checked against its digest before it is unpacked; what is
damaged is told, removed and built anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import toolkit
from toolkit.errors import EnvironmentError_
from toolkit.migrate.folder.files import Migration
from toolkit.migrate.folder.project_mode import ProjectMode
from toolkit.migrate.scratch.platform import PLATFORM_VERSION, platform_sql
from toolkit.postgres.cluster import PostgresCluster, postgres_user
from toolkit.report.record import tool_version

_FORMAT = 1
_MOST_KEPT = 6
_MOST_BYTES = 1 << 30
_BLOCK = 1 << 20
_NOT_KEPT = ("postmaster.pid", "postmaster.opts", "server.log")
_WAL = re.compile(r"^Latest checkpoint's REDO WAL file:\s+(\w+)$", re.MULTILINE)
# What of the toolkit decides how files are replayed, and on what.
_OWN_CODE = ("migrate/catalog", "migrate/folder", "migrate/run", "migrate/scratch", "postgres", "sql")


class Damaged(Exception):
    """A kept state that is not what was kept; the text says in what."""


@dataclass(frozen=True)
class Kept:
    """A kept state: `template` is the database to start from."""

    file: Path
    template: str


def cache_folder() -> Path:
    """Where states are kept: below TOOLKIT_CACHE_DIR, or the user's cache folder."""
    if own := os.environ.get("TOOLKIT_CACHE_DIR"):
        return Path(own) / "states"
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "realtime-migration-toolkit" / "states"


def key_of(replayed: Iterable[Migration], bin_dir: Path, mode: ProjectMode = "old") -> dict[str, Any]:
    """Everything that a state depends on, to be compared as a whole."""
    server = (bin_dir / "postgres").resolve()
    told = subprocess.run([str(server), "--version"], capture_output=True, text=True, check=True, timeout=30, cwd="/")
    facts = server.stat()
    return {
        "format": _FORMAT,
        "toolkit": [tool_version(), _own_code()],
        "platform": [PLATFORM_VERSION, _digest("\0".join(platform_sql(mode)).encode())],
        "server": [told.stdout.strip(), str(server), facts.st_size, facts.st_mtime_ns],
        "machine": [platform.system(), platform.machine(), postgres_user() or ""],
        "replayed": [[one.version, one.name, one.up.path.name, one.up.sha256] for one in replayed],
    }


def find(key: Mapping[str, Any]) -> Kept | None:
    """The kept state of this key, checked from its first byte to its last; None where there is none.

    Raises Damaged, having removed it, where it is not what was kept.
    """
    file = _file_of(key)
    try:
        with file.open("rb") as archive:
            template = _check(archive, key)
        os.utime(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        with contextlib.suppress(OSError):
            file.unlink()
        raise Damaged(f"{file}: {error}") from error
    return Kept(file, template)


def keep(cluster: PostgresCluster, key: Mapping[str, Any], template: str) -> Kept:
    """Keep a stopped cluster's files, and no more states than fit. Raises OSError where that cannot be."""
    file = _file_of(key)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = file.parent.stat()
    if hasattr(os, "geteuid") and (facts.st_uid != os.geteuid() or facts.st_mode & 0o022):
        raise PermissionError(f"{file.parent} is not a folder in which we alone may write")
    with tempfile.TemporaryFile(dir=file.parent) as packed:
        _pack(cluster, packed)
        size = packed.tell()
        head = {"key": dict(key), "template": template, "size": size, "sha256": _digest_of(packed)}
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as whole:
                whole.write(json.dumps(head).encode() + b"\n")
                packed.seek(0)
                shutil.copyfileobj(packed, whole, _BLOCK)
            os.replace(name, file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    _make_room(file)
    return Kept(file, template)


def unpack(kept: Kept, data_dir: Path) -> None:
    """Make `data_dir` of a kept state that `find` or `keep` returned. Raises EnvironmentError_ where it cannot."""
    try:
        _unpack(kept.file, data_dir)
    except (OSError, tarfile.TarError) as error:
        raise EnvironmentError_(
            f"The kept state {kept.file} could not be unpacked into {data_dir}: {error}.",
            "See that there is room, and run it again; --no-cache does without kept states.",
        ) from error


def _unpack(file: Path, data_dir: Path) -> None:
    user = postgres_user()
    with file.open("rb") as archive:
        archive.readline()
        data_dir.mkdir(mode=0o700)
        with tarfile.open(fileobj=archive, mode="r|") as members:
            for member in members:
                target = data_dir / member.name
                if not target.resolve().is_relative_to(data_dir.resolve()):
                    raise tarfile.TarError(f"{member.name} lies outside")
                if member.isdir():
                    target.mkdir(mode=0o700, exist_ok=True)
                elif (content := members.extractfile(member)) is not None:
                    with open(target, "wb", opener=_private) as out:
                        shutil.copyfileobj(content, out, _BLOCK)
    if user is not None:
        for folder, _, names in os.walk(data_dir):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                shutil.chown(path, user, user)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _check(archive: io.BufferedReader, key: Mapping[str, Any]) -> str:
    head = json.loads(archive.readline())
    if head["key"] != json.loads(json.dumps(dict(key))):
        raise ValueError("it was made of something else")
    start = archive.tell()
    if os.fstat(archive.fileno()).st_size - start != head["size"]:
        raise ValueError("it is not as long as it was")
    if _digest_of(archive, start) != head["sha256"]:
        raise ValueError("its content is not what it was")
    return str(head["template"])


def _pack(cluster: PostgresCluster, into: Any) -> None:
    """The files of a stopped cluster, without the write-ahead log from before its last checkpoint."""
    control = subprocess.run(
        [str(cluster.bin_dir / "pg_controldata"), str(cluster.data_dir)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd="/",
        env=os.environ | {"LC_ALL": "C"},
    ).stdout
    needed = _WAL.search(control)
    with tarfile.open(fileobj=into, mode="w") as members:
        for path in sorted(cluster.data_dir.rglob("*")):
            name = path.relative_to(cluster.data_dir)
            old_log = needed is not None and name.parent == Path("pg_wal") and path.is_file() and name.name != needed[1]
            if name.name in _NOT_KEPT or old_log or not (path.is_file() or path.is_dir()):
                continue
            members.add(path, str(name), recursive=False)


def _make_room(newest: Path) -> None:
    kept = sorted(newest.parent.glob("*.state"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for number, file in enumerate(kept):
        total += file.stat().st_size
        if file != newest and (number >= _MOST_KEPT or total > _MOST_BYTES):
            file.unlink(missing_ok=True)


def _file_of(key: Mapping[str, Any]) -> Path:
    return cache_folder() / f"{_digest(json.dumps(dict(key), sort_keys=True).encode())[:32]}.state"


@cache
def _own_code() -> str:
    root = Path(toolkit.__file__).parent
    files = sorted(path for part in _OWN_CODE for path in (root / part).rglob("*") if path.suffix in {".py", ".sql"})
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(root)}\0{_digest(path.read_bytes())}\n".encode())
    return whole.hexdigest()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of(file: Any, start: int = 0) -> str:
    file.seek(start)
    found = hashlib.sha256()
    while block := file.read(_BLOCK):
        found.update(block)
    return found.hexdigest()
