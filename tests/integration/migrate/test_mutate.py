"""`toolkit migrate mutate` on a folder of somebody's own, and chosen mutants of ours, on real databases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.integration.migrate.conftest import Write
from tests.support.scratch_here import replay_here  # noqa: F401 - a fixture
from toolkit.cli import toolkit
from toolkit.resources import migrations_dir

NOTES = {
    "1_notes.sql": "create table public.notes (id integer primary key, owner uuid not null, text text);\n"
    "alter table public.notes enable row level security;\n"
    "grant select on public.notes to authenticated;\n"
    "create policy notes_read on public.notes for select to authenticated\n"
    "  using (owner = (auth.jwt() ->> 'sub')::uuid);\n"
}
VERIFY = {
    "verify/1_notes.sql": """-- check: N-1 Each sees what is theirs
do $$
begin
  insert into public.notes values (1, '00000000-0000-0000-0000-00000000000a', 'a');
  insert into public.notes values (2, '00000000-0000-0000-0000-00000000000b', 'b');
  perform set_config('request.jwt.claims', '{"sub": "00000000-0000-0000-0000-00000000000a"}', true);
  set local role authenticated;
  if (select array_agg(id) from public.notes) is distinct from array[1] then
    raise exception 'a sees %', (select array_agg(id) from public.notes);
  end if;
end $$;
"""
}
POLICY = ("--mutant", "policy-condition:notes_read:*")


@pytest.fixture
def mutate(replay_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]  # noqa: F811
    monkeypatch.setenv("TOOLKIT_CACHE_DIR", str(tmp_path / "cache"))
    runner = CliRunner()

    def run(folder: Path, *arguments: str, code: int) -> Result:
        reports = str(tmp_path / "reports")
        result = runner.invoke(
            toolkit, ["migrate", "mutate", "--migrations", str(folder), "--reports-dir", reports, *arguments]
        )
        assert result.exit_code == code, result.output
        return result

    return run


def test_a_leak_that_nobody_would_notice_is_shown_and_a_check_notices_it(mutate, write: Write) -> None:  # type: ignore[no-untyped-def]
    folder = write(NOTES)
    shown = mutate(folder, *POLICY, code=1).output
    assert "nothing you have would notice this" in shown
    assert "USING (true)" in shown
    assert "of whom each owns rows" in " ".join(shown.split())
    report = json.loads((mutate(write(VERIFY), *POLICY, "--json", code=0)).stdout)
    assert {one["name"]: one["value"] for one in report["measurements"]}["score"] == 100
    assert report["tables"][2]["rows"] == [["verify files", "N-1", "3"]]
    # What was found out is kept.
    again = json.loads((mutate(folder, *POLICY, "--json", code=0)).stdout)
    assert any(note.startswith("3 outcomes are kept ones") for note in again["notes"])


def test_refused_equal_and_hanging_mutants_are_told_apart(mutate, write: Write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    more = "revoke insert on public.notes from anon, authenticated;\ncreate index on public.notes (owner);"
    folder = write(NOTES | {"2_more.sql": more})
    told = json.loads((mutate(folder, "--only", "grant", "--only", "statement", "--json", code=1)).stdout)
    rows = {row[0]: row for row in told["tables"][1]["rows"]}
    assert rows["table public.notes"][6] == "1"  # without the table, what follows does not apply
    assert int(rows["grants on public.notes"][5]) > 0  # what nobody was granted is revoked in vain
    # Content with the folder as it is, and never done with a mutant.
    judge = f"test -e {tmp_path}/looked && sleep 600 || touch {tmp_path}/looked"
    only_judge = ("--judges", "", "--judge", judge, "--sample", "1", "--deadline", "2s")
    assert "it hangs: not over within 2 s" in mutate(folder, *POLICY, *only_judge, code=3).output


def test_commands_pgtap_and_proofs_judge_and_reasons_excuse(mutate, write: Write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = write(NOTES)
    listed = json.loads(mutate(folder, *POLICY, "--list", "--json", code=0).stdout)
    leak = next(one["id"] for one in listed if one["told"] == "USING (true)")
    assert "1 of 1" in mutate(folder, "--mutant", leak, "--judges", "prove", code=0).output
    taps = tmp_path / "taps"
    taps.mkdir()
    (taps / "policies.sql").write_text(
        "begin;\nselect case when count(*) = 0 then 'ok 1 - none is true' else 'not ok 1 - none is true' end\n"
        "from pg_policies where qual = 'true';\nrollback;\n"
    )
    found = json.loads((mutate(folder, *POLICY, "--judges", "pgtap", "--pgtap", str(taps), "--json", code=1)).stdout)
    assert ["pgTAP", "policies.sql: none is true", "1"] in found["tables"][2]["rows"]
    # A judge that is not content with the folder as it is can notice nothing.
    spoiled = mutate(folder, *POLICY, "--judges", "", "--judge", "exit 3", code=1)
    assert "exit 3: exit 3" in spoiled.output
    write({"mutants.yaml": "reasons:\n- mutants: policy-condition:*\n  reason: no tests yet\n  seen_by: review\n"})
    excused = mutate(folder, *POLICY, code=0)
    assert "no tests yet" in excused.output
    write(VERIFY)
    assert "all of them are noticed" in mutate(folder, *POLICY, code=1).output


# Kinds whose loss would be dearest; each is noticed by verify.
OURS = (
    "condition-removed:resolve_user_input:*",
    "policy-condition:process_events_read:*",
    "column-itself:task_dependencies_read:*",
    "condition-constant:resolve_user_input:*",
    "trigger:trigger_guard_process_event:*",
)


def test_chosen_mutants_of_our_own_migration_are_noticed(mutate) -> None:  # type: ignore[no-untyped-def]
    chosen = [word for pattern in OURS for word in ("--mutant", pattern)]
    arguments = ("--version", "20250727000000", *chosen, "--sample", "6", "--seed", "7", "--no-cache", "--json")
    report = json.loads((mutate(migrations_dir(), *arguments, code=0)).stdout)
    assert {one["name"]: one["value"] for one in report["measurements"]}["score"] == 100
