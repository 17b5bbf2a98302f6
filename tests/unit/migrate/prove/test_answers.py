"""An error is a rule that refuses, code that cannot work, or a value it could not handle."""

from __future__ import annotations

import asyncpg
import pytest

from toolkit.migrate.prove.behaviour.answers import Answer, described, judge


def error(code: str, message: str = "no", context: str = "") -> asyncpg.PostgresError:
    made = asyncpg.PostgresError.new({"S": "ERROR", "C": code, "M": message, "W": context})
    assert isinstance(made, asyncpg.PostgresError)
    return made


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("42703", Answer.BROKEN),
        ("42883", Answer.BROKEN),
        ("42702", Answer.BROKEN),
        ("42P01", Answer.BROKEN),
        ("42725", Answer.BROKEN),
        ("0A000", Answer.BROKEN),
        ("2F005", Answer.BROKEN),
        ("54001", Answer.BROKEN),
        ("21000", Answer.BROKEN),
        ("XX000", Answer.BROKEN),
        ("42501", Answer.REFUSAL),
        ("P0001", Answer.REFUSAL),
        ("23505", Answer.REFUSAL),
        ("23503", Answer.REFUSAL),
        ("55000", Answer.REFUSAL),
        ("22P02", Answer.VALUE),
        ("22012", Answer.VALUE),
        ("57014", Answer.UNDECIDED),
        ("55P03", Answer.UNDECIDED),
        ("40P01", Answer.UNDECIDED),
    ],
)
def test_a_code_is_judged(code: str, answer: Answer) -> None:
    assert judge(error(code)) is answer


def test_what_a_function_raises_on_purpose_is_a_refusal_whatever_its_code() -> None:
    raised = "PL/pgSQL function public.f() line 3 at RAISE\nSQL statement"
    assert judge(error("42704", context=raised)) is Answer.REFUSAL
    assert judge(error("22023", context=raised)) is Answer.REFUSAL
    assert judge(error("42704", context="PL/pgSQL function public.f() line 3 at SQL statement")) is Answer.BROKEN


def test_a_record_that_is_not_there_is_broken_code() -> None:
    assert judge(error("55000", 'record "new" is not assigned yet')) is Answer.BROKEN


def test_an_error_is_described_with_its_place() -> None:
    found = error("42703", 'column "x"\n does not exist', "PL/pgSQL function f() line 1 at RETURN\nmore")
    assert described(found) == 'column "x" does not exist [42703], in PL/pgSQL function f() line 1 at RETURN'
