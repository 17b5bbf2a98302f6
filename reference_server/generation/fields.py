"""Reading the untyped payload of an answer, field by field; every refusal names the field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from reference_server.generation.errors import AnswerRefused

MAX_LINE = 500  # characters
MAX_TEXT = 5000


def refuse(code: str, message: str) -> NoReturn:
    """Raises AnswerRefused."""
    raise AnswerRefused(code, message)


class Fields:
    """One object of the payload. `done()` refuses fields that were not read: no misspelt field is ignored."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            refuse("invalid_payload", f"{path} must be an object, not {_kind(value)}")
        self._values: Mapping[str, Any] = value
        self._path = path
        self._read: set[str] = set()

    def has(self, name: str) -> bool:
        return name in self._values

    def done(self) -> None:
        if unknown := sorted(str(key) for key in self._values.keys() - self._read):
            known = ", ".join(sorted(self._read)) or "nothing"
            refuse("invalid_payload", f"{self._path} has unknown fields: {', '.join(unknown)}; it takes {known}")

    def boolean(self, name: str) -> bool:
        value = self._get(name)
        if not isinstance(value, bool):
            refuse("invalid_payload", f"{self._at(name)} must be true or false, not {_kind(value)}")
        return value

    def index(self, name: str, among: Sequence[object]) -> int:
        """A position in `among`."""
        value = self._get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            refuse("invalid_payload", f"{self._at(name)} must be a whole number, not {_kind(value)}")
        if not among:
            refuse("out_of_range", f"{self._at(name)} is {value}, but nothing was proposed; use regenerate")
        if not 0 <= value < len(among):
            refuse("out_of_range", f"{self._at(name)} is {value}; it must be from 0 to {len(among) - 1}")
        return value

    def text(self, name: str, longest: int, *, default: str | None = None) -> str:
        """Trimmed text of at most `longest` characters; may be left out, and be empty, only with a default."""
        if default is not None and not self.has(name):
            self._read.add(name)
            return default
        return _text(self._get(name), self._at(name), longest, may_be_empty=default == "")

    def texts(self, name: str, most: int) -> list[str]:
        items = self._list(name, most)
        return [_text(item, f"{self._at(name)}[{i}]", MAX_LINE) for i, item in enumerate(items)]

    def optional_count(self, name: str, most: int) -> int | None:
        if not self.has(name) or self._values[name] is None:
            self._read.add(name)
            return None
        value = self._get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
            refuse("out_of_range", f"{self._at(name)} must be a whole number from 1 to {most}")
        return value

    def object(self, name: str, expected: Sequence[str]) -> Fields:
        value = self._get(name)
        if not isinstance(value, Mapping):
            refuse("malformed_edit", f"{self._at(name)} must be an object with {', '.join(expected)}")
        if not value:
            refuse("malformed_edit", f"{self._at(name)} is empty; give {', '.join(expected)}")
        return Fields(value, self._at(name))

    def items(self, name: str, most: int, *, bare: str, allowed: Sequence[str]) -> Iterator[Fields]:
        """The objects of a list; a plain string stands for an object that has only `bare`."""
        for i, item in enumerate(self._list(name, most)):
            path = f"{self._at(name)}[{i}]"
            fields = Fields({bare: item} if isinstance(item, str) else item, path)
            yield fields
            fields._read.update(allowed)
            fields.done()

    def _list(self, name: str, most: int) -> list[Any]:
        value = self._get(name)
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            refuse("invalid_payload", f"{self._at(name)} must be a list of 1 to {most} items")
        return value

    def _get(self, name: str) -> Any:
        self._read.add(name)
        if name not in self._values:
            refuse("missing_field", f"{self._at(name)} is missing")
        return self._values[name]

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}"


def _text(value: object, path: str, longest: int, *, may_be_empty: bool = False) -> str:
    if not isinstance(value, str):
        refuse("invalid_payload", f"{path} must be text, not {_kind(value)}")
    trimmed = value.strip()
    if not trimmed and not may_be_empty:
        refuse("invalid_payload", f"{path} must not be empty")
    if len(trimmed) > longest:
        refuse("out_of_range", f"{path} has {len(trimmed)} characters; at most {longest} are taken")
    return trimmed


def _kind(value: object) -> str:
    names = {type(None): "null", bool: "true or false", str: "text", int: "a number", float: "a number"}
    return names.get(type(value), "a list" if isinstance(value, list) else "an object")
