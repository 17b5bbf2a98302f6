"""Reads YAML to a `Scenario`; errors are reported as `file:line:column: expected X, got Y`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from toolkit.contract.prompts import InputType
from toolkit.errors import UsageError
from toolkit.resources import doc, scenarios_dir
from toolkit.scenarios.judges import BY_ID
from toolkit.scenarios.judges.guards import parse as parse_guard
from toolkit.scenarios.model.scenario_file import VERBS, EditAnswer, Scenario, SelectAnswer
from toolkit.yaml_text import compose

REMEDY = (
    "Correct that line; `toolkit scenarios schema` prints the form, "
    f"{doc('reference/scenarios.md')} explains each word."
)
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One error in a file; line and column count from 1."""

    file: str
    line: int
    column: int
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: expected {self.expected}, got {self.got}"


class ScenarioError(UsageError):
    """A scenario file that cannot be read; `problems` are in the file's order."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.line, problem.column))
        super().__init__("\n".join(map(str, self.problems)), REMEDY)


def load(path: Path) -> Scenario:
    """Read one scenario file. Raises ScenarioError, or UsageError when there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Give an existing scenario file.") from error
    except UnicodeDecodeError as error:
        raise ScenarioError([Problem(str(path), 1, 1, "text in UTF-8", f"byte {error.start}")]) from error
    return parse(text, str(path))


def parse(text: str, file: str = "<scenario>") -> Scenario:
    """The scenario in `text`. Raises ScenarioError."""
    marks: dict[Place, yaml.Mark] = {}
    try:
        node = compose(text)
        if node is None:
            raise ScenarioError([Problem(file, 1, 1, "a scenario", "an empty file")])
        plain = _plain(node, (), marks, file)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ScenarioError([Problem(file, line, column, "YAML", error.problem or "something else")]) from error
    except yaml.YAMLError as error:
        raise ScenarioError([Problem(file, 1, 1, "YAML", str(error).splitlines()[0])]) from error
    try:
        scenario = Scenario.model_validate(plain)
    except ValidationError as error:
        raise ScenarioError([_problem(item, marks, file) for item in error.errors()]) from error
    problems = [Problem(file, *_position(marks, place), expected, got) for place, expected, got in _names(scenario)]
    if problems:
        raise ScenarioError(problems)
    return scenario


def shipped() -> dict[str, Path]:
    """Name → path of the scenario files that come with the toolkit."""
    return {path.stem: path for path in sorted(scenarios_dir().glob("*.yaml"))}


def find(name: str) -> Path:
    """A scenario by its shipped name or its path. Raises UsageError with the nearest names."""
    known = shipped()
    if name in known:
        return known[name]
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or path.exists():
        return path
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    raise UsageError(
        f"There is no scenario {name!r}." + (f" Did you mean {' or '.join(near)}?" if near else ""),
        "`toolkit scenarios list` shows the names; a path to a .yaml file is taken too.",
    )


def _plain(node: yaml.Node, place: Place, marks: dict[Place, yaml.Mark], file: str) -> Any:
    marks.setdefault(place, node.start_mark)
    if isinstance(node, yaml.MappingNode):
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _plain(key_node, (*place, "<key>"), {}, file)
            if not isinstance(key, str | int):
                raise ScenarioError([_at(file, key_node, "a plain key", repr(key))])
            if key in found:
                raise ScenarioError([_at(file, key_node, f"{key!r} once", "it a second time")])
            marks[(*place, key, "<key>")] = key_node.start_mark
            found[key] = _plain(value_node, (*place, key), marks, file)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*place, number), marks, file) for number, item in enumerate(node.value)]
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except ValueError as error:
        raise ScenarioError([_at(file, node, "a plain value", str(error))]) from error
    finally:
        loader.dispose()


def _at(file: str, node: yaml.Node, expected: str, got: str) -> Problem:
    return Problem(file, node.start_mark.line + 1, node.start_mark.column + 1, expected, got)


def _position(marks: dict[Place, yaml.Mark], loc: tuple[str | int, ...], *, key: bool = False) -> tuple[int, int]:
    """The nearest position in the file to a pydantic location, which also contains tags of unions."""
    place = _nearest(marks, (), loc)
    mark = marks.get((*place, "<key>"), marks[place]) if key else marks[place]
    return mark.line + 1, mark.column + 1


