"""Guards: conditions that a run must have reached at least once to prove anything, such as `article.missed_live >
0`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from toolkit.contract.events import EventType
from toolkit.report.record import Check, Verdict
from toolkit.scenarios.recorded.facts import Facts, ProcessFacts, committed_at, sequences, wall

_EXPRESSION = re.compile(r"^\s*(?P<name>[\w-]+(?:\[\d+\])?)\.(?P<figure>\w+)\s*(?P<op>>=|>|==)\s*(?P<bound>\d+)\s*$")
_OPERATORS: dict[str, Callable[[int, int], bool]] = {">": operator.gt, ">=": operator.ge, "==": operator.eq}


def _missed_live(process: ProcessFacts) -> int:
    """How many events were committed after the application was first live and came in none of its live frames."""
    lives = [wall(mood) for watch in process.own for mood in watch.moods if mood.op == "live"]
    if not lives:
        return 0
    seen = {seq for watch in process.own for seq in sequences(watch.frames)}
    return sum(1 for row in process.events if row.seq not in seen and (committed_at(row) or 0.0) > min(lives))


def _down(process: ProcessFacts) -> int:
    return sum(1 for watch in process.own for mood in watch.moods if mood.op == "down")


FIGURES: dict[str, Callable[[ProcessFacts], int]] = {
    "events": lambda p: len(p.events),
    "live": lambda p: sum(1 for r in p.delivered if r.via in ("live", "socket")),
    "backfilled": lambda p: sum(1 for r in p.delivered if r.via == "backfill"),
    "frames": lambda p: sum(len(w.frames) for w in p.watches),
    "missed_live": _missed_live,
    "disconnects": _down,
    "sessions": lambda p: len(p.own),
    "prompts": lambda p: len(p.of_type(EventType.USER_INPUT_REQUIRED)),
    "answers": lambda p: sum(1 for r in p.commands if r.op == "answer" and r.kind == "ok"),
    "unknown_outcomes": lambda p: sum(1 for r in p.commands if r.kind == "info"),
    "retries": lambda p: len(p.of_type(EventType.TASK_RETRY_SCHEDULED)),
    "rescues": lambda p: len(p.of_type(EventType.TASK_RESCUED)),
    "errors": lambda p: len(p.of_type(EventType.GENERATION_ERROR)),
    "placeholders": lambda p: len(p.of_type(EventType.IMAGE_PLACEHOLDERS_GENERATED)),
    "auto_selections": lambda p: len(p.of_type(EventType.AUTO_SELECTION_MADE)),
}


def parse(expression: str) -> tuple[str, str, str, int]:
    """(process name, figure, operator, bound). Raises ValueError saying what was expected."""
    match = _EXPRESSION.match(expression)
    if match is None:
        raise ValueError("a guard such as `article.missed_live > 0`")
    if match["figure"] not in FIGURES:
        raise ValueError(f"one of the figures {', '.join(FIGURES)}")
    return match["name"], match["figure"], match["op"], int(match["bound"])


def sometimes(facts: Facts, expression: str, *, group: str = "") -> Check:
    """Pass when every process in scope reached the figure, else unknown; never a failure."""
    name, figure, op, bound = parse(expression)
    scope = facts.named(name)
    title = f"It did happen: {expression}"
    remedy = "The run did not exercise what it is meant to prove: repeat it, or move the fault."
    if not scope:
        return Check("sometimes", title, Verdict.UNKNOWN, f"the run had no process {name}", remedy, group)
    values = {process.name: FIGURES[figure](process) for process in scope}
    verdict = Verdict.PASS if all(_OPERATORS[op](value, bound) for value in values.values()) else Verdict.UNKNOWN
    detail = f"{figure}: " + ", ".join(f"{process} {value}" for process, value in values.items())
    return Check("sometimes", title, verdict, detail, remedy, group)
