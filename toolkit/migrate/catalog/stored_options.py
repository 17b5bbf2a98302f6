"""The options of tables, views, indexes and columns in the words of pg_dump: without those that the server writes for
itself, and alike where they mean the same. The facts do both in SQL (toolkit/sql/catalog.py). Pure."""

from __future__ import annotations

import re

from toolkit.sql.catalog import BOOLEAN_OPTIONS, RESERVED_OPTION

_OPTION = r"""(?:[^(),='"]|"[^"]*")+(?:=(?:'(?:[^']|'')*'|[^(),']*))?"""
# `ALTER TABLE … ALTER COLUMN … SET (…);` and the `WITH (…)` of CREATE TABLE, VIEW, MATERIALIZED VIEW and INDEX.
_LIST = re.compile(
    rf"(?P<opening>^ALTER [^\n]* ALTER COLUMN [^\n]* SET|[ \n]WITH) \((?P<options>{_OPTION}(?:, *{_OPTION})*)\)"
    r"(?P<end>;?\n?)",
    re.MULTILINE,
)
# After the comments above it.
_OF_A_RELATION = re.compile(
    r"(?:\s|--[^\n]*\n)*"
    r"(?:ALTER|CREATE(?: OR REPLACE)?(?: UNLOGGED| UNIQUE| FOREIGN| MATERIALIZED)? (?:TABLE|VIEW|INDEX))\b"
)
_EACH = re.compile(_OPTION)
_TOAST = "toast."
_TRUE = frozenset({"true", "tru", "tr", "t", "yes", "ye", "y", "on", "1"})
_FALSE = frozenset({"false", "fals", "fal", "fa", "f", "no", "n", "off", "of", "0"})


def without_reserved(statement: str) -> str:
    """A statement of pg_dump without options whose names are the server's own; empty when it set nothing else.

    Debian's Postgres 15.20 keeps a version in `pg_attribute.attoptions`; no other server accepts it.
    """
    return _without_reserved(statement) if _OF_A_RELATION.match(statement) else statement


def _without_reserved(text: str) -> str:

    def plain(match: re.Match[str]) -> str:
        given = _options(match)
        kept = [option for option in given if not re.match(RESERVED_OPTION, option.removeprefix(_TOAST))]
        return match[0] if kept == given else _written(match, kept)

    return _LIST.sub(plain, text)


def alike(text: str) -> str:
    """What pg_dump writes of one relation, its options sorted, booleans in one spelling, none of the server's own."""

    def spelt(match: re.Match[str]) -> str:
        return _written(match, sorted(_one_spelling(option) for option in _options(match)))

    return _LIST.sub(spelt, _without_reserved(text))


def _options(match: re.Match[str]) -> list[str]:
    return [option.strip() for option in _EACH.findall(match["options"])]


def _written(match: re.Match[str], options: list[str]) -> str:
    if options:
        return f"{match['opening']} ({', '.join(options)}){match['end']}"
    return "" if match["opening"].startswith("ALTER") else match["end"]


def _one_spelling(option: str) -> str:
    name, _, value = option.partition("=")
    said = value.strip("'").lower()
    if name.removeprefix(_TOAST) not in BOOLEAN_OPTIONS or said not in _TRUE | _FALSE:
        return option
    return f"{name}='{'true' if said in _TRUE else 'false'}'"
