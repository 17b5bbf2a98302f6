"""Verify files: each check is found, and one that could not run or could not fail is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import RefusalError
from toolkit.migrate.folder.files import read_file
from toolkit.migrate.verify.verify_file import parse_verify_file
from toolkit.resources import migrations_dir


def read(tmp_path: Path, text: str):  # type: ignore[no-untyped-def]
    file = tmp_path / "1_a.sql"
    file.write_text(text)
    return parse_verify_file(read_file(file))


def test_checks_have_id_title_remedy_and_their_statements(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "-- about\nset local x.y = 'z';\n\n-- check: A-1 The first holds\n-- remedy: do this\n-- remedy: and that\n"
        "create table t ();\nselect 1 where false;\n-- check: A-2 The second\ndo $$ begin null; end $$;\n",
    )
    assert len(found.preamble) == 1
    first, second = found.checks
    assert (first.id, first.title, first.remedy, first.line) == ("A-1", "The first holds", "do this and that", 4)
    assert len(first.statements) == 2
    assert (second.id, second.remedy, len(second.statements)) == ("A-2", "", 1)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("-- check: A one\n-- check: B two\nselect 1;", "A has no statement"),
        ("-- check: A one\nselect 1;\n-- check: B two\n", "1_a.sql:3: this check would not run"),
        ("-- check: A one\nselect\n-- check: B two\n1;", "1_a.sql:3: this check would not run"),
        ("-- check: A one\nselect 1\n-- check: B two\n;select 2;", "1_a.sql:3: this check would not run"),
        ("-- check:\nselect 1;", "1_a.sql:1: this check would not run"),
        ("-- check: A one\nselect 1;\n-- check: A again\nselect 1;", "A exists twice"),
        ("select 1;", "holds no check"),
        ("/*\n-- check: A one\n*/\nselect '\n-- check: B two\n';", "holds no check"),
        ("-- check: A one\ncommit;", "controls transactions"),
        ("-- toolkit: transaction=false\n-- check: A one\nselect 1;", "one transaction"),
    ],
)
def test_checks_that_would_vanish_or_could_not_fail_are_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(RefusalError) as caught:
        read(tmp_path, text)
    assert what in caught.value.what
    assert caught.value.remedy


def test_the_verify_files_of_this_project_are_readable_and_their_ids_unique() -> None:
    ids = [
        check.id
        for file in sorted((migrations_dir() / "verify").glob("*.sql"))
        for check in parse_verify_file(read_file(file)).checks
    ]
    assert len(ids) > 30
    assert len(ids) == len(set(ids))
