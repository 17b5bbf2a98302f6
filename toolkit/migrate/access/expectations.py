"""Reads `expectations.yaml`: what each role may do, kept by the user beside the migrations. Errors are reported as
`file:line: expected X, got Y`. docs/reference/expectations.md explains every key."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from toolkit.errors import UsageError
from toolkit.migrate.access.ownership import Hints
from toolkit.resources import doc
from toolkit.yaml_text import compose

REMEDY = f"Correct that line; {doc('reference/expectations.md')} explains each word."
Allowance = Literal["allow", "deny", "own", "member"]
Who = Literal["anon", "authenticated", "service_role"]
ExpectedVerb = Literal["select", "insert", "update", "delete", "truncate", "execute"]
VERBS: tuple[ExpectedVerb, ...] = ("select", "insert", "update", "delete", "truncate", "execute")
_SHIPPED_NAME = "expectations.yaml"


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Member(_Strict):
    table: str
    user: str
    organisation: str


class _Rule(_Strict):
    role: Annotated[list[Who], BeforeValidator(_listed), Field(min_length=1)]
    objects: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
    all: Allowance | None = None
    select: Allowance | None = None
    insert: Allowance | None = None
    update: Allowance | None = None
    delete: Allowance | None = None
    truncate: Literal["allow", "deny"] | None = None
    execute: Literal["allow", "deny"] | None = None
    columns: list[str] | None = None
    readable: list[str] | None = None


class _Mended(_Strict):
    by: str
    objects: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]


class _File(_Strict):
    ids: Literal["uuid", "text"] | None = None
    owners: dict[str, Annotated[list[str], BeforeValidator(_listed)]] = {}
    members: list[_Member] = []
    mended: list[_Mended] = []
    expect: list[_Rule] = []


@dataclass(frozen=True)
class Rule:
    """One entry of `expect`. `verbs`: verb → what is allowed; `columns`: those that may be updated, `readable`: those
    that may be selected, no others (None: not said); `line` in the file."""

    roles: tuple[Who, ...]
    objects: tuple[str, ...]
    verbs: Mapping[ExpectedVerb, Allowance]
    columns: frozenset[str] | None
    line: int
    readable: frozenset[str] | None = None

    def names(self, name: str) -> bool:
        """Whether the entry is about this object; a function may be named with or without its arguments."""
        return any(_matches(pattern, name) for pattern in self.objects)


@dataclass(frozen=True)
class Mended:
    """What earlier versions, which are applied and are not edited, have wrong with these objects; version `by` has to
    have it right."""

    by: str
    objects: tuple[str, ...]


@dataclass(frozen=True)
class Expectations:
    """The whole file. `lines`: object as written → its line."""

    file: str
    rules: tuple[Rule, ...]
    hints: Hints
    lines: tuple[tuple[str, int], ...]
    mended: tuple[Mended, ...] = ()

    def allowance(self, role: str, name: str, verb: ExpectedVerb) -> tuple[Allowance, Rule] | None:
        """What the last entry about it allows; None without an entry."""
        for rule in reversed(self.rules):
            if role in rule.roles and verb in rule.verbs and rule.names(name):
                return rule.verbs[verb], rule
        return None

    def allows(self, role: str, name: str, verb: ExpectedVerb) -> bool:
        """Whether it is said that the role may do it to everything."""
        said = self.allowance(role, name, verb)
        return said is not None and said[0] == "allow"

    def columns(self, role: str, name: str) -> tuple[frozenset[str], Rule] | None:
        """The only columns that the role may update; None when no entry limits them."""
        for rule in reversed(self.rules):
            if role in rule.roles and rule.columns is not None and rule.names(name):
                return rule.columns, rule
        return None

    def readable(self, role: str, name: str) -> tuple[frozenset[str], Rule] | None:
        """The only columns that the role may select; None when no entry limits them."""
        for rule in reversed(self.rules):
            if role in rule.roles and rule.readable is not None and rule.names(name):
                return rule.readable, rule
        return None

    def mended_by(self, version: str) -> frozenset[str]:
        """The objects that this version has to have right, although what was wrong was there before."""
        return frozenset(name for one in self.mended if one.by == version for name in one.objects)

    def mended_after(self, version: str, versions: Sequence[str]) -> Mapping[str, str]:
        """Object → the version after this one, of these in their order, that mends it."""
        later = versions[versions.index(version) + 1 :]
        return {name: one.by for one in self.mended if one.by in later for name in one.objects}

    def unknown(self, objects: Iterable[str]) -> Iterator[str]:
        """A line for each name in the file that no object has."""
        known = sorted(objects)
        for written, line in self.lines:
            if not any(_matches(written, name) for name in known):
                near = difflib.get_close_matches(written, known, n=1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                yield f"{self.file}:{line}: expected a table, view or function that exists{hint}, got {written}"


NOTHING = Expectations("", (), Hints({}), ())


def load(path: Path) -> Expectations:
    """Read the file. Raises UsageError with every problem, `file:line` each, or when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", "Give an existing file of expectations."
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}:1: expected text in UTF-8, got byte {error.object[error.start]:#x}.", REMEDY
        ) from error
    return parse(text, path.name)


