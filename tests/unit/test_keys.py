"""`toolkit keys`: keys that a server with the same secret accepts, and a word on secrets that are too short."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import jwt
import pytest

from reference_server.__main__ import _tell_of_a_short_secret
from toolkit.cli import main

SHORT = "s" * 31


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "API_URL", "SUPABASE_URL", "SUPABASE_JWT_SECRET"):
        monkeypatch.delenv(name, raising=False)


def keys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["toolkit", "keys", *args])
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    return int(stopped.value.code or 0), out, err


def test_keys_are_signed_with_the_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SUPABASE_JWT_SECRET", "s" * 32)
    code, out, err = keys(monkeypatch, capsys)
    assert (code, err) == (0, "")
    found = dict(re.findall(r'^export (\w+)="([^"]+)"$', out, re.MULTILINE))
    roles = {name: jwt.decode(key, "s" * 32, ["HS256"])["role"] for name, key in found.items()}
    assert roles == {"SUPABASE_ANON_KEY": "anon", "SUPABASE_SERVICE_ROLE_KEY": "service_role"}
    _, out, _ = keys(monkeypatch, capsys, "--json")
    assert json.loads(out)["keys"].keys() == roles.keys()


def test_a_new_secret_is_long_enough_for_its_keys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = keys(monkeypatch, capsys, "--new-secret", "--json")
    found = json.loads(out)["keys"]
    assert len(found["SUPABASE_JWT_SECRET"]) >= 32
    assert jwt.decode(found["SUPABASE_ANON_KEY"], found["SUPABASE_JWT_SECRET"], ["HS256"])["role"] == "anon"


def test_a_secret_that_is_missing_or_too_short_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = keys(monkeypatch, capsys)
    assert (code, out, "--new-secret" in err) == (2, "", True)
    monkeypatch.setenv("SUPABASE_JWT_SECRET", SHORT)
    code, out, err = keys(monkeypatch, capsys)
    assert (code, out, "has 31 bytes: HS256 needs 32 or more" in err, SHORT in err) == (2, "", True, False)


def test_other_commands_say_it_in_our_words_alone() -> None:
    # A process of its own: whoever tests sees to warnings in theirs.
    program = (
        "import sys; from toolkit import cli, tokens; sys.argv = ['toolkit', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "tokens.mint('short', sub='a')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""


def test_the_server_says_it_in_its_log(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        for secret in (SHORT, "s" * 32, None):
            _tell_of_a_short_secret(secret)
    out, err = capfd.readouterr()
    assert (out + err).count("SUPABASE_JWT_SECRET is too short") == 1
    assert SHORT not in out + err


def test_a_command_that_makes_tokens_warns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SUPABASE_JWT_SECRET", SHORT)
    monkeypatch.setattr(sys, "argv", ["toolkit", "doctor"])
    with pytest.raises(SystemExit):
        main()
    err = capsys.readouterr().err
    assert err.count("has 31 bytes") == 1
    assert "toolkit keys --new-secret" in err
