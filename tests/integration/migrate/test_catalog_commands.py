"""`toolkit migrate snapshot`, `diff` and `drift` as a person or a pipeline runs them: output, files, exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.migrate.conftest import PAIR, Write
from tests.support.scratch_here import replay_here  # noqa: F401 - a fixture
from toolkit.cli import main


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


Toolkit = Callable[..., Ran]


@pytest.fixture
def toolkit(
    bare_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Toolkit:
    """`toolkit("snapshot")`: the command on a database given by its address. It has a loop of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", bare_db)

    def run(*args: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["toolkit", "migrate", *args])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert "hunter2" not in out + err
        return Ran(int(stopped.value.code or 0), out, err)

    return run


@pytest.fixture
def sql(bare_db: str) -> Callable[[str], None]:
    """Run statements on the database, from a test that is no coroutine."""
    import psycopg2

    def run(statements: str) -> None:
        connection = psycopg2.connect(bare_db)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statements)
        finally:
            connection.close()

    return run


def test_a_snapshot_is_written_compared_and_tells_drift(
    toolkit: Toolkit, sql: Callable[[str], None], tmp_path: Path, bare_db: str
) -> None:
    sql("create table public.t (id serial primary key, note text default 'a'); select lo_create(77)")
    taken = toolkit("snapshot", "-o", "states/now.json")
    assert taken.code == 0
    assert "large object" in taken.out
    assert "77" in taken.out
    assert "Never compared" in taken.out
    written = json.loads((tmp_path / "states" / "now.json").read_text())
    assert written["facts"]["column public.t.note"]["default"] == "'a'::text"
    assert written["positions"]["sequence public.t_id_seq"] == {"called": False, "last": 1}
    assert {"kind": "large object", "count": 1, "names": ["77"]} in written["unmodelled"]
    shown = toolkit("snapshot", "--json").json
    assert shown["verdict"] == "pass"
    assert shown["snapshot"]["sha256"] == written["sha256"]
    assert shown["snapshot"].keys() == written.keys()

    same = toolkit("diff", "states/now.json", "env:DATABASE_URL")
    assert same.code == 0, same
    assert "equal" in same.out
    assert "pg_dump was not asked" in same.out
    assert toolkit("drift", "--snapshot", "states/now.json").code == 0

    sql(
        "alter table public.t alter note set default 'b'; alter table public.t add extra integer;"
        "insert into public.t default values"
    )
    different = toolkit("diff", "states/now.json", "env:DATABASE_URL", "--json")
    assert different.code == 1
    found = {one["key"]: one for one in different.json["diff"]["differences"]}
    assert found.keys() == {"column public.t.note", "column public.t.extra"}
    assert json.loads(found["column public.t.note"]["before"])["default"] == "'a'::text"
    assert json.loads(found["column public.t.note"]["after"])["default"] == "'b'::text"
    drifted = toolkit("drift", "--snapshot", "states/now.json", "--positions")
    assert drifted.code == 1
    for line in (
        "added: column public.t.extra",
        "changed: column public.t.note",
        "default: 'a'::text → 'b'::text",
        "changed: position of sequence public.t_id_seq",
        "called: false → true",
    ):
        assert line in drifted.out


def test_two_databases_are_asked_of_both_oracles_and_no_password_shows(
    toolkit: Toolkit, sql: Callable[[str], None], bare_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Over the unix socket nobody asks for it.
    secret = bare_db.replace("postgres@", "postgres:hunter2@")
    same = toolkit("diff", secret, bare_db)
    assert same.code == 0
    assert "pg_dump writes both sides alike" in same.out
    assert "Warning: a password in an argument" in same.err
    monkeypatch.setenv("OTHER", secret)
    quiet = toolkit("diff", "env:OTHER", "env:DATABASE_URL", "--json")
    assert quiet.code == 0
    assert quiet.err == ""
    assert [check["id"] for check in quiet.json["checks"]] == ["facts", "unmodelled", "dump", "oracles"]
    alone = toolkit("diff", "env:OTHER", "env:DATABASE_URL", "--no-dump", "--json").json
    assert [check["id"] for check in alone["checks"]] == ["facts", "unmodelled"]


def test_where_pg_dump_fails_the_second_opinion_is_unknown(
    toolkit: Toolkit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stub = tmp_path / "pg_dump"
    stub.write_text("#!/bin/sh\necho 'aborting because of server version mismatch' >&2\nexit 1\n")
    stub.chmod(0o755)
    monkeypatch.setattr("toolkit.migrate.catalog.pg_dump._shipped", lambda major: stub)
    ran = toolkit("diff", "env:DATABASE_URL", "env:DATABASE_URL")
    assert ran.code == 3
    assert "server version mismatch" in ran.out
    assert "--no-dump" in ran.out


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("diff", "env:NOT_SET_HERE", "x.json"), 2, "no variable NOT_SET_HERE"),
        (("diff", "env:PLAIN", "x.json"), 2, "holds no database address"),
        (("diff", "absent.json", "env:DATABASE_URL"), 2, "absent.json cannot be read"),
        (("diff", "env:DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/x"), 4, "No database answers"),
        (("drift", "--snapshot", "absent.json"), 2, "absent.json cannot be read"),
        (("drift", "--positions", "--bundled"), 2, "--positions goes with --snapshot"),
        (("drift", "--snapshot", "x.json", "--postgres", "16"), 2, "--snapshot replays nothing"),
        (("snapshot", "-o", "/proc/nowhere/x.json"), 2, "cannot be written"),
    ],
)
def test_requests_that_cannot_be_met_say_what_to_do(
    toolkit: Toolkit, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], code: int, says: str
) -> None:
    monkeypatch.setenv("PLAIN", "hunter2")
    ran = toolkit(*args)
    assert ran.code == code
    assert says in ran.err
    assert "→" in ran.err


@pytest.mark.usefixtures("replay_here")
def test_drift_from_the_migrations(toolkit: Toolkit, sql: Callable[[str], None], write: Write) -> None:
    folder = str(write(PAIR))
    assert toolkit("up", "--migrations", folder, "--yes", "--to", "1").code == 0
    clean = toolkit("drift", "--migrations", folder)
    assert clean.code == 0
    assert "Drift from" in clean.out
    sql("create table public.by_hand (id integer)")
    ran = toolkit("drift", "--migrations", folder, "--json")
    assert ran.code == 1
    keys = [one["key"] for one in ran.json["diff"]["differences"]]
    assert "table public.by_hand" in keys
    assert not [key for key in keys if "second" in key], "what is pending is no drift"
    assert any("facts were left out" in note for note in ran.json["notes"])
    checks = {check["id"]: check["verdict"] for check in ran.json["checks"]}
    assert checks == {"history": "pass", "facts": "fail", "unmodelled": "pass", "dump": "fail", "oracles": "pass"}


@pytest.mark.usefixtures("replay_here")
def test_a_folder_that_does_not_replay_is_unknown(toolkit: Toolkit, sql: Callable[[str], None], write: Write) -> None:
    # Applied where a table was made by hand: nobody else can apply it.
    sql("create table public.made_by_hand (id integer)")
    folder = str(write({"1_first.sql": "alter table public.made_by_hand add note text;"}))
    assert toolkit("up", "--migrations", folder, "--yes").code == 0
    ran = toolkit("drift", "--migrations", folder)
    assert ran.code == 3
    assert "made_by_hand" in ran.out
    assert "--snapshot" in ran.out