def parse(text: str, file: str = _SHIPPED_NAME) -> Expectations:
    """The expectations in `text`. Raises UsageError."""
    try:
        root = compose(text)
        plain = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise UsageError(f"{file}:{line}: expected YAML, got {error.problem or 'something else'}", REMEDY) from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file}:1: expected YAML, got {str(error).splitlines()[0]}", REMEDY) from error
    if root is None:
        raise UsageError(f"{file}:1: expected a list under `expect`, got an empty file", REMEDY)
    _refuse_twice(root, file)
    try:
        read = _File.model_validate(plain)
    except ValidationError as error:
        said = dict.fromkeys(_problem(item, root, file) for item in error.errors())
        raise UsageError("\n".join(said), REMEDY) from error
    rules = tuple(_rule(entry, _line(root, ("expect", number)), file) for number, entry in enumerate(read.expect))
    lines = [
        (name, _line(root, ("expect", number, "objects", *((place,) if len(entry.objects) > 1 else ()))))
        for number, entry in enumerate(read.expect)
        for place, name in enumerate(entry.objects)
    ]
    lines += [(name, _line(root, ("owners", name))) for name in read.owners]
    lines += [(entry.table, _line(root, ("members", number, "table"))) for number, entry in enumerate(read.members)]
    lines += [
        (name, _line(root, ("mended", number, "objects")))
        for number, entry in enumerate(read.mended)
        for name in entry.objects
    ]
    owners = {name: () if columns == ["nobody"] else tuple(columns) for name, columns in read.owners.items()}
    hints = Hints(
        owners,
        tuple((one.table, one.user, one.organisation) for one in read.members),
        None if read.ids is None else read.ids == "text",
    )
    mended = tuple(Mended(one.by, tuple(one.objects)) for one in read.mended)
    return Expectations(file, rules, hints, tuple(lines), mended)


def _rule(entry: _Rule, line: int, file: str) -> Rule:
    verbs: dict[ExpectedVerb, Allowance] = {}
    if entry.all is not None:
        verbs = dict.fromkeys(VERBS[:4], entry.all)
        if entry.all in {"allow", "deny"}:
            verbs |= {"truncate": entry.all, "execute": entry.all}
    verbs |= {verb: said for verb in VERBS if (said := getattr(entry, verb)) is not None}
    if not verbs and entry.columns is None and entry.readable is None:
        raise UsageError(
            f"{file}:{line}: expected one of {', '.join(VERBS)}, all, columns or readable, got an entry that says "
            "nothing",
            REMEDY,
        )
    return Rule(
        tuple(entry.role),
        tuple(entry.objects),
        verbs,
        None if entry.columns is None else frozenset(entry.columns),
        line,
        None if entry.readable is None else frozenset(entry.readable),
    )


def _matches(pattern: str, name: str) -> bool:
    """`public.*` and exact names; a function also without its arguments."""
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]")) or (
        "(" in name and "(" not in pattern and fnmatch.fnmatchcase(name.partition("(")[0], pattern.replace("[", "[[]"))
    )


def _refuse_twice(node: yaml.Node, file: str) -> None:
    """Refuse equal keys: YAML would silently use the last one."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise UsageError(f"{file}:{line}: expected `{key.value}` once, got it a second time", REMEDY)
            seen.add(key.value)
            _refuse_twice(value, file)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_twice(value, file)


def _line(node: yaml.Node, place: tuple[str | int, ...]) -> int:
    """The line of the deepest part of `place` that is in the file; a key's own line where there is one."""
    line = node.start_mark.line
    for part in place:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return line + 1


def _problem(error: Any, root: yaml.Node, file: str) -> str:
    place = tuple(error["loc"])
    line = _line(root, place)
    name = str(place[-1]) if place else "the file"
    if error["type"] == "missing":
        return f"{file}:{line}: expected the key `{name}`, got nothing"
    if error["type"] == "extra_forbidden":
        known = [name for model in (_File, _Rule, _Member, _Mended) for name in model.model_fields]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean `{near[0]}`?)" if near else ""
        return f"{file}:{line}: expected no key `{name}` here{hint}, got `{name}`"
    expected = str(error["msg"]).removeprefix("Input should be ")
    return f"{file}:{line}: expected {expected}, got {str(error['input'])[:60]!r}"
