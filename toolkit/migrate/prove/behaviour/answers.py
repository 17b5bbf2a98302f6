"""What an error says about whoever raised it: a rule that refuses, or code that cannot work. Pure."""

from __future__ import annotations

from enum import StrEnum

import asyncpg


class Answer(StrEnum):
    """`refusal`: a rule of the schema said no, as it should be able to. `broken`: the code itself is wrong, whatever it
    is given. `value`: it could not handle a value: wrong if it can handle none. `undecided`: it took too long, or
    somebody was in the way."""

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
    if code == "55000" and "not assigned" in str(error):  # a trigger that reads NEW of a DELETE, OLD of an INSERT
        return Answer.BROKEN
    if code.startswith(_UNDECIDED):
        return Answer.UNDECIDED
    if code.startswith(_BROKEN):
        return Answer.BROKEN
    return Answer.VALUE if code.startswith("22") else Answer.REFUSAL


def described(error: asyncpg.PostgresError) -> str:
    """The database's words, and where in which function they were said."""
    text = " ".join(str(getattr(error, "message", None) or error).split())
    where = str(getattr(error, "context", None) or "").split("\n", 1)[0]
    return f"{text} [{error.sqlstate}]" + (f", in {where}" if where else "")
