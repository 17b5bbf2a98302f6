"""Which folder a command works with: the named one, the project's, and the toolkit's own only where it is asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from toolkit.cli import main
from toolkit.commands.migrate._folder import choose, described
from toolkit.errors import UsageError
from toolkit.resources import migrations_dir

CONFIGURED, SUPABASE, PLAIN = Path("db/files"), Path("supabase/migrations"), Path("migrations")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_that_is_there_in_this_order(here: Path) -> None:
    assert choose(None, False, embedded=True) == migrations_dir()
    for folder in (PLAIN, SUPABASE):
        folder.mkdir(parents=True)
        assert choose(None, False, embedded=True) == choose(None, False, embedded=False) == folder
    (here / "toolkit.toml").write_text('migrations = "db/files"\n\n[target]\napi_url = "http://127.0.0.1:1"\n')
    assert choose(None, False, embedded=True) == CONFIGURED
    assert choose(Path("x"), False, embedded=False) == Path("x")
    assert choose(None, True, embedded=False) == migrations_dir()


def test_where_there_is_none_every_way_to_name_one_is_told() -> None:
    with pytest.raises(UsageError) as caught:
        choose(None, False, embedded=False)
    assert all(way in caught.value.remedy for way in ("--migrations", "toolkit.toml", "--bundled", "eject"))


@pytest.mark.parametrize("value", ["1", '""', "['a']"])
def test_a_setting_that_is_no_folder_is_refused(here: Path, value: str) -> None:
    (here / "toolkit.toml").write_text(f"migrations = {value}\n")
    with pytest.raises(UsageError, match=r"toolkit\.toml: migrations"):
        choose(None, False, embedded=True)


def test_two_names_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        choose(Path("x"), True, embedded=False)


def test_a_report_says_whose_folder_it_is() -> None:
    assert described(SUPABASE) == "supabase/migrations"
    assert described(migrations_dir()).startswith("the toolkit's own (")


def test_lint_in_a_project_reads_the_projects_files(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Planted: two errors that a look into the wrong folder would pass by."""

    def lint(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["toolkit", "migrate", "lint", *args])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        return int(stopped.value.code or 0), out, err

    code, _, err = lint()
    assert (code, "--bundled" in err) == (2, True)
    assert lint("--list-rules")[0] == 0
    (here / SUPABASE).mkdir(parents=True)
    (here / SUPABASE / "1_a.sql").write_text("create table public.a (id int primary key);\ncommit;\n")
    code, out, _ = lint()
    assert (code, "supabase/migrations" in out, "refused-file" in out) == (1, True, True)
    code, out, _ = lint("--bundled")
    assert (code, "the toolkit's own" in out) == (0, True)


def test_commands_on_a_target_of_ones_own_do_not_fall_back_on_the_toolkits_files(
    bare_db: str, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", bare_db)

    def toolkit(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["toolkit", "migrate", *args])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        return int(stopped.value.code or 0), out, err

    for command in ("status", "plan", "up", "down", "verify", "drift", "repair"):
        code, _, err = toolkit(command)
        assert (code, "no folder of migrations here" in err) == (2, True), command
    (here / PLAIN).mkdir()
    (here / PLAIN / "1_a.sql").write_text("select 1")
    code, out, _ = toolkit("status")
    assert (code, "migrations: migrations" in " ".join(out.split())) == (0, True)
    code, out, _ = toolkit("status", "--bundled")
    assert (code, "the toolkit's own" in " ".join(out.split())) == (0, True)
