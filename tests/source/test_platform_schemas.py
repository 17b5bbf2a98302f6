"""Whose a schema is stands in one place, and what that place says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import toolkit
from toolkit.sql.platform import HISTORY, PLATFORM_SCHEMAS, is_user_schema, spelt_out

ROOM = Path(toolkit.__file__).parent
ONE_PLACE = ROOM / "sql" / "platform.py"
OWNERS = ROOM / "sql" / "barred.py"  # another question: which of them `postgres` of a hosted project does not own
MADE_IN = ROOM / "migrate" / "scratch" / "platform"  # the schemas themselves are made there
# The conditions by hand: on names that begin with pg_, on information_schema beside the history.
COPIES = re.compile(
    r"""['"]\^pg_|'information_schema'|"information_schema"|(?:not in|<>|!=) \(?'supabase_migrations'"""
)


def copies_of(text: str) -> list[str]:
    """Lines that say by hand what toolkit/sql/platform.py says; and lists of several of the platform's schemas."""
    found = [line.strip() for line in text.splitlines() if COPIES.search(line) and "RESERVED_OPTION" not in line]
    names = {name for name in PLATFORM_SCHEMAS if re.search(rf"""["']{name}["']""", text)}
    return found + ([f"names {', '.join(sorted(names))}"] if len(names) > 3 else [])


def test_no_other_place_says_whose_a_schema_is() -> None:
    every = (path for kind in ("*.py", "*.sql") for path in ROOM.rglob(kind))
    files = [path for path in every if path not in {ONE_PLACE, OWNERS} and MADE_IN not in path.parents]
    assert len(files) > 100
    assert {path.name: said for path in files if (said := copies_of(path.read_text()))} == {}


@pytest.mark.parametrize(
    "copy",
    [
        "where n.nspname !~ '^pg_'",
        "nspname not in ('pg_catalog', 'information_schema')",
        "where schemaname <> 'supabase_migrations'",
        'PLATFORM = ("auth", "storage", "cron", "pgmq")',
    ],
)
def test_a_copy_would_be_found(copy: str) -> None:
    assert copies_of(copy)


def test_whose_a_schema_is() -> None:
    for name in ("public", "app", "pgmq_of_ours", "Pg_x", "a'b", *PLATFORM_SCHEMAS):
        assert is_user_schema(name), name
        assert is_user_schema(name, without=PLATFORM_SCHEMAS) == (name not in PLATFORM_SCHEMAS)
    for name in ("pg_catalog", "pg_toast", "pg_temp_3", "information_schema", HISTORY):
        assert not is_user_schema(name), name
    assert len(set(PLATFORM_SCHEMAS)) == len(PLATFORM_SCHEMAS)
    # A name in both lists of old, and one that each of them lacked.
    assert {"auth", "pgmq", "tiger", "pgtle"} <= {*PLATFORM_SCHEMAS}


def test_only_named_conditions_are_spelt_out() -> None:
    assert spelt_out("where :user_role(r.rolname)") == "where r.rolname !~ '^pg_'"
    assert "'tiger'" in spelt_out("where not :platform_schema(n.nspname)")
    assert ":project" not in spelt_out("where :project_table(n.nspname, c.oid)")
    assert ":" not in spelt_out(":project_schema(nspname) and :user_schema(nspname) or :postgres_schema(nspname)")
    assert "'pg_catalog.pg_proc'::regclass" in spelt_out(":in_extension(pg_proc, p.oid)")
    assert "x.classid = d.classoid and" in spelt_out(":in_extension(d.classoid, d.objoid)")
    for untouched in ("x::user_role", "{number} :other(x)", "a::text"):
        assert spelt_out(untouched) == untouched