def _nearest(marks: dict[Place, yaml.Mark], place: Place, loc: tuple[str | int, ...]) -> Place:
    """The deepest position that `loc` leads to, when any of its parts may be a tag instead of a key."""
    if not loc:
        return place
    skipped = _nearest(marks, place, loc[1:])
    if (*place, loc[0]) not in marks:
        return skipped
    taken = _nearest(marks, (*place, loc[0]), loc[1:])
    # A step's verb is both its tag and one of its keys: the interpretation that uses every part wins.
    reaches = skipped[-1:] == loc[-1:] and taken[-1:] != loc[-1:]
    return skipped if reaches or len(skipped) > len(taken) else taken


def _problem(error: Any, marks: dict[Place, yaml.Mark], file: str) -> Problem:
    loc: tuple[str | int, ...] = error["loc"]
    name = str(loc[-1]) if loc else "the file"
    match error["type"]:
        case "missing":
            return Problem(file, *_position(marks, loc), f"the key `{name}`", "nothing")
        case "extra_forbidden":
            near = difflib.get_close_matches(name, _known_keys(), n=1)
            hint = f" (did you mean `{near[0]}`?)" if near else ""
            return Problem(file, *_position(marks, loc, key=True), f"no key `{name}` here{hint}", f"`{name}`")
        case "value_error":
            expected = str(error["ctx"]["error"])
        case _:
            expected = str(error["msg"]).removeprefix("Input should be ").removeprefix("String should ")
    return Problem(file, *_position(marks, loc), expected, _short(error["input"]))


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping with " + (", ".join(f"`{key}`" for key in list(value)[:6]) or "no keys")
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _known_keys() -> list[str]:
    return [*Scenario.model_fields, *VERBS, *(field for kind in VERBS.values() for field in kind.model_fields)]


def _names(scenario: Scenario) -> list[tuple[Place, str, str]]:
    """A problem for each name in the scenario that refers to nothing."""
    problems: list[tuple[Place, str, str]] = []
    users, processes = set(scenario.users), scenario.processes

    def user(place: Place, name: str | None) -> None:
        if name is not None and name not in users:
            problems.append((place, f"one of the users {', '.join(sorted(users))}", repr(name)))

    def process(place: Place, name: str, *, one: bool = False) -> None:
        base, _, index = name.partition("[")
        if base not in processes:
            problems.append((place, f"one of the processes {', '.join(processes) or '(none)'}", repr(name)))
        elif index and int(index.rstrip("]")) >= processes[base].count:
            problems.append((place, f"an index below {processes[base].count}", repr(name)))
        elif one and not index and processes[base].count > 1:
            problems.append((place, f"one of them, such as `{base}[0]`", repr(name)))

    for name, made in processes.items():
        user(("processes", name, "user"), made.user)
        for number, reader in enumerate(made.readers):
            user(("processes", name, "readers", number), reader)
        if isinstance(made.answers, dict):
            for prompt, answers in made.answers.items():
                for answer in answers:
                    problem = _unfit(prompt, answer)
                    if problem:
                        problems.append((("processes", name, "answers", prompt.value), problem, _short_answer(answer)))
    for number, step in enumerate(scenario.steps):
        verb = next(verb for verb, kind in VERBS.items() if isinstance(step, kind))
        place: Place = ("steps", number, verb)
        match verb:
            case "reconfigure":
                pass
            case "request":
                user(("steps", number, "user"), getattr(step, "user", None))
            case "until":
                process(place, step.until.who)  # type: ignore[union-attr]
            case "start":
                process(place, str(getattr(step, verb)))
            case _:
                process(place, str(getattr(step, verb)), one=verb in ("answer", "quiet"))
    for number, fault in enumerate(scenario.faults):
        process(("faults", number, "after"), fault.after.who)
    for who, what in scenario.watch.items():
        user(("watch", who), who)
        if what != "everything":
            process(("watch", who), what)
    for name, rulings in scenario.check.items():
        process(("check", name), name)
        for number, ruling in enumerate(rulings):
            if not BY_ID[ruling.judge].transports & set(scenario.transports):
                problems.append((("check", name, number), "a judge for this scenario's transports", ruling.judge))
    for number, guard in enumerate(scenario.sometimes):
        process(("sometimes", number), parse_guard(guard)[0])
    return problems


def _unfit(prompt: InputType, answer: object) -> str | None:
    selects = prompt in (InputType.SELECT_PERSONA, InputType.SELECT_THEME)
    if isinstance(answer, SelectAnswer) and not selects:
        return f"approve, reject, regenerate or an edit for {prompt}"
    if answer in ("approve", "reject") and selects:
        return f"{{select: N}}, regenerate or an edit for {prompt}"
    return None


def _short_answer(answer: object) -> str:
    if isinstance(answer, SelectAnswer):
        return f"{{select: {answer.select}}}"
    return "{edit: …}" if isinstance(answer, EditAnswer) else repr(answer)
