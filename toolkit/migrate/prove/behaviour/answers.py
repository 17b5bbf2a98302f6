"""Tells from an error whether a rule of the schema refused or code cannot work. Pure."""

from __future__ import annotations

import re
from enum import StrEnum

import asyncpg


class Answer(StrEnum):
    """What an error means. `refusal`: a rule of the schema refused, as it may. `broken`: the code is wrong, whatever
    its arguments. `value`: it failed on this value, which is wrong only if it fails on every value. `undecided`: a
    timeout, or a lock of another session."""

    REFUSAL = "refusal"
    BROKEN = "broken"
    VALUE = "value"
    UNDECIDED = "undecided"


# Undefined and ambiguous names and types; unsupported statements; subqueries with too many rows; transaction control
# inside functions; functions that end without a result; triggers that break the protocol; endless recursion; and the
# server's own inconsistencies.
_BROKEN = ("42", "0A", "21", "24", "25", "2D", "2F", "34", "39", "54", "XX")
_UNDECIDED = ("57", "53", "40", "55P03")


def judge(error: asyncpg.PostgresError) -> Answer:
    """What an error means. What a function raises on purpose is a refusal, whatever code it gives it."""
    code = error.sqlstate or ""
    where = str(getattr(error, "context", None) or "")
    if where.split("\n", 1)[0].endswith("at RAISE") or code in {"42501", "28000"}:
        return Answer.REFUSAL
    if code == "55000" and "not assigned" in str(error):  # a trigger that reads NEW in a DELETE or OLD in an INSERT
        return Answer.BROKEN
    if code.startswith(_UNDECIDED):
        return Answer.UNDECIDED
    if code.startswith(_BROKEN):
        return Answer.BROKEN
    return Answer.VALUE if code.startswith("22") else Answer.REFUSAL


def hangs_on(error: asyncpg.PostgresError, arguments: str, source: str) -> bool:
    """Whether it comes of what a caller gave, and code that is right could answer so: a statement that was built with
    an argument, about a name that the code itself does not say; or, where every argument is NULL, a case for which
    nothing was written."""
    code, where = error.sqlstate or "", str(getattr(error, "context", None) or "")
    built = "at EXECUTE" in where
    if arguments and all(part.strip().rpartition("=> ")[2].startswith("null::") for part in arguments.split(",")):
        return code in _WITHOUT_A_CASE or built
    if not code.startswith("42") or not built or not arguments:
        return False
    own = [name for pair in _NAMES.findall(str(error)) for name in pair if name and name in source]
    return not any(name not in arguments for name in own)


_WITHOUT_A_CASE = {"2F005", "20000", "21000"}
_NAMES = re.compile(r'(?:column|relation|type|schema) "(.+)" does not exist|function ([\w.]+)\(')


def rank(problem: str) -> int:
    """What fails for whoever calls comes first, then what fails for some, then what only goes stale or hangs on a
    setting. `problem` as `described` words it."""
    if "search_path" in problem or "IMMUTABLE" in problem:
        return 2
    return 1 if "it can handle none" in problem else 0


def described(error: asyncpg.PostgresError) -> str:
    """The database's message, and the function and line that raised it."""
    text = " ".join(str(getattr(error, "message", None) or error).split())
    where = str(getattr(error, "context", None) or "").split("\n", 1)[0]
    return f"{text} [{error.sqlstate}]" + (f", in {where}" if where else "")
