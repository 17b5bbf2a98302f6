"""A scenario as typed, frozen values; docs/reference/scenarios.md explains every key.

`reading.load` makes these from YAML and reports file, line and column of errors.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from toolkit.contract.prompts import InputType
from toolkit.scenarios.judges import BY_ID
from toolkit.scenarios.judges.guards import parse as parse_guard
from toolkit.scenarios.model.conditions import Duration, Sentence, Strict

_NAME = r"^[a-z][a-z0-9_-]*$"


class SelectAnswer(Strict):
    """`select: N` takes the N-th proposal, counted from 0."""

    select: int = Field(ge=0)


class EditAnswer(Strict):
    """`edit: {…}` replaces the proposal and goes on; `{name}` in a text is the process' own name."""

    edit: dict[str, Any]


class RawAnswer(Strict):
    """Sends exactly this answer, valid or not."""

    response_type: str
    payload: dict[str, Any] = Field(default_factory=dict)


Word = Literal["approve", "reject", "regenerate"]


def _answer_form(value: object) -> str:
    if isinstance(value, str):
        return "word"
    keys: object = value.keys() if isinstance(value, dict) else type(value).model_fields.keys()  # type: ignore[attr-defined]
    assert hasattr(keys, "__contains__")
    for key, form in (("select", "select"), ("edit", "edit"), ("response_type", "raw")):
        if key in keys:
            return form
    return "unknown"


Answer = Annotated[
    Annotated[Word, Tag("word")]
    | Annotated[SelectAnswer, Tag("select")]
    | Annotated[EditAnswer, Tag("edit")]
    | Annotated[RawAnswer, Tag("raw")],
    Discriminator(
        _answer_form,
        custom_error_type="answer",
        custom_error_message=(
            "Input should be approve, reject, regenerate, {select: N}, {edit: {…}} or {response_type: …, payload: {…}}"
        ),
    ),
]


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


Answers = Annotated[list[Answer], BeforeValidator(_listed), Field(min_length=1)]
DEFAULT_ANSWERS: dict[InputType, list[Answer]] = {
    InputType.SELECT_PERSONA: [SelectAnswer(select=0)],
    InputType.SELECT_THEME: [SelectAnswer(select=0)],
    InputType.APPROVE_PLAN: ["approve"],
    InputType.APPROVE_OUTLINE: ["approve"],
}


class Process(Strict):
    """One kind of generation to start: the user, the count, and how its prompts are answered.

    Without `answers` the first proposal is taken and everything approved; with `manual` the steps answer. A list gives
    successive answers to the same prompt; its last repeats.
    """

    user: str
    count: int = Field(default=1, ge=1, le=200)
    body: dict[str, Any] = Field(default_factory=dict)
    answers: dict[InputType, Answers] | Literal["manual"] = Field(default_factory=dict)
    readers: list[str] = Field(default_factory=list)


class AnyStep(Strict):
    """What every step may contain."""

    point: str | None = None
    """Which numbered point of the migration guide the step proves."""


Expectations = dict[str, Any]


class Start(AnyStep):
    """Start every process of this name at once, each watched from its first event."""

    start: str
    expect: Expectations = Field(default_factory=dict)


class Until(AnyStep):
    """Wait for a condition; fails after `within`, or as soon as it can no longer come true."""

    until: Sentence
    within: Duration = 30.0
    where: dict[str, Any] = Field(default_factory=dict)


class AnswerStep(AnyStep):
    """Answer the open prompt of a process."""

    answer: str
    give: Answer
    expect: Expectations = Field(default_factory=dict)


class Pause(AnyStep):
    """Pause a process."""

    pause: str
    expect: Expectations = Field(default_factory=dict)


class Resume(AnyStep):
    """Resume a process."""

    resume: str
    expect: Expectations = Field(default_factory=dict)


class Cancel(AnyStep):
    """Cancel a process."""

    cancel: str
    expect: Expectations = Field(default_factory=dict)


class Request(AnyStep):
    """Send `METHOD /path` as a user (nobody: without a token); `{NAME.id}` stands for a process' id."""

    request: str
    user: str | None = None
    body: Any = None
    headers: dict[str, str] = Field(default_factory=dict)
    expect: Expectations

    @field_validator("request")
    @classmethod
    def _form(cls, value: str) -> str:
        if not re.fullmatch(r"(GET|POST|PUT|PATCH|DELETE) /\S*", value):
            raise ValueError("METHOD /path, such as `GET /api/articles/generation/{article.id}`")
        return value


class Disconnect(AnyStep):
    """End the application's session, as closing the browser's tab does."""

    disconnect: str


class Reconnect(AnyStep):
    """Begin another session of the application, which continues from what the last one was given."""

    reconnect: str


class Quiet(AnyStep):
    """Expect that no event is appended to the process for this long."""

    quiet: str
    lasting: Duration


