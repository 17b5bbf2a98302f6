"""The file of expectations: what it says, and what is said of a file that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.migrate.access.expectations import NOTHING, load, parse
from toolkit.resources import migrations_dir

GOOD = """\
ids: text
owners:
  public.files: [user_id, editor_id]
  public.plans: nobody
members:
  - table: public.seats
    user: user_id
    organisation: team_id
expect:
  - role: anon
    objects: public.*
    all: deny
  - role: [anon, authenticated]
    objects: [public.plans, public.price_of]
    select: allow
    execute: allow
  - role: authenticated
    objects: public.files
    update: own
    columns: [name]
"""


ENTRY = "expect:\n  - role: anon\n    objects: a\n"


def test_the_last_entry_that_speaks_of_a_cell_decides() -> None:
    found = parse(GOOD)
    allowance = found.allowance("anon", "public.plans", "select")
    assert allowance is not None
    assert (allowance[0], allowance[1].line) == ("allow", 13)
    assert [found.allowance("anon", "public.plans", verb)[0] for verb in ("insert", "truncate")] == ["deny", "deny"]  # type: ignore[index]
    assert found.allowance("authenticated", "public.files", "select") is None
    assert found.allowance("service_role", "public.files", "select") is None


def test_functions_go_by_their_name_without_arguments_too() -> None:
    found = parse(GOOD)
    assert found.allowance("anon", "public.price_of(plan integer)", "execute") is not None
    assert found.allowance("anon", "public.price_of(plan integer)", "execute")[0] == "allow"  # type: ignore[index]
    assert found.allowance("authenticated", "public.price_offer(plan integer)", "execute") is None


def test_columns_and_hints() -> None:
    found = parse(GOOD)
    columns = found.columns("authenticated", "public.files")
    assert columns is not None
    assert columns[0] == {"name"}
    assert found.columns("anon", "public.files") is None
    assert found.hints.owners == {"public.files": ("user_id", "editor_id"), "public.plans": ()}
    assert found.hints.memberships == (("public.seats", "user_id", "team_id"),)
    assert found.hints.text_ids is True
    assert NOTHING.hints.text_ids is None


def test_own_and_member_speak_of_rows_only() -> None:
    found = parse("expect:\n  - role: authenticated\n    objects: public.a\n    all: own\n")
    assert found.allowance("authenticated", "public.a", "delete") is not None
    assert found.allowance("authenticated", "public.a", "truncate") is None
    assert found.allowance("authenticated", "public.a", "execute") is None


def test_names_of_nothing_are_said_with_their_line_and_the_nearest_name() -> None:
    known = ["public.file", "public.plans", "public.price_of(plan integer)", "public.seats"]
    assert list(parse(GOOD, "e.yaml").unknown(known)) == [
        "e.yaml:18: expected a table, view or function that exists (did you mean public.file?), got public.files",
        "e.yaml:3: expected a table, view or function that exists (did you mean public.file?), got public.files",
    ]
    assert list(parse(GOOD).unknown([*known, "public.files"])) == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "e.yaml:1: expected a list under `expect`, got an empty file"),
        ("expect: [", "e.yaml:1: expected YAML, got"),
        ("expect:\n  - role: nobody\n    objects: a\n    select: deny\n", "e.yaml:2: expected 'anon', 'authenticated'"),
        (ENTRY + "    selct: deny\n", "e.yaml:4: expected no key `selct` here (did you mean `select`?)"),
        ("expect:\n  - role: anon\n    select: deny\n", "e.yaml:2: expected the key `objects`, got nothing"),
        (ENTRY + "    select: maybe\n", "e.yaml:4: expected 'allow', 'deny', 'own' or 'member', got 'maybe'"),
        (ENTRY + "    execute: own\n", "e.yaml:4: expected 'allow' or 'deny', got 'own'"),
        (ENTRY, "e.yaml:2: expected one of select, insert"),
        (ENTRY + "    select: deny\n    select: allow\n", "e.yaml:5: expected `select` once"),
        ("ids: text\nids: uuid\n", "e.yaml:2: expected `ids` once"),
        ("members:\n  - table: a\n    user: b\n", "e.yaml:2: expected the key `organisation`"),
        ("- a\n", "e.yaml:1: expected "),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, wanted: str) -> None:
    with pytest.raises(UsageError) as told:
        parse(text, "e.yaml")
    assert told.value.what.startswith(wanted), told.value.what
    assert told.value.remedy


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="expected text in UTF-8"):
        load(tmp_path / "bytes.yaml")


def test_ours_can_be_read() -> None:
    found = load(migrations_dir() / "expectations.yaml")
    assert found.file == "expectations.yaml"
    assert found.allowance("anon", "public.process_events", "select") is not None
