"""What is judged by the project's age: before 30 May 2026, new objects of public were open to the API roles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.migrate.lint.conftest import Look
from toolkit.migrate.folder.project_mode import ProjectMode, mode_of_folder

TABLE = "create table public.t (id int primary key);"
DEFINER = """
create function public.f() returns void language sql security definer set search_path = '' as 'delete from public.t';
revoke execute on function public.f() from public;
"""


@pytest.mark.parametrize(
    ("text", "rule", "modes"),
    [
        (TABLE, "table-without-rls", {"old"}),
        (f"{TABLE} grant select on public.t to anon;", "table-without-rls", {"old", "new"}),
        (f"{TABLE} grant all on all tables in schema public to authenticated;", "table-without-rls", {"old", "new"}),
        (f"{TABLE} grant select on public.t to service_role;", "table-without-rls", {"old"}),
        (
            f"alter default privileges in schema public grant select on tables to anon; {TABLE}",
            "table-without-rls",
            {"old", "new"},
        ),
        (TABLE + DEFINER, "definer-executable-by-anon", {"old"}),
        (
            f"{TABLE}{DEFINER}grant execute on function public.f() to anon;",
            "definer-executable-by-anon",
            {"old", "new"},
        ),
    ],
)
def test_a_finding_by_the_projects_mode(look: Look, text: str, rule: str, modes: set[ProjectMode]) -> None:
    both: tuple[ProjectMode, ...] = ("old", "new")
    assert {mode for mode in both if rule in {one.rule for one in look(text, mode=mode)}} == modes


@pytest.mark.parametrize(
    ("config", "mode"),
    [
        ("[api]\nauto_expose_new_tables = false\n", "new"),
        ("[api]\nauto_expose_new_tables = true\n", "old"),
        ("[api]\nenabled = true\n", None),
        ("api = 3\n", None),
        ("not TOML", None),
        (None, None),
    ],
)
def test_the_config_of_the_supabase_cli_tells(tmp_path: Path, config: str | None, mode: ProjectMode | None) -> None:
    if config is not None:
        (tmp_path / "config.toml").write_text(config)
    assert mode_of_folder(tmp_path / "migrations") == mode