class Database(AnyStep):
    """Read the rows of every process of the name until they are as expected, for at most `within`.

    `{name}` in a text stands for each process' own name. Paths: `state.<column>`, `events`, `articles`,
    `article.<column>`, `tasks`, `open_tasks`.
    """

    database: str
    expect: Expectations = Field(min_length=1)
    within: Duration = 5.0


class Reconfigure(AnyStep):
    """Restart the workers of the embedded system, gracefully, with other settings."""

    reconfigure: Literal["worker"]
    to: dict[str, str] = Field(min_length=1)


VERBS: dict[str, type[AnyStep]] = {
    "start": Start,
    "until": Until,
    "answer": AnswerStep,
    "pause": Pause,
    "resume": Resume,
    "cancel": Cancel,
    "request": Request,
    "disconnect": Disconnect,
    "reconnect": Reconnect,
    "quiet": Quiet,
    "database": Database,
    "reconfigure": Reconfigure,
}


def _verb(value: object) -> str | None:
    if isinstance(value, dict):
        found = [verb for verb in VERBS if verb in value]
        return found[0] if len(found) == 1 else None
    return next((verb for verb, kind in VERBS.items() if isinstance(value, kind)), None)


Step = Annotated[
    Annotated[Start, Tag("start")]
    | Annotated[Until, Tag("until")]
    | Annotated[AnswerStep, Tag("answer")]
    | Annotated[Pause, Tag("pause")]
    | Annotated[Resume, Tag("resume")]
    | Annotated[Cancel, Tag("cancel")]
    | Annotated[Request, Tag("request")]
    | Annotated[Disconnect, Tag("disconnect")]
    | Annotated[Reconnect, Tag("reconnect")]
    | Annotated[Quiet, Tag("quiet")]
    | Annotated[Database, Tag("database")]
    | Annotated[Reconfigure, Tag("reconfigure")],
    Discriminator(
        _verb,
        custom_error_type="verb",
        custom_error_message=f"Input should be a step with exactly one of the verbs {', '.join(VERBS)}",
    ),
]


Link = Literal["websocket", "http"]
NETWORK = ("cut", "lose", "slow", "freeze")
PROCESS = ("kill", "restart")
_FAULTS = (*NETWORK, *PROCESS)


class Fault(Strict):
    """What is broken, when, and for how long. Exactly one of `cut`, `lose`, `slow`, `freeze`, `kill`, `restart`."""

    after: Sentence
    cut: Link | None = None
    lose: Literal["http"] | None = None
    slow: Link | None = None
    freeze: Link | None = None
    kill: Literal["worker", "api"] | None = None
    restart: Literal["database"] | None = None
    lasting: Duration = 2.0
    latency: Duration = 0.3

    @model_validator(mode="after")
    def _one_verb(self) -> Fault:
        given = [verb for verb in _FAULTS if getattr(self, verb) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of {', '.join(_FAULTS)}")
        return self

    @property
    def op(self) -> str:
        """Which of them it has."""
        return next(verb for verb in _FAULTS if getattr(self, verb) is not None)

    @property
    def target(self) -> str:
        """What the fault breaks."""
        return str(getattr(self, self.op))


class Ruling(Strict):
    """One judge, and the point of the guide it proves."""

    judge: str
    point: str | None = None

    @field_validator("judge")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in BY_ID:
            raise ValueError(f"one of the judges {', '.join(BY_ID)}")
        return value


def _ruling(value: object) -> object:
    return {"judge": value} if isinstance(value, str) else value


Rulings = list[Annotated[Ruling, BeforeValidator(_ruling)]]


def _guard(value: str) -> str:
    parse_guard(value)
    return value


class Scenario(Strict):
    """A whole scenario file."""

    scenario: str = Field(pattern=_NAME)
    title: str = Field(min_length=1)
    transports: list[Literal["realtime", "websocket"]] = Field(default=["realtime"], min_length=1)
    users: list[str] = Field(min_length=1)
    processes: dict[str, Process] = Field(default_factory=dict)
    watch: dict[str, str] = Field(default_factory=dict)
    """user → process name, or `everything`: subscriptions without recovery, which must receive nothing foreign."""
    steps: list[Step] = Field(min_length=1)
    faults: list[Fault] = Field(default_factory=list)
    check: dict[str, Rulings] = Field(default_factory=dict)
    sometimes: list[Annotated[str, BeforeValidator(_guard)]] = Field(default_factory=list)
    limits: dict[Literal["recovery", "delivery_p50", "delivery_p95", "duration"], Duration] = Field(
        default_factory=dict
    )
    environment: dict[str, str] = Field(default_factory=dict)
    """Settings of the embedded reference server that this scenario runs with."""
    seed: int = 1

    @property
    def control(self) -> bool:
        """Whether it needs a system whose processes it may kill or restart."""
        return self.breaks_processes or any(isinstance(step, Reconfigure) for step in self.steps)

    @property
    def breaks_processes(self) -> bool:
        """Whether one of its faults does."""
        return any(fault.op in PROCESS for fault in self.faults)


def schema() -> dict[str, Any]:
    """JSON Schema of a scenario file, for editors."""
    made = Scenario.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
