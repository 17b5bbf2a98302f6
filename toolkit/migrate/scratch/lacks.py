"""What a scratch server lacks: the extension behind a failure that says nothing against the file. And which stand-ins a
folder leans on. Knowledge and texts; one query."""

from __future__ import annotations

import re
from dataclasses import dataclass

from toolkit.migrate.folder.files import Folder
from toolkit.migrate.run.failure import Failure
from toolkit.postgres.connection import Connection
from toolkit.postgres.stand_ins import VERSION, stand_ins
from toolkit.sql import scratch as sql
from toolkit.sql.platform import MADE_BY_EXTENSION, PLATFORM_SCHEMAS

# Types, operator classes, access methods and functions of extensions, as whole names.
_NAMES: dict[str, str] = {
    "vector": r"vector|halfvec|sparsevec|hnsw|ivfflat|(?:vector|halfvec|sparsevec|bit)_\w+_ops",
    "postgis": r"geometry|geography|box2d|box3d|st_\w+|gist_geometry_ops_\w+",
    "pg_trgm": r"g(?:in|ist)_trgm_ops",
    "hstore": r"hstore|g(?:in|ist)_hstore_ops|hstore_to_\w+",
    "ltree": r"ltree|lquery|ltxtquery|gist_ltree_ops|subpath|nlevel",
    "cube": r"cube|gist_cube_ops",
    "earthdistance": r"earth|ll_to_earth|earth_distance|earth_box",
    "btree_gist": r"gist_(?:uuid|text|int[248]|bool|date|timestamptz?|oid|enum|inet|cash|float[48]|numeric)_ops",
    "btree_gin": r"gin_(?:uuid|text|int[248]|bool|date|timestamptz?|enum)_ops",
    "intarray": r"gi(?:n|st)__int(?:big)?_ops|idx|intset|query_int",
    "fuzzystrmatch": r"levenshtein\w*|soundex|metaphone|dmetaphone\w*|daitch_mokotoff",
    "tablefunc": r"crosstab\w*|normal_rand|connectby",
    "dblink": r"dblink\w*",
    "pgmq": r"pgmq",
    "rum": r"rum|rum_\w+_ops",
    "isn": r"isbn|isbn13|issn|ean13|upc",
    "pg_jsonschema": r"json_matches_schema|jsonb_matches_schema",
    "pgroonga": r"pgroonga\w*",
    "pg_hashids": r"id_encode|id_decode",
    "pg_partman": r"create_parent|part_config",
}
_OF_SERVER = re.compile(r'extension "(?P<name>[^"]+)" (?:is not available|has no installation script)')
_CONTROL_FILE = re.compile(r'extension control file "[^"]*/(?P<name>[^"/]+)\.control"')
_PRELOADED = re.compile(r"^(?P<name>\S+) must be loaded via \"?shared_preload_libraries")
_MISSING = {
    "42704": re.compile(
        r'(?P<kind>type|operator class|access method|operator family) "(?P<name>[^"]+)" does not exist'
    ),
    "42883": re.compile(r"(?P<kind>function) (?P<name>[\w.\"]+)\(.*\) does not exist"),
    "42P01": re.compile(r'(?P<kind>relation) "(?P<name>[^"]+)" does not exist'),
    "3F000": re.compile(r'(?P<kind>schema) "(?P<name>[^"]+)" does not exist'),
}


@dataclass(frozen=True)
class Lack:
    """`what` names the object; `extension` whose it is, "" for a part of the platform that no extension makes."""

    what: str
    extension: str = ""

    @property
    def basis(self) -> str:
        """Why nothing can be said, for a claim that is not checked."""
        of = f"extension {self.extension}" if self.extension else "platform"
        named = self.what if self.what == of else f"{self.what} of the {of}"
        return f"the scratch server lacks {named}: that says nothing against the file"

    @property
    def remedy(self) -> str:
        """How to supply it."""
        holder = f"the extension {self.extension}" if self.extension else self.what
        return (
            f"Prove on a server that has {holder}: --postgres DIR (the bin folder of an installation) or "
            "--scratch-url (a server of your own); or begin with a database that has it: --from-database."
        )


def lack_behind(failure: Failure) -> Lack | None:
    """What the server may lack if the file is right; None where the failure names nothing of an extension's or of the
    platform's."""
    for known in (_OF_SERVER, _CONTROL_FILE, _PRELOADED):
        if found := known.search(failure.message):
            return Lack(f"extension {found['name']}", found["name"])
    pattern = _MISSING.get(failure.sqlstate)
    found = pattern.search(failure.message) if pattern else None
    if found is None:
        return None
    schema, _, name = found["name"].replace('"', "").rpartition(".")
    what = f"{found['kind']} {found['name']}"
    if found["kind"] == "schema":
        schema = name
    if schema in PLATFORM_SCHEMAS and schema != "extensions":
        return Lack(what, MADE_BY_EXTENSION.get(schema, ""))
    of = next((extension for extension, names in _NAMES.items() if re.fullmatch(names, name, re.IGNORECASE)), None)
    of = of or next((extension for extension, one in stand_ins().items() if name in one.names), None)
    return Lack(what, of) if of else None


async def lack_of(conn: Connection, failure: Failure) -> Lack | None:
    """What the server lacks that made the file fail. An extension that it has for real was the file's to create, and
    a stand-in holds less than the real one."""
    lack = lack_behind(failure)
    if lack is None or not lack.extension or lack.what == f"extension {lack.extension}":
        return lack
    offered = await conn.fetch(sql.AVAILABLE_EXTENSIONS, timeout=30)
    return None if lack.extension in {row["name"] for row in offered if row["version"] != VERSION} else lack


async def stand_ins_used(conn: Connection, folder: Folder) -> tuple[str, ...]:
    """A line for each stand-in of this server whose name, or one of whose functions, is in a file of the folder."""
    offered = await conn.fetch(sql.AVAILABLE_EXTENSIONS, timeout=30)
    there = {row["name"] for row in offered if row["version"] == VERSION}
    text = "\n".join(statement.text for migration in folder.migrations for statement in migration.up.statements)
    return tuple(
        f"Extension {name} is a stand-in here: {one.says}"
        for name, one in stand_ins().items()
        if name in there and (_creates(text, name) or _calls(text, one.names))
    )


def _creates(text: str, name: str) -> bool:
    return bool(re.search(rf"\bextension\b[^;]*\b{re.escape(name)}\b", text, re.IGNORECASE))


def _calls(text: str, names: frozenset[str]) -> bool:
    called = "|".join(map(re.escape, sorted(names)))
    return bool(re.search(rf"\b(?:{called})\s*\(", text, re.IGNORECASE))
