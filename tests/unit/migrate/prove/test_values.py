"""Values of every type, mined constants, made patterns: what needs no database to be seen."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from toolkit.migrate.rows.patterns import like, matching
from toolkit.migrate.rows.values import Kind, alternatives, choices, constants, literal, natural, successor

TEXT = Kind("text", "S")


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 20])
def test_texts_keep_within_their_length_and_stay_different(length: int) -> None:
    made = [natural(Kind("varchar", "S", length=length), "description", serial) for serial in range(1, 31)]
    assert max(map(len, made)) <= length
    assert len(set(made)) == (30 if length > 1 else len(set(made)))


@pytest.mark.parametrize(("precision", "scale"), [(10, 2), (3, 3), (4, 0), (5, -2), (2, 4), (38, 10)])
def test_numbers_keep_within_their_precision(precision: int, scale: int) -> None:
    for serial in (1, 7, 20):
        text = natural(Kind("numeric", "N", precision=precision, scale=scale), "price", serial)
        digits = text.replace(".", "").lstrip("0")
        assert len(digits) <= precision + max(-scale, 0)
        assert len(text.partition(".")[2]) <= max(scale, 0)


def test_values_are_the_same_each_time_and_differ_by_serial_and_column() -> None:
    kind = Kind("uuid")
    assert natural(kind, "id", 1) == natural(kind, "id", 1)
    assert len({natural(kind, name, serial) for name in ("id", "owner") for serial in (1, 2, 3)}) == 6


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "null"), ("it's", "'it''s'"), ("a\\b", " E'a\\\\b'"), ("", "''")],
)
def test_a_value_becomes_sql(value: str | None, expected: str) -> None:
    assert literal(value) == expected
    assert literal("x", "public.mood") == "'x'::public.mood"


def test_constants_are_found_whatever_surrounds_them() -> None:
    condition = "((kind)::text = ANY (ARRAY['it''s'::text, 'b'::text])) AND (n2 >= 10) AND (m < '-3.5'::numeric)"
    assert constants(condition) == (["it's", "b", "-3.5"], ["10"])


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("(status = ANY (ARRAY['new'::text, 'done'::text]))", ("new", "done")),
        (
            "((status)::text = ANY ((ARRAY['new'::character varying, 'done'::character varying])::text[]))",
            ("new", "done"),
        ),
        ("(status = ANY (ARRAY[1, 2]))", ("1", "2")),
        ("((status = ANY (ARRAY['new'::text])) OR (n > 3))", ()),
        ("(other = ANY (ARRAY['new'::text]))", ()),
        ("(status <> 'new'::text)", ()),
    ],
)
def test_a_list_of_choices_is_told_from_any_other_condition(expression: str, found: tuple[str, ...]) -> None:
    assert choices(expression, "status") == found


@pytest.mark.parametrize(
    "pattern",
    [
        "^[A-Z]{2}-[0-9]{4}$",
        "^[^@ ]+@[^@ ]+[.][a-z]{2,}$",
        "^(red|green)$",
        "^a?b+c*$",
        r"^\d{3}\s\w+$",
        "^(?:ab){2}$",
        "^[0-9a-f]{64}$",
        "^x.y$",
        "^[^a-z]+$",
        "^[[:upper:]_]+$",
        r"^\S\W\D$",
    ],
)
def test_a_made_text_matches_its_pattern(pattern: str) -> None:
    for serial in (1, 2, 9):
        made = matching(pattern, serial)
        assert made
        assert all(re.search(pattern.replace("[:upper:]", "A-Z"), text) for text in made)
        assert all(text.isprintable() and len(text) < 70 for text in made)


def test_made_texts_are_the_same_in_every_process_and_differ_by_serial() -> None:
    ask = "from toolkit.migrate.rows.patterns import matching; print([matching('^[^a]+[^b-z]*$', n) for n in (1, 2)])"
    said = {
        subprocess.run(
            [sys.executable, "-W", "error", "-c", ask],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert matching("^[0-9a-f]{64}$", 1) != matching("^[0-9a-f]{64}$", 2)


def test_what_is_no_pattern_gives_nothing() -> None:
    assert matching("(unclosed", 1) == ()
    assert matching("^(?>a+)b$", 1) == (), "a part that the library does not know"
    assert like("x\\_%_", 7) == "x_7a"


def test_alternatives_name_the_condition_s_own_values_and_fit_the_type() -> None:
    numbers = alternatives(Kind("int4", "N"), "n", 1, ["((n >= 300) AND (n <= 310))"])
    assert {"300", "310", "305"} <= set(numbers)
    assert not any("." in number for number in numbers)
    assert "9999999999" not in alternatives(Kind("int4", "N"), "n", 1, ["(n < 9999999999)"])
    assert all(len(text) <= 3 for text in alternatives(Kind("varchar", "S", length=3), "c", 1, ["(length(c) > 1)"]))
    assert alternatives(Kind("mood", "E", "enum", labels=("a", "b")), "m", 1, ["(m <> 'z')"]) == ("a", "b")


def test_a_successor_is_another_value_of_the_same_kind() -> None:
    assert successor(Kind("mood", "E", "enum", labels=("a", "b")), "b") == "a"
    assert successor(Kind("int4", "N"), "5") == "4"
    assert successor(Kind("bool", "B"), "true") == "false"
    assert successor(Kind("varchar", "S", length=3), "abc") == "abx"
    assert successor(Kind("varchar", "S", length=3), "abx") == "aby"
    assert successor(Kind("point", "G"), "(1,2)") is None
