"""Plausible values for a column of any type, as text that its type reads. Pure.

`natural` gives one for a serial number, different for each number as far as the type has room; `alternatives` gives
what else may satisfy a condition, with the constants that the condition itself names.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import pairwise

from toolkit.migrate.rows.patterns import like, matching

_NAMES = uuid.UUID("6d0f7c9e-0b1c-4a53-9f7e-0f2f6f2a7c11")
_FIRST = datetime(2024, 1, 5, 9, 30, 15, 123457, tzinfo=UTC)
_STEP = timedelta(days=1, hours=1, minutes=7, seconds=3, microseconds=111)
_STRING = re.compile(r"'((?:[^']|'')*)'")
_NUMBER = re.compile(r"(?<![\w.'])\(?(-?\d+(?:\.\d+)?)")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_LONGEST = 400
_MOST_ELEMENTS = 12


@dataclass(frozen=True)
class Kind:
    """A type, seen through its domains.

    `shape` is base, enum, array, range, multirange or composite; `name` and `category` are those of pg_type, of the
    innermost type; `length` counts characters, bits or dimensions; `element` is that of an array, the subtype of a
    range; `fields` those of a composite; `checks` are the domains' conditions on VALUE.
    """

    name: str
    category: str = "U"
    shape: str = "base"
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    labels: tuple[str, ...] = ()
    element: Kind | None = None
    fields: tuple[Kind, ...] = ()
    checks: tuple[str, ...] = ()


def literal(value: str | None, type_name: str = "") -> str:
    """A value as SQL, cast to its type when one is given."""
    if value is None:
        return "null"
    quoted = "'" + value.replace("'", "''") + "'"
    if "\\" in quoted:
        # Read the same whatever standard_conforming_strings says.
        quoted = " E" + quoted.replace("\\", "\\\\")
    return f"{quoted}::{type_name}" if type_name else quoted


def natural(kind: Kind, name: str, serial: int) -> str:
    """The value of row number `serial` (from 1) in a column called `name`."""
    match kind.shape:
        case "enum":
            return kind.labels[serial % len(kind.labels)] if kind.labels else ""
        case "array":
            assert kind.element is not None
            return _array([natural(kind.element, name, serial + turn) for turn in range(1 + serial % 3)])
        case "range":
            return _range(kind, serial)
        case "multirange":
            return "{" + _range(kind, serial) + "}"
        case "composite":
            return _composite([natural(field, f"{name}.{n}", serial) for n, field in enumerate(kind.fields)])
        case _:
            return _base(kind, name, serial)


def alternatives(kind: Kind, name: str, serial: int, expressions: Sequence[str] = ()) -> tuple[str, ...]:
    """Other values of the type, those first that `expressions` (SQL conditions) name; none twice."""
    found: list[str] = []
    for expression in (*expressions, *kind.checks):
        found += _mined(kind, serial, expression)
    found += [natural(kind, name, serial + step) for step in (1, 2, 5)]
    found += _extremes(kind, serial)
    if kind.shape == "enum":
        found = [*kind.labels]
    return tuple(dict.fromkeys(value for value in found if _fits(kind, value)))


def successor(kind: Kind, value: str) -> str | None:
    """Another value near `value` that whoever accepted that one would probably accept too; None where there is none."""
    if kind.shape == "enum" and value in kind.labels and len(kind.labels) > 1:
        return kind.labels[(kind.labels.index(value) + 1) % len(kind.labels)]
    if kind.shape != "base":
        return None
    if kind.name in _INTEGERS:
        return str(int(value) - 1) if int(value) > 1 else str(int(value) + 1)
    if kind.category == "B":
        return "false" if value in {"true", "t"} else "true"
    if kind.category == "S":
        room = kind.length is None or len(value) < kind.length
        return f"{value}x" if room else (value[:-1] + ("y" if value.endswith("x") else "x"))
    if (kind.name in _NATURAL and kind.category in {"N", "D", "T"}) or kind.name in {"uuid", "json", "jsonb"}:
        for serial in (3, 4):
            if (other := natural(kind, "other", serial)) != value:
                return other
    return None


def constants(expression: str) -> tuple[list[str], list[str]]:
    """The string and the number constants of an SQL expression, in their order."""
    strings = [text.replace("''", "'") for text in _STRING.findall(expression)]
    return strings, _NUMBER.findall(_STRING.sub("''", expression))


def choices(expression: str, column: str) -> tuple[str, ...]:
    """The values of a condition that is nothing but a list of them for this column; empty for any other."""
    name = rf'\(?(?:"{re.escape(column)}"|{re.escape(column)})\)?(?:::[\w ."]+)?\)?'
    of_a_list = name + r' = ANY \(+ARRAY\[.*\]\)?(?:::[\w ."\[\]]+)?\)+'
    if not re.fullmatch(rf"\(+{of_a_list}", expression, re.DOTALL):
        return ()
    strings, numbers = constants(expression)
    return tuple(dict.fromkeys(strings or numbers))


def _mined(kind: Kind, serial: int, expression: str) -> list[str]:
    strings, numbers = constants(expression)
    if kind.shape == "array" and kind.element is not None:
        inner = [value for value in (*strings, *numbers) if not value.startswith("{")]
        lists = [value for value in strings if value.startswith("{")]
        counts = [int(number) for number in numbers if number.isdigit() and int(number) <= _MOST_ELEMENTS]
        own = [natural(kind.element, "element", serial + turn) for turn in range(_MOST_ELEMENTS + 1)]
        return [*lists, *(_array([value]) for value in inner), _array(inner), *(_array(own[:n]) for n in counts)]
    if kind.category == "S" and kind.shape == "base":
        return _mined_texts(kind, serial, expression, strings, numbers)
    if kind.name in {"json", "jsonb"}:
        keys = [text for text in strings if text not in _JSON_TYPES]
        fillers: tuple[object, ...] = (serial, f"v{serial}", [], {}, True)
        objects = [json.dumps(dict.fromkeys(keys, filler)) for filler in fillers]
        return [*objects, *(text for text in keys if text[:1] in "[{")] if keys else []
    if kind.category == "N":
        steps = (0, 1, -1) if kind.name in _INTEGERS else (0, 1, -1, Decimal("0.5"), Decimal("-0.5"))
        values = [Decimal(number) for number in (*numbers, *(s for s in strings if re.fullmatch(r"-?\d+(\.\d+)?", s)))]
        middles = [(low + high) / 2 for low, high in pairwise(values)]
        exact = [value + step for value in values for step in steps]
        return [_plain(int(v) if kind.name in _INTEGERS else v) for v in (*middles, *exact)]
    if kind.category == "D":
        return [moved for text in strings for moved in _days_around(text)]
    return strings


def _days_around(text: str) -> list[str]:
    """A day or moment that a condition names, as it is and a day later and earlier."""
    try:
        named = datetime.fromisoformat(text)
    except ValueError:
        return [text]
    return [text, *((named + timedelta(days=step)).isoformat() for step in (1, -1))]


def _mined_texts(kind: Kind, serial: int, expression: str, strings: list[str], numbers: list[str]) -> list[str]:
    found = []
    if "~~" in expression or " LIKE " in expression.upper():
        found += [like(text, serial) for text in strings]
    if re.search(r"(?<!~)!?~\*?(?![~])", expression) or "regexp" in expression or "SIMILAR" in expression.upper():
        found += [made for text in strings for made in matching(text, serial)]
    found += strings
    own = _base(Kind(kind.name, "S"), "text", serial)
    for number in numbers:
        for length in (int(Decimal(number)) + step for step in (0, 1, -1)):
            if 0 <= length <= _LONGEST:
                found.append(_to_length(own, length))
                found.append(str(serial).zfill(length)[-length:] if length else "")
                found.append(_code(serial).rjust(length, "A")[-length:].upper() if length else "")
    return found


_JSON_TYPES = {"object", "array", "string", "number", "boolean", "null"}


def _extremes(kind: Kind, serial: int) -> list[str]:
    if kind.shape == "array":
        return ["{}"]
    if kind.shape in {"range", "composite"}:
        return []
    if kind.category == "N":
        return ["0", "1", "-1", "5", "10", "50", "100"]
    if kind.category == "B":
        return ["true", "false"]
    if kind.name in {"json", "jsonb"}:
        return ["{}", "[]", f'[{{"n": {serial}}}]', '["a", "b"]', str(serial), f'"text {serial}"', "true", "null"]
    if kind.category == "S":
        return [
            "a",
            "A",
            f"word{serial}",
            f"WORD{serial}",
            str(serial),
            f"user{serial}@example.com",
            _uuid("any", serial),
            f"https://example.com/{serial}",
            f"+8190{serial:08d}",
            "#a1b2c3",
            "2024-01-05",
            "JPY",
            "ja",
            "",
        ]
    return []


def _fits(kind: Kind, value: str) -> bool:
    """Whether the type can read a text that was found lying about; types that are not judged here can."""
    if kind.shape == "enum":
        return value in kind.labels
    if kind.shape == "array":
        return value.startswith("{") and value.endswith("}")
    if kind.shape != "base":
        return True
    if kind.category == "S":
        return kind.length is None or len(value) <= kind.length
    if kind.name in {"json", "jsonb"}:
        return _is_json(value)
    if kind.category == "N":
        try:
            number = Decimal(value)
        except InvalidOperation:
            return False
        bound = _INTEGERS.get(kind.name)
        return bound is None or (number == int(number) and -bound <= number <= bound)
    if kind.category == "B":
        return value in {"true", "false", "t", "f"}
    if kind.category in {"D", "T"}:
        return bool(re.match(r"-?\d", value))
    return kind.name != "uuid" or bool(re.fullmatch(r"[0-9a-f-]{36}", value))


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True


# -- base types -----------------------------------------------------------------------------------------------------

_INTEGERS = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**63 - 1, "oid": 2**31 - 1}


def _base(kind: Kind, name: str, serial: int) -> str:
    if kind.category == "S" and kind.name not in {"name", "char"}:
        return _text(kind, name, serial)
    if made := _NATURAL.get(kind.name):
        return made(kind, name, serial)
    by_category = {"N": "int4", "B": "bool", "D": "timestamptz", "T": "interval", "I": "inet", "V": "varbit"}
    if kind.category in by_category:
        return _NATURAL[by_category[kind.category]](kind, name, serial)
    if kind.name in {"geometry", "geography"}:
        return f"POINT({serial % 90} {serial % 45})"
    if kind.name in {"vector", "halfvec"}:
        return "[" + ",".join(str((serial + n) % 7 + 1) for n in range(kind.length or 3)) + "]"
    return f"item{serial}"


def _text(kind: Kind, name: str, serial: int) -> str:
    by_name = {
        "email": f"user{serial}@example.com",
        "url": f"https://example.com/{serial}",
        "slug": f"slug-{serial}",
        "phone": f"+8190{serial:08d}",
        "user_id": f"user_{serial}",
    }
    for hint, value in by_name.items():
        if name.lower().endswith(hint) and kind.length is None:
            return value
    variety = (f"{name} {serial}", f"日本語の値 {serial}", f'O\'Brien "{serial}"', f"a\\b {serial} %_")[serial % 4]
    return variety if kind.length is None else _to_length(variety, kind.length, tail=_code(serial))


def _to_length(text: str, length: int, tail: str = "") -> str:
    """Exactly so long when no tail is given; otherwise at most, with the tail kept since it makes the value unique."""
    if not tail:
        return (text * (length // max(len(text), 1) + 1))[:length]
    if len(text) <= length:
        return text
    return tail[-length:] if length <= len(tail) + 1 else text[: length - len(tail) - 1] + "-" + tail


def _code(serial: int) -> str:
    digits = ""
    while serial:
        serial, digit = divmod(serial, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"


def _integer(kind: Kind, name: str, serial: int) -> str:
    return str(serial % _INTEGERS.get(kind.name, 2**31 - 1))


def _decimal(kind: Kind, name: str, serial: int) -> str:
    if kind.precision is None:
        return f"{serial}.123456789"
    scale = kind.scale or 0
    if scale < 0:
        return str(serial * 10**-scale)
    digits = kind.precision - scale
    whole = serial % 10**digits if digits > 0 else 0
    # The last digit is never zero, so that a narrower scale shows.
    fraction = "123456789123456789"[:scale].rjust(scale, "1")[:scale]
    if digits < 0:
        return "0." + "0" * -digits + "1" * kind.precision
    return f"{whole}.{fraction}" if scale else str(whole)


def _moment(serial: int) -> datetime:
    return _FIRST + serial * _STEP


def _uuid(name: str, serial: int) -> str:
    return str(uuid.uuid5(_NAMES, f"{name}:{serial}"))


def _json(kind: Kind, name: str, serial: int) -> str:
    if kind.labels:  # what the column's default looks like, see `shapes`
        return json.dumps([{"n": serial, "text": "日本語"}], ensure_ascii=False)
    return json.dumps(
        {"n": serial, "text": "日本語", "quote": 'it\'s "so"', "tags": ["a", "b"], "part": {"on": bool(serial % 2)}},
        ensure_ascii=False,
    )


def _bits(kind: Kind, name: str, serial: int) -> str:
    length = kind.length or 8
    return f"{serial % 2**length:0{length}b}"


def _range(kind: Kind, serial: int) -> str:
    """Ranges of different serials do not overlap: exclusion constraints ask for that."""
    assert kind.element is not None
    if kind.element.name in {"int4", "int8", "numeric"}:
        return f"[{serial * 10},{serial * 10 + 5})"
    low, high = natural(kind.element, "range", 2 * serial), natural(kind.element, "range", 2 * serial + 1)
    return f'["{low}","{high}")'


def _array(elements: Sequence[str]) -> str:
    return "{" + ",".join('"' + e.replace("\\", "\\\\").replace('"', '\\"') + '"' for e in elements) + "}"


def _composite(fields: Sequence[str]) -> str:
    return "(" + ",".join('"' + f.replace("\\", "\\\\").replace('"', '""') + '"' for f in fields) + ")"


def _plain(number: Decimal | int) -> str:
    return f"{number:f}" if isinstance(number, Decimal) else str(number)


_NATURAL: dict[str, Callable[[Kind, str, int], str]] = {
    **dict.fromkeys(("int2", "int4", "oid"), _integer),
    # One of them is too large for four bytes: a narrower type must notice.
    "int8": lambda kind, name, serial: str(serial if serial != 3 or name.endswith("id") else 3_000_000_003),
    "numeric": _decimal,
    "float4": lambda kind, name, serial: f"{serial}.25",
    "float8": lambda kind, name, serial: f"{serial}.123456789012",
    "money": lambda kind, name, serial: f"{serial}.25",
    "bool": lambda kind, name, serial: "true" if serial % 2 else "false",
    "name": lambda kind, name, serial: f"name_{serial}",
    "char": lambda kind, name, serial: _DIGITS[serial % 36],
    "uuid": lambda kind, name, serial: _uuid(name, serial),
    "json": _json,
    "jsonb": _json,
    "jsonpath": lambda kind, name, serial: f"$.a[{serial}]",
    "xml": lambda kind, name, serial: f"<a>{serial}</a>",
    "bytea": lambda kind, name, serial: "\\x" + f"{serial:08x}" + "00ff",
    "timestamptz": lambda kind, name, serial: _moment(serial).isoformat(),
    "timestamp": lambda kind, name, serial: _moment(serial).replace(tzinfo=None).isoformat(),
    "date": lambda kind, name, serial: _moment(serial).date().isoformat(),
    "time": lambda kind, name, serial: _moment(serial).time().isoformat(),
    "timetz": lambda kind, name, serial: _moment(serial).time().isoformat() + "+09",
    "interval": lambda kind, name, serial: f"{serial} days 03:04:05.678",
    "inet": lambda kind, name, serial: f"10.{serial // 65536 % 256}.{serial // 256 % 256}.{serial % 256}",
    "cidr": lambda kind, name, serial: f"10.{serial // 256 % 256}.{serial % 256}.0/24",
    "macaddr": lambda kind, name, serial: f"02:00:00:00:{serial // 256 % 256:02x}:{serial % 256:02x}",
    "macaddr8": lambda kind, name, serial: f"02:00:00:ff:fe:00:{serial // 256 % 256:02x}:{serial % 256:02x}",
    "bit": lambda kind, name, serial: _bits(kind if kind.length else Kind("bit", length=1), name, serial),
    "varbit": _bits,
    "tsvector": lambda kind, name, serial: f"'word' 'number{serial}'",
    "tsquery": lambda kind, name, serial: f"'word' & 'number{serial}'",
    "point": lambda kind, name, serial: f"({serial},{serial + 1})",
    "line": lambda kind, name, serial: f"{{1,-1,{serial}}}",
    "lseg": lambda kind, name, serial: f"[(0,0),({serial},1)]",
    "box": lambda kind, name, serial: f"({serial + 1},1),({serial},0)",
    "path": lambda kind, name, serial: f"[(0,0),({serial},1)]",
    "polygon": lambda kind, name, serial: f"((0,0),({serial},1),(1,1))",
    "circle": lambda kind, name, serial: f"<({serial},0),1>",
    "pg_lsn": lambda kind, name, serial: f"0/{serial:X}",
    "xid8": lambda kind, name, serial: str(serial),
    "pg_snapshot": lambda kind, name, serial: f"{serial}:{serial}:",
    "txid_snapshot": lambda kind, name, serial: f"{serial}:{serial}:",
    "hstore": lambda kind, name, serial: f'"n"=>"{serial}"',
    "ltree": lambda kind, name, serial: f"top.n{serial}",
    "regclass": lambda kind, name, serial: "pg_catalog.pg_class",
    "regtype": lambda kind, name, serial: "integer",
    "regproc": lambda kind, name, serial: "pg_catalog.now",
    "regprocedure": lambda kind, name, serial: "pg_catalog.now()",
    "regrole": lambda kind, name, serial: "postgres",
    "regnamespace": lambda kind, name, serial: "pg_catalog",
}
