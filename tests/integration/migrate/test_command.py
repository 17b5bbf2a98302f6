"""`toolkit migrate` as a person or a pipeline runs it: output, exit codes, and the question before data is changed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.migrate.conftest import PAIR, Write
from toolkit.cli import main
from toolkit.postgres.cluster import free_port

TOP = {"name", "verdict", "started_at", "finished_at", "target", "checks", "measurements"}


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
    """`toolkit("up", "--json")`: the command on a database given by its address."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", bare_db)

    def run(*args: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["toolkit", "migrate", *args])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Ran(int(stopped.value.code or 0), out, err)

    return run


def test_the_whole_way_in_json(toolkit: Toolkit, write: Write, tmp_path: Path) -> None:
    folder = str(
        write(
            PAIR | {"verify/1_first.sql": "-- check: F the row is there\nselect 1 where not exists (select from first)"}
        )
    )
    reports = {
        "status": toolkit("status", "--migrations", folder, "--json"),
        "plan": toolkit("plan", "--migrations", folder, "--json"),
        "up": toolkit("up", "--migrations", folder, "--json", "--yes"),
        "verify": toolkit("verify", "--migrations", folder, "--json", "--yes", "--to", "1", "--no-live"),
        "down": toolkit("down", "--migrations", folder, "--json", "--yes", "--export-dir", str(tmp_path / "x")),
    }
    for name, ran in reports.items():
        assert ran.code == 0, (name, ran)
        assert ran.json.keys() >= TOP
        assert (ran.json["name"], ran.json["verdict"]) == (f"migrate {name}", "pass")
    assert [v["state"] for v in reports["status"].json["versions"]] == ["pending", "pending"]
    assert [s["version"] for s in reports["plan"].json["plan"]["steps"]] == ["1", "2"]
    assert [s["outcome"] for s in reports["up"].json["run"]["steps"]] == ["applied", "applied"]
    assert [c["id"] for c in reports["verify"].json["checks"]] == ["F"]
    (step,) = reports["down"].json["run"]["steps"]
    assert step["outcome"] == "rolled_back"
    assert Path(step["export_dir"]).is_relative_to(tmp_path / "x")


