"""Two kinds of text in scenario files: durations, and the conditions that a step or a fault waits for."""

from __future__ import annotations

import contextlib
import random
import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from toolkit.contract.events import EventType
from toolkit.contract.prompts import InputType
from toolkit.contract.statuses import Status
from toolkit.contract.steps import Step as GenerationStep
from toolkit.durations import FORM, PATTERN, parse_duration

_WHO = r"(?P<every>every )?(?P<who>[a-z][a-z0-9_-]*(?:\[\d+\])?)"
_CONDITIONS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("is", re.compile(rf"{_WHO} is (?P<what>live)(?: x (?P<times>\d+))?")),
    ("is", re.compile(rf"{_WHO} is (?P<what>caught up|ended|{'|'.join(Status)})")),
    ("waits", re.compile(rf"{_WHO} waits for (?P<what>{'|'.join(InputType)})")),
    ("enters", re.compile(rf"{_WHO} enters (?P<what>{'|'.join(GenerationStep)})")),
    ("event", re.compile(rf"{_WHO} event (?P<what>{'|'.join(EventType)}|\d+(?:\.\.\d+)?)(?: x (?P<times>\d+))?")),
)
CONDITION_FORMS = (
    "`NAME is STATUS|live|caught up|ended`, `NAME is live x N`, `NAME waits for INPUT`, `NAME enters STEP`, "
    "`NAME event TYPE [x N]`, `NAME event N` or `NAME event N..M`"
)


def seconds(value: object) -> object:
    """`3s`, `300ms` or `2m` in seconds. Raises ValueError with what was expected."""
    with contextlib.suppress(ValueError):
        if isinstance(value, str):
            return parse_duration(value)
    raise ValueError(f"a duration: {FORM}")


Duration = Annotated[
    float,
    BeforeValidator(seconds),
    Field(json_schema_extra={"type": "string", "pattern": PATTERN, "examples": ["3s"]}),
]


class Strict(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(Strict):
    """The parsed condition of an `until` or an `after`."""

    kind: Literal["is", "waits", "enters", "event"]
    who: str
    what: str
    every: bool = False
    times: int = 1
    text: str = ""

    def __str__(self) -> str:
        return self.text

    def resolved(self, rng: random.Random) -> Condition:
        """Itself, with one event chosen where it names a range `N..M`."""
        if ".." not in self.what:
            return self
        low, high = sorted(int(bound) for bound in self.what.split(".."))
        chosen = str(rng.randint(low, high))
        return self.model_copy(update={"what": chosen, "text": self.text.replace(self.what, chosen)})


def condition(value: object) -> object:
    """The Condition of a sentence. Raises ValueError saying what was expected."""
    if isinstance(value, str):
        for kind, pattern in _CONDITIONS:
            if match := pattern.fullmatch(value.strip()):
                found = match.groupdict()
                return {
                    "kind": kind,
                    "who": found["who"],
                    "what": found["what"],
                    "every": found["every"] is not None,
                    "times": int(found.get("times") or 1),
                    "text": value.strip(),
                }
    raise ValueError(CONDITION_FORMS)


Sentence = Annotated[
    Condition,
    BeforeValidator(condition),
    Field(json_schema_extra={"type": "string", "examples": ["article is completed"]}),
]
