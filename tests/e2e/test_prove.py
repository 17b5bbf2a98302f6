"""`toolkit migrate prove` as a person runs it: on a stranger's folder, on a defect, on requests without sense."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.big_folder import write_big_folder
from tests.support.processes import gone

COMMAND = (sys.executable, "-m", "toolkit.cli", "migrate", "prove")
GOOD = {
    "1_notes.sql": "create table public.notes (id uuid primary key default gen_random_uuid(), user_id uuid not null,"
    " body text);\nalter table public.notes enable row level security;\nrevoke all on public.notes from anon;\n"
    "create policy own on public.notes to authenticated using (user_id = (select auth.uid()))"
    " with check (user_id = (select auth.uid()));\n",
    "rollbacks/1_notes.sql": "-- destroys: table notes\ndrop table public.notes;\n",
    "2_tags.sql": "alter table public.notes add column tags text[] not null default '{}';\n",
    "rollbacks/2_tags.sql": "-- destroys: columns notes (tags)\nalter table public.notes drop column tags;\n",
}


def folder(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def run(
    tmp_path: Path, *words: str, env: dict[str, str] | None = None, timeout: int = 170
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--reports-dir", str(tmp_path / "reports"), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        cwd=tmp_path,
        env=os.environ | (env or {}),
    )


@pytest.mark.timeout(180)
def test_a_strangers_folder_is_proved_and_the_report_is_saved(tmp_path):
    migrations = folder(tmp_path / "migrations", GOOD)
    done = run(tmp_path, "--migrations", str(migrations), "--rows", "5", "--no-endpoint", "--json")
    report = json.loads(done.stdout)
    bad = [(claim["id"], claim["basis"], claim["violations"]) for claim in report["claims"] if not claim["holds"]]
    assert done.returncode == 0, bad
    assert report["verdict"] == "pass"
    assert {claim["proof"] for claim in report["claims"]} == {
        "replay",
        "round-trip",
        "data",
        "crash",
        "locks",
        "security",
        "behaviour",
        "delivery",
    }
    assert {claim["version"] for claim in report["claims"]} == {"1", "2"}
    (saved,) = (tmp_path / "reports").iterdir()
    assert sorted(path.name for path in saved.iterdir() if path.is_file()) == [
        "junit.xml",
        "report.html",
        "report.json",
    ]
    assert json.loads((saved / "report.json").read_text())["verdict"] == "pass"
    assert {path.name for path in tmp_path.iterdir()} == {"migrations", "reports"}, "made-up rows are nobody's to keep"


@pytest.mark.timeout(120)
def test_a_rollback_that_loses_rows_is_refuted_by_name(tmp_path):
    files = GOOD | {
        "rollbacks/2_tags.sql": "-- destroys: columns notes (tags)\nalter table public.notes drop column tags;\n"
        "alter table public.notes drop column body;\nalter table public.notes add column body text;\n"
    }
    migrations = folder(tmp_path / "migrations", files)
    done = run(tmp_path, "--migrations", str(migrations), "--version", "2", "--only", "data", "--only", "round-trip")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "REFUTED" in done.stdout
    assert "body" in done.stdout
    verdict_and_counts = done.stdout.split("\n\n")[0].split()
    assert done.stdout.split()[-len(verdict_and_counts) :] == verdict_and_counts, "once more, where a long report ends"
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--migrations", "nowhere"), "no migrations folder"),
        (("--version", "9"), "not pending"),
        (("--version", "1", "--last", "1"), "exclude each other"),
        (("--from", "schema.sql", "--from-database", "postgresql://nobody@127.0.0.1:1/x"), "exclude each other"),
        (("--from-database", "env:NO_SUCH_ADDRESS"), "NO_SUCH_ADDRESS"),
        (("--postgres", "7"), "no version 7"),
        (("--postgres", "here"), "no initdb"),
        (("--seed-data", "copy.sql"), "copy.sql:1"),
        (
            tuple(
                word
                for name in ("replay", "round-trip", "data", "crash", "locks", "security", "behaviour", "delivery")
                for word in ("--skip", name)
            ),
            "left out",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(tmp_path, words, told):
    migrations = folder(tmp_path / "migrations", GOOD)
    (tmp_path / "schema.sql").write_text("select 1;")
    (tmp_path / "copy.sql").write_text("COPY public.notes FROM stdin;\n")
    given = words if "--migrations" in words else ("--migrations", str(migrations), *words)
    done = run(tmp_path, *given)
    assert done.returncode in {1, 2, 4}, done.stdout
    assert told in done.stderr
    assert "→" in done.stderr or "Remedy" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "reports").glob("*")), "the empty folder of a run that never was"


@pytest.mark.timeout(120)
def test_nothing_answers_at_the_given_address_and_no_password_is_shown(tmp_path):
    migrations = folder(tmp_path / "migrations", GOOD)
    address = {"OLD": "postgresql://me:hush-hush@127.0.0.1:1/app"}
    done = run(tmp_path, "--migrations", str(migrations), "--from-database", "env:OLD", env=address)
    assert done.returncode == 4, done.stdout
    assert "127.0.0.1:1" in done.stderr
    assert "hush-hush" not in done.stdout + done.stderr


@pytest.mark.timeout(120)
def test_a_proof_that_is_stopped_leaves_no_server_behind(tmp_path):
    migrations = write_big_folder(tmp_path / "migrations", tables=20, migrations=4)
    temporary = tmp_path / "tmp"
    temporary.mkdir(mode=0o755)
    running = subprocess.Popen(
        [*COMMAND, "--migrations", str(migrations), "--reports-dir", str(tmp_path / "reports")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    try:
        assert running.stderr is not None
        for line in running.stderr:
            if "replay" in line or "round-trip" in line:
                break
        (postmaster,) = temporary.glob("toolkit-scratch-*/postgres/postmaster.pid")
        pid = int(postmaster.read_text().split()[0])
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait(timeout=10)
    assert running.returncode == 130, errors
    assert "Traceback" not in errors
    assert not list(temporary.glob("toolkit-scratch-*"))
    gone(pid)


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.mark.timeout(180)
def test_what_a_branch_adds_is_proved_on_a_kept_state_unless_that_is_damaged(tmp_path, monkeypatch):
    migrations = folder(tmp_path / "migrations", GOOD)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "migrations")
    git(tmp_path, "commit", "-qm", "first")
    words = ("--migrations", str(migrations), "--only", "replay", "--rows", "5", "--json")
    nothing = run(tmp_path, *words, "--new", "--output", "out/new.md", "--output", "out/new.xml")
    assert (nothing.returncode, "nothing to prove" in nothing.stdout) == (0, True), nothing.stderr
    assert "nothing to prove" in (tmp_path / "out/new.md").read_text()
    assert 'failures="0"' in (tmp_path / "out/new.xml").read_text()
    folder(migrations, {"3_more.sql": "alter table public.notes add column more text;\n"})

    def proved() -> str:
        done = run(tmp_path, *words, "--since", "main")
        report = json.loads(done.stdout)
        asked = {claim["version"] for claim in report["claims"] if not claim["by_request"]}
        assert (done.returncode, asked) == (0, {"3"}), done.stderr
        return " ".join(report["notes"]) + done.stderr

    monkeypatch.setenv("TOOLKIT_CACHE_DIR", str(tmp_path / "cache"))
    first = proved()
    assert "Looked at 1 of 3 versions: 3" in first
    assert "is a kept one" not in first
    assert "The state after 2 is a kept one" in proved()
    (made,) = (tmp_path / "cache").rglob("*.state")
    made.write_bytes(made.read_bytes()[:-4096])
    damaged = proved()
    assert "The state after 2 was made anew: the kept one was damaged" in damaged