def test_a_dry_run_in_json_and_for_people(toolkit: Toolkit, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    folder = str(write(PAIR))
    ran = toolkit("up", "--migrations", folder, "--dry-run", "--json")
    assert (ran.code, ran.json["verdict"], ran.json["name"]) == (0, "pass", "migrate up")
    assert ran.json["dry_run"]["where"] == "target"
    assert [s["text"] for s in ran.json["dry_run"]["statements"]][2:3] == [
        "alter table public.first add column extra text default 'x'"
    ]
    assert toolkit("status", "--migrations", folder, "--json").json["versions"][0]["state"] == "pending"
    assert toolkit("up", "--migrations", folder, "--to", "1", "--yes").code == 0
    shown = toolkit("up", "--migrations", folder, "--dry-run")
    words = " ".join(shown.out.split())
    assert shown.code == 0
    assert "AccessExclusive public.first" in words
    assert "added: table public.second" in words
    down = toolkit("down", "--migrations", folder, "--dry-run", "--json")
    assert (down.code, down.json["dry_run"]["would_destroy"]) == (0, [{"what": "public.first", "rows": 1}])
    write({"2_second.sql": "select 1;\nselect nope;"})
    failed = toolkit("up", "--migrations", folder, "--dry-run")
    assert failed.code == 1
    assert '2_second.sql:2, statement 2: column "nope" does not exist [42703]' in " ".join(failed.out.split())


def test_nothing_changes_a_database_of_the_users_without_yes(toolkit: Toolkit, write: Write) -> None:
    folder = str(write(PAIR))
    ran = toolkit("up", "--migrations", folder)
    assert ran.code == 2
    assert "--yes" in ran.err
    assert "1_first" in ran.err  # what it would do is shown before the question
    assert toolkit("status", "--migrations", folder, "--json").json["versions"][0]["state"] == "pending"
    assert toolkit("up", "--migrations", folder, "--yes").code == 0
    assert toolkit("down", "--migrations", folder).code == 2
    # Verify files alone change nothing, so nobody needs to agree. Without any, nothing is known: exit code 3.
    assert toolkit("verify", "--migrations", folder, "--no-live").code == 3
    assert toolkit("up", "--migrations", folder).code == 0  # nothing to do is nothing to ask
    assert toolkit("verify", "--bundled").code == 2  # the probes of this project's migration write
    assert "probe rows" in toolkit("verify", "--bundled").err


def test_refusals_failures_and_mistakes_have_their_exit_codes(
    toolkit: Toolkit, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(write(PAIR))
    assert toolkit("up", "--migrations", folder, "--yes").code == 0
    write({"1_first.sql": PAIR["1_first.sql"] + "--"})
    refused = toolkit("up", "--migrations", folder, "--yes")
    assert refused.code == 1
    assert "edited after it was applied" in refused.err
    assert "→ Restore the file" in refused.err
    as_json = toolkit("up", "--migrations", folder, "--yes", "--json")
    assert (as_json.code, as_json.json["verdict"]) == (1, "fail")
    assert [r["code"] for r in as_json.json["refusals"]] == ["edited"]
    assert toolkit("status", "--migrations", folder).code == 1
    write({"1_first.sql": PAIR["1_first.sql"], "3_bad.sql": "select 1;\nselect nope;"})
    failed = toolkit("up", "--migrations", folder, "--yes")
    assert failed.code == 1
    assert '3_bad.sql:2, statement 2: column "nope" does not exist [42703]' in " ".join(failed.out.split())
    write({"3_bad.sql": "select 1;\ncommit;"})
    authored = toolkit("status", "--migrations", folder)
    assert (authored.code, "3_bad.sql:2" in authored.out) == (1, True)
    assert "3_bad.sql:2" in toolkit("up", "--migrations", folder, "--yes").err
    assert toolkit("status", "--migrations", str(tmp_path / "absent")).code == 2
    assert toolkit("plan", "--migrations", folder, "--last", "1").code == 2
    assert toolkit("down", "--migrations", folder, "--last", "0").code == 2
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:s3cret-word@127.0.0.1:{free_port()}/app")
    unreachable = toolkit("status", "--migrations", str(write({"3_bad.sql": "select 1"})))
    assert unreachable.code == 4
    assert "s3cret-word" not in unreachable.out + unreachable.err
    assert "me@127.0.0.1" in unreachable.err
    for command in (["status"], ["plan"], ["up", "--yes"], ["down", "--yes"], ["verify", "--yes"]):
        told = toolkit(*command, "--migrations", folder, "--json")
        assert (told.code, told.json["exit_code"], told.json["verdict"]) == (4, 4, "unknown")
        assert "No database answers" in told.json["error"]["what"]
        assert "s3cret-word" not in told.out + told.err


def test_a_folder_without_migrations_is_never_a_pass(toolkit: Toolkit, write: Write, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for command in (["status"], ["plan"], ["up", "--yes"], ["down", "--yes"], ["verify", "--yes"]):
        ran = toolkit(*command, "--migrations", str(tmp_path / "empty"))
        assert ran.code == 2, ran
        assert "empty holds no migration" in ran.err
    folder = str(write(PAIR | {"abc.sql": "select 1"}))
    for command in (["status"], ["plan"], ["up", "--yes"], ["verify", "--yes"], ["down", "--yes"]):
        ran = toolkit(*command, "--migrations", folder, "--json")
        assert any("abc.sql is passed over" in note for note in ran.json["notes"]), ran
        assert ran.json["checks"], ran


def test_requests_that_make_no_sense_are_usage(toolkit: Toolkit, write: Write) -> None:
    folder = str(write(PAIR))
    assert toolkit("verify", "--migrations", folder, "--yes").code == 1  # nothing is applied
    assert toolkit("up", "--migrations", folder, "--to", "1", "--yes").code == 0
    for command in (
        ("up", "--to", "7"),
        ("plan", "--to", "7"),
        ("down", "--last", "99"),
        ("down", "--to", "7"),
        ("down", "--to", "1", "--last", "1"),
        ("verify", "--to", "abc"),
    ):
        ran = toolkit(*command, "--migrations", folder, "--yes", "--json")
        assert (ran.code, ran.json["verdict"]) == (2, "unknown"), ran
        assert ran.json.keys() >= TOP
    assert toolkit("verify", "--migrations", folder, "--to", "2", "--yes").code == 1  # a version, only not applied


def test_where_rows_were_exported_can_be_copied_from_the_terminal(
    toolkit: Toolkit, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    folder = str(write(PAIR))
    assert toolkit("up", "--migrations", folder, "--yes").code == 0
    exports = tmp_path / "a-folder-for-exports-with-a-long-name" / "and-another-one-below-it"
    ran = toolkit("down", "--migrations", folder, "--yes", "--export-dir", str(exports))
    assert ran.code == 0, ran
    files = list(exports.rglob("*.csv"))
    assert files
    assert all(str(path) in ran.out for path in files), ran.out


def test_a_long_run_tells_on_stderr_what_it_is_at(toolkit: Toolkit, write: Write) -> None:
    folder = str(write({"1_slow.sql": "create table public.slow (); select pg_sleep(2.3);"}))
    ran = toolkit("up", "--migrations", folder, "--yes", "--json")
    assert ran.code == 0
    assert "1_slow 2/2: select pg_sleep(2.3)" in ran.err
    assert ran.json["verdict"] == "pass"  # stdout holds the report alone


def test_help_names_every_subcommand(toolkit: Toolkit) -> None:
    ran = toolkit("--help")
    assert all(name in ran.out for name in ("status", "plan", "up", "down", "verify", "repair"))
