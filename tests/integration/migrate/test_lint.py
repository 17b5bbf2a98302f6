"""`toolkit migrate lint` as a person or a pipeline runs it, with the real squawk and with ones that fail."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from tests.integration.migrate.conftest import Write
from toolkit.cli import main
from toolkit.errors import EnvironmentError_
from toolkit.migrate.lint import Severity, lint, squawk
from toolkit.migrate.lint.reading.sources import read
from toolkit.migrate.lint.squawk_rules import ASKED, GRADES, PREFIX, grade_of
from toolkit.resources import migrations_dir

# One statement for each thing squawk is known to complain of, in a file for each of the two ways files run.
SAMPLE = """create table public.t (id int primary key, a smallint, b char(3), c varchar(3), d timestamp, e serial);
create index i on public.u (a);
drop index i;
alter table public.u add constraint c check (a > 0);
alter table public.u add column f int default random();
alter table public.u add constraint fk foreign key (a) references public.w (id);
alter table public.u alter column a type bigint;
alter table public.u alter column a set not null;
alter table public.u add column g serial primary key;
alter table public.u rename column a to z;
alter table public.u rename to uu;
alter table public.u add constraint u unique (a);
alter table public.u drop column a;
drop table public.u;
alter table public.u add column h int not null;
truncate public.u cascade;
alter type e add value 'x';
reindex index i;
alter table public.u disable trigger all;
alter system set work_mem = '1MB';
alter sequence q restart;
drop trigger t on public.u;
"""
EXPECTED = {
    "require-concurrent-index-creation": 2,
    "require-concurrent-index-deletion": 3,
    "constraint-missing-not-valid": 4,
    "adding-field-with-default": 5,
    "adding-foreign-key-constraint": 6,
    "changing-column-type": 7,
    "adding-not-nullable-field": 8,
    "adding-serial-primary-key-field": 9,
    "renaming-column": 10,
    "renaming-table": 11,
    "disallowed-unique-constraint": 12,
    "ban-drop-column": 13,
    "ban-drop-table": 14,
    "adding-required-field": 15,
    "ban-truncate-cascade": 16,
    "require-enum-value-ordering": 17,
    "require-concurrent-reindex": 18,
    "ban-disable-trigger": 19,
    "ban-alter-system-options": 20,
    "ban-alter-sequence-values": 21,
    "ban-drop-trigger": 22,
    "prefer-bigint-over-int": 1,
    "prefer-bigint-over-smallint": 1,
    "ban-char-field": 1,
    "prefer-text-field": 1,
    "prefer-timestamp-tz": 1,
    "prefer-identity": 1,
    "require-lock-timeout": 2,
}
HEALTHY = {
    "1_a.sql": "create table public.t (id bigint primary key, at timestamptz);\n"
    "alter table public.t enable row level security;\n"
    "create policy p on public.t for select to authenticated using (false);",
    "rollbacks/1_a.sql": "-- destroys: table t\ndrop table public.t;",
}
OPEN = {"2_b.sql": "create table public.open (id bigint primary key);"}


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

    @property
    def rules(self) -> set[tuple[str, str]]:
        """(rule, severity) of every finding."""
        return {(finding["rule"], finding["severity"]) for finding in self.json["findings"]}


Toolkit = Callable[..., Ran]


@pytest.fixture
def toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Toolkit:
    """`toolkit("--json", …)`: the command, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["toolkit", "migrate", "lint", *map(str, args)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Ran(int(stopped.value.code or 0), out, err)

    return run


def test_of_a_clean_folder_one_line_is_told(toolkit: Toolkit) -> None:
    ran = toolkit("--bundled")
    (line,) = ran.out.splitlines()
    assert (ran.code, bool(re.match(r"✔ \d+ files: nothing found, \d+ accepted: PASS", line))) == (0, True)
    accepted = toolkit("--bundled", "--show-accepted")
    assert (accepted.code, "Accepted" in accepted.out, "bounded by" in accepted.out) == (0, True, True)


def test_beside_findings_only_what_is_to_do_is_told(write: Write, toolkit: Toolkit) -> None:
    folder = write({"1_a.sql": "create table public.a (id bigint primary key);\n", "2_b.sql": "select 1;\n"})
    ran = toolkit("--migrations", folder)
    assert ran.code == 1
    # A long name of the folder for temporary files takes a line more.
    assert any("[table-without-rls]" in line for line in ran.out.splitlines()[:8])
    assert "nothing as bad as" not in ran.out
    assert "By file" not in ran.out


async def test_squawks_rules_are_found_at_their_lines_with_our_severities(write: Write) -> None:
    folder = write({"1_a.sql": SAMPLE})
    found = [f for f in (await lint(folder)).findings if f.rule.startswith(PREFIX)]
    assert {(f.rule.removeprefix(PREFIX), f.at.line) for f in found} >= set(EXPECTED.items())
    for finding in found:
        assert finding.severity is GRADES[finding.rule.removeprefix(PREFIX)].up
        assert finding.why
        assert finding.remedy
    assert {f.rule for f in found if f.severity is Severity.ERROR} >= {
        "squawk/adding-required-field",
        "squawk/ban-truncate-cascade",
    }


async def test_a_rule_that_is_off_or_about_taking_away_in_a_rollback_is_not_told(write: Write) -> None:
    folder = write(HEALTHY)
    raw = await squawk.findings(read(folder).sources)
    assert {(f.rule, f.at.file) for f in raw} == {("squawk/require-lock-timeout", "1_a.sql")}
    up = await lint(write({"2_b.sql": "drop table public.t;"}))
    assert ("squawk/ban-drop-table", "2_b.sql") in {(f.rule, f.at.file) for f in up.findings}


async def test_names_configurations_and_syntax_cannot_make_squawk_look_away(write: Write, tmp_path: Path) -> None:
    folder = write(
        {
            "1_[a]*?.sql": "drop table public.t;",
            "2_b.sql": "create tabel t ();",
            ".squawk.toml": "excluded_rules = ['ban-drop-table']",
        }
    )
    shutil.copy(folder / ".squawk.toml", tmp_path / ".squawk.toml")
    rules = {(f.rule, f.at.file, f.at.line) for f in (await lint(folder)).findings}
    assert {("squawk/ban-drop-table", "1_[a]*?.sql", 1), ("squawk/syntax-error", "2_b.sql", 1)} <= rules


async def test_every_graded_rule_is_one_that_squawk_knows() -> None:
    names = [f"--exclude={name}" for name in GRADES if name != "syntax-error"]
    process = await asyncio.create_subprocess_exec(
        squawk.binary(), *names, "--reporter", "json", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        out, _ = await process.communicate(b"drop table t;")
    assert (process.returncode, json.loads(out)) == (0, [])


async def test_nothing_that_squawk_finds_is_without_a_grade(write: Write) -> None:
    found = await squawk.findings(read(write({"1_a.sql": SAMPLE})).sources)
    assert {finding.rule.removeprefix(PREFIX) for finding in found} <= GRADES.keys()
    assert grade_of("a-rule-to-come").up is Severity.WARNING


async def test_copies_that_cannot_be_made_are_told(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(EnvironmentError_, match="no room"):
        await lint(write(HEALTHY))


async def test_every_rule_that_squawk_is_asked_for_is_known_to_it(write: Write) -> None:
    assert {"ban-disable-trigger", "prefer-repack"} <= set(ASKED)
    assert await squawk.findings(read(write({"1_a.sql": "select 1;"})).sources) == ()


FAILING = {
    "crash": "kill -SEGV $$",
    "exit": "echo 'no such option' >&2; exit 2",
    "silence": "exit 0",
    "nothing found": "echo '[]'",
    "other words": "echo 'Find problems in your SQL'",
    "other shape": "echo '[{\"rule\": 1}]'; exit 1",
    "hang": "while :; do read line </dev/zero; done",
}


@pytest.mark.parametrize("failure", FAILING)
async def test_a_squawk_that_does_not_work_is_never_no_findings(failure: str, write: Write, tmp_path: Path) -> None:
    program = tmp_path / "squawk"
    program.write_text(f"#!/bin/sh\n{FAILING[failure]}\n")
    program.chmod(0o755)
    deadline = 0.3 if failure == "hang" else 20
    with pytest.raises(EnvironmentError_) as unusable:
        await lint(write(HEALTHY), program=program, deadline_s=deadline)
    assert "pip install squawk-cli" in unusable.value.remedy


async def test_a_squawk_that_cannot_be_started_or_found_is_told(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EnvironmentError_, match="cannot be started"):
        await lint(write(HEALTHY), program=tmp_path / "absent")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    assert squawk.binary().name.startswith("squawk")  # where the wheel's record says
    monkeypatch.setattr("toolkit.migrate.lint.squawk.metadata.distribution", _not_installed)
    with pytest.raises(EnvironmentError_, match="not installed"):
        squawk.binary()


def _not_installed(name: str) -> None:
    raise PackageNotFoundError(name)


def test_files_that_are_no_migrations_by_their_names_are_told(toolkit: Toolkit, write: Write, tmp_path: Path) -> None:
    ran = toolkit("--migrations", write(HEALTHY | {"notes.sql": "drop table x;"}), "--json")
    assert (ran.code, ran.json["notes"][0].split()[0]) == (0, "notes.sql")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "notes.sql").write_text("select 1;")
    none = toolkit("--migrations", tmp_path / "none")
    assert (none.code, "notes.sql is passed over" in none.err) == (2, True)


def test_its_exit_codes(toolkit: Toolkit, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(HEALTHY)
    clean = toolkit("--migrations", folder, "--json", "--severity", "warning")
    assert (clean.code, clean.json["verdict"], clean.json["name"]) == (0, "pass", "migrate lint")
    write(OPEN | {"rollbacks/2_b.sql": "-- destroys: table open\ndrop table public.open;"})
    found = toolkit("--migrations", folder, "--json")
    assert (found.code, found.json["verdict"]) == (1, "fail")
    assert [c["id"] for c in found.json["checks"] if c["verdict"] == "fail"] == ["table-without-rls"]
    assert all(c["remedy"] and c["detail"] for c in found.json["checks"] if c["verdict"] == "fail")
    assert toolkit("--migrations", folder, "--disable", "table-without-rls").code == 0
    assert toolkit("--migrations", folder, "--severity", "info", "--disable", "table-without-rls").code == 1
    for request, word in (
        (["--disable", "table-without-rsl"], "Did you mean table-without-rls?"),
        (["--severity", "fatal"], "fatal"),
        ([tmp_path / "elsewhere.sql"], "no migration or rollback"),
    ):
        ran = toolkit("--migrations", folder, *request)
        assert (ran.code, word in ran.err) == (2, True), ran
    assert toolkit("--migrations", tmp_path / "absent").code == 2
    monkeypatch.setattr(squawk, "binary", lambda: tmp_path / "absent")
    unusable = toolkit("--migrations", folder, "--json")
    assert (unusable.code, unusable.json["verdict"]) == (4, "unknown")


def test_one_broken_file_hides_nothing_of_the_others(toolkit: Toolkit, write: Write) -> None:
    folder = write(
        OPEN
        | {
            "3_c.sql": "commit;\nselect 1;\ncreate index concurrently i on x.t (c);\ncommit;",
            "4_d.sql": "select 'never ends;",
            "5_e.sql": "\\i other.sql",
            "6_f.down.sql": "select 1;",
            "2_twice.sql": "select 1;",
            "rollbacks/9_orphan.sql": "select 1;",
        }
    )
    (folder / "7_g.sql").write_bytes(b"select '\xff';")
    found = toolkit("--migrations", folder, "--json").json["findings"]
    places = {(f["rule"], f["at"]["file"], f["at"]["line"]) for f in found if f["severity"] == "error"}
    assert {
        ("refused-file", "3_c.sql", 1),
        ("refused-file", "3_c.sql", 3),
        ("refused-file", "4_d.sql", 1),
        ("refused-file", "5_e.sql", 1),
        ("refused-file", "6_f.down.sql", 1),
        ("refused-file", "2_twice.sql", 1),
        ("refused-file", "rollbacks/9_orphan.sql", 1),
        ("refused-file", "7_g.sql", 1),
        ("table-without-rls", "2_b.sql", 1),
    } <= places


def test_named_files_are_judged_by_the_whole_folder(toolkit: Toolkit, write: Write) -> None:
    folder = write(
        OPEN
        | {
            "3_c.sql": "alter table public.open enable row level security;",
            **HEALTHY,
            "4_d.sql": "create table public.shut (id bigint primary key);",
        }
    )
    for named in (folder / "2_b.sql", "2_b.sql"):
        ran = toolkit(named, "--migrations", folder, "--json")
        assert (ran.code, {f["at"]["file"] for f in ran.json["findings"]}) == (0, {"2_b.sql"})
    assert toolkit("4_d.sql", "--migrations", folder).code == 1
    assert toolkit("rollbacks/1_a.sql", "--migrations", folder).code == 0


def test_the_terminal_shows_the_way_out_and_what_is_accepted(toolkit: Toolkit, write: Write) -> None:
    accepted = (
        "select 1;\n-- toolkit: lint-ignore table-without-rls a list of countries\ncreate table public.c (id int);"
    )
    folder = write(OPEN | {"3_c.sql": accepted})
    ran = toolkit("--migrations", folder)
    text = " ".join(ran.out.split())
    assert ran.code == 1
    assert "error, line 1: public.open is open to anon and authenticated [table-without-rls]" in text
    assert "→ Enable it in the file that makes the table" in text
    assert "a list of countries" in text
    assert "errors warnings infos accepted" in " ".join(toolkit("--migrations", folder, "--show-accepted").out.split())


def test_every_rule_is_listed_with_its_reason(toolkit: Toolkit) -> None:
    listed = toolkit("--list-rules", "--json").json["rules"]
    assert {rule["rule"] for rule in listed} > {"publication-recreated", "squawk/prefer-robust-stmts", "refused-file"}
    assert all(rule["why"] and rule["severity"] in {"error", "warning", "info", "off"} for rule in listed)
    assert "publication-recreated" in toolkit("--list-rules").out


def test_whatever_is_found_in_the_projects_own_migrations_is_accepted_with_a_reason(toolkit: Toolkit) -> None:
    ran = toolkit("--migrations", migrations_dir(), "--json", "--severity", "info")
    assert (ran.code, ran.json["verdict"]) == (0, "pass")
    assert ran.json["findings"]
    assert all(finding["accepted"] for finding in ran.json["findings"])
