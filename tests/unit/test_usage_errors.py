"""What is asked wrongly is answered with what to write instead: exit code 2, no traceback, nothing started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from toolkit.cli import main

CLOSED = "postgresql://me@127.0.0.1:1/app"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty place with a file and a folder, and no setting in the environment."""
    (tmp_path / "file").write_text("{}")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "API_URL", "SUPABASE_URL", "SUPABASE_ANON_KEY", "SUPABASE_JWT_SECRET"):
        monkeypatch.delenv(name, raising=False)


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["toolkit", *line.split()])
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert isinstance(stopped.value.code, int)
    return stopped.value.code, " ".join((out + err).split())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        # durations
        ("doctor --deadline 10", "write 10s for seconds or 10ms for milliseconds"),
        ("doctor --deadline 1h", "1h is too long: at most 2m"),
        ("monitor --interval soon", "write a number with its unit, such as 500ms, 10s, 5m, 1h or 7d"),
        ("migrate up --lock-timeout 500", "it has no unit"),
        ("migrate down --dry-run --dry-run-deadline 1ms", "too short: at least 100ms"),
        ("migrate prove --stall-budget 500", "it has no unit"),
        ("load run --ramp 10", "it has no unit"),
        ("load run --p95-start 2000", "it has no unit"),
        ("signoff --max-age 7", "it has no unit"),
        ("token --ttl 90", "it has no unit"),
        # addresses and keys
        ("doctor --api-url ftp://api", "API_URL: must be an http:// or https:// URL"),
        ("doctor --api-url api.example.org", "API_URL: must be an http:// or https:// URL"),
        ("doctor --api-url http://[::1", "API_URL:"),
        ("doctor --supabase-url http://host:99999", "SUPABASE_URL: must have a port between 0 and 65535"),
        ("doctor --supabase-url http://host:port", "SUPABASE_URL: must have a port between 0 and 65535"),
        ("doctor --supabase-url http://me:s3/cret@host", "SUPABASE_URL: must have a port between 0 and 65535"),
        ("migrate status --database-url mysql://x/y", "DATABASE_URL: must be a postgresql:// URL"),
        ("migrate status --database-url postgresql://[::1/x", "DATABASE_URL:"),
        ("migrate status --bundled --database-url postgresql://me@host:99999/x", "The database address cannot be read"),
        ("migrate status --target external", "--target external needs at least one URL"),
        ("migrate status --target embedded --database-url postgresql://x/y", "--database-url would be ignored"),
        (
            "scenarios run --api-url http://127.0.0.1:1 --yes",
            "SUPABASE_URL, SUPABASE_ANON_KEY are not set",
        ),
        ("load run --api-url http://127.0.0.1:1 --yes", "are not set"),
        ("migrate diff env:NO_SUCH_NAME file", "the environment has no variable NO_SUCH_NAME"),
        ("migrate prove --bundled --from-database env:NO_SUCH_NAME", "names the variable NO_SUCH_NAME, which"),
        ("migrate prove --bundled --scratch-url env:NO_SUCH_NAME", "names the variable NO_SUCH_NAME, which is not set"),
        # a target that nobody named
        *(
            (line, "none is running in .toolkit/embedded")
            for line in (
                "doctor",
                "monitor --once",
                "migrate status --bundled",
                "migrate snapshot",
                "migrate repair --bundled",
            )
        ),
        (
            "migrate status --bundled",
            "Start one here with `toolkit up`; or set DATABASE_URL, API_URL or SUPABASE_URL in",
        ),
        ("migrate up --bundled", "or give an option, such as --database-url. --target embedded makes one"),
        # paths
        (f"migrate status --database-url {CLOSED} --migrations absent", "absent"),
        ("migrate lint --migrations absent", "absent"),
        ("migrate lint --migrations file", "Directory 'file' is a file"),
        ("migrate prove --from absent.sql", "File 'absent.sql' does not exist"),
        ("migrate prove --bundled --postgres /nowhere", "/nowhere holds no initdb"),
        ("migrate diff absent.json absent.json", "absent.json"),
        ("migrate diff file file", "file"),
        ("migrate snapshot -o file/x.json", "file/x.json cannot be written"),
        ("scenarios check empty", "There is no run in empty"),
        ("scenarios check absent", "absent is not a folder"),
        ("scenarios run absent.yaml", "absent.yaml"),
        ("signoff absent", "absent"),
        ("signoff --reports-dir empty", "There is no saved rehearsal in empty"),
        ("token --data empty", "toolkit up --data empty"),
        ("rehearse --migrations absent", "There is no migrations folder at absent"),
        # what does not go together, and what is not offered any more or not here
        ("monitor --once --count 2", "give one of them"),
        ("migrate plan --last 1", "--last goes with --down"),
        ("migrate plan --yes", "No such option '--yes'"),
        ("migrate snapshot --jwt-secret x", "No such option '--jwt-secret'"),
        ("doctor --jwks-url https://x", "No such option '--jwks-url'"),
        ("rehearse --report-dir x", "Did you mean '--reports-dir'?"),
        ("scenarios run --runs-dir x", "No such option '--runs-dir'"),
        ("rehearse --processes 1", "1 is not in the range x>=16"),
        ("load run --users none", "'none' is not a valid integer"),
        ("up --env --json", "goes neither with --json nor with --foreground"),
    ],
)
def test_wrong_words_are_answered_with_right_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, words: str, tmp_path: Path
) -> None:
    code, text = said(monkeypatch, capsys, line)
    assert (code, words in text) == (2, True), text
    assert "s3" not in text
    assert not (tmp_path / ".toolkit").exists(), "nothing was started"


@pytest.mark.parametrize("line", ["doctor", "migrate up --bundled", "scenarios run", "load run", "rehearse --quick"])
def test_in_a_pipeline_a_target_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("CI", "true")
    code, text = said(monkeypatch, capsys, line)
    assert (code, "is a secret missing? Or say that you mean the embedded one: --target embedded" in text) == (2, True)
    assert not (tmp_path / ".toolkit").exists(), "nothing was started"
    # Named, it is something else that is wrong.
    code, text = said(monkeypatch, capsys, f"{line} --target external")
    assert (code, "No target is named" in text) == (2, False)


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_a_pipeline_is_one_that_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    monkeypatch.setenv("CI", value)
    assert "none is running" in said(monkeypatch, capsys, "doctor")[1]
