"""Plans and refusals: pure decisions over literal folders and histories."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from toolkit.migrate.folder.files import Folder, Migration, Script, read_script
from toolkit.migrate.run.history import AppliedRow, Event, History, JournalEntry, same_text, statement_hash
from toolkit.migrate.run.plan import Down, MigrationRefused, Plan, Up, make_plan, statuses

TEXT = "create table t_{v} ();\ninsert into t_{v} default values;\n"


def script(folder: Path, name: str, text: str) -> Script:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return read_script(path, rollback=path.parent.name == "rollbacks")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Versions 1, 2, 3 with rollbacks."""
    migrations = tuple(
        Migration(
            str(v),
            "x",
            script(tmp_path, f"{v}_x.sql", TEXT.format(v=v)),
            script(tmp_path, f"rollbacks/{v}_x.sql", f"-- destroys: table t_{v}\ndrop table t_{v}"),
            None,
        )
        for v in (1, 2, 3)
    )
    return Folder(tmp_path, migrations, ())


def history(folder: Folder, *versions: str, **sha: str) -> History:
    """These versions applied by us; `v2="…"` gives the ledger another checksum."""
    rows, events = [], {}
    for version in versions:
        migration = folder.get(version)
        recorded = migration.up.recorded if migration else ("select 1",)
        rows.append(AppliedRow(version, "x", recorded))
        digest = sha.get(f"v{version}", migration.up.sha256 if migration else "0")
        events[version] = Event(version, "applied", digest, datetime(2026, 1, 1, tzinfo=UTC), 5, "a@b:1")
    return History(tuple(rows), events)


def versions(plan: Plan) -> list[str]:
    return [step.migration.version for step in plan.steps]


def codes(folder: Folder, past: History, request: Up | Down) -> list[str]:
    with pytest.raises(MigrationRefused) as caught:
        make_plan(folder, past, request)
    assert all(refusal.what and refusal.remedy for refusal in caught.value.refusals)
    return [refusal.code for refusal in caught.value.refusals]


def test_up_applies_what_is_pending_in_order_and_to_stops_it(folder: Folder) -> None:
    assert versions(make_plan(folder, History(), Up())) == ["1", "2", "3"]
    assert versions(make_plan(folder, history(folder, "1"), Up())) == ["2", "3"]
    assert versions(make_plan(folder, history(folder, "1"), Up("2"))) == ["2"]
    assert versions(make_plan(folder, history(folder, "1", "2", "3"), Up())) == []
    assert versions(make_plan(folder, history(folder, "1", "2"), Up("1"))) == []


def test_down_goes_backwards(folder: Folder) -> None:
    everything = history(folder, "1", "2", "3")
    assert versions(make_plan(folder, everything, Down())) == ["3"]
    assert versions(make_plan(folder, everything, Down(last=2))) == ["3", "2"]
    assert versions(make_plan(folder, everything, Down(to="1"))) == ["3", "2"]
    assert versions(make_plan(folder, everything, Down(to="0"))) == ["3", "2", "1"]
    assert [str(d) for d in make_plan(folder, everything, Down()).steps[0].destroys] == ["table public.t_3"]


def test_an_edited_applied_file_is_refused(folder: Folder) -> None:
    assert codes(folder, history(folder, "1", "2", v1="f" * 64), Up()) == ["edited"]
    # Rolling back does not need the file that was edited, but says so.
    notes = make_plan(folder, history(folder, "1", v1="f" * 64), Down()).notes
    assert any("edited" in note for note in notes)


def test_an_edit_is_seen_by_the_recorded_statements_when_another_tool_applied_it(folder: Folder) -> None:
    same = History((AppliedRow("1", "x", folder.migrations[0].up.recorded),))
    assert versions(make_plan(folder, same, Up())) == ["2", "3"]
    other = History((AppliedRow("1", "x", ("create table t_1 (a integer)",)),))
    assert codes(folder, other, Up()) == ["edited"]
    unknown = History((AppliedRow("1", None, None),))
    assert versions(make_plan(folder, unknown, Up())) == ["2", "3"]


def test_a_repair_that_rewrote_the_statements_does_not_hide_an_edit(folder: Folder) -> None:
    past = history(folder, "1", v1="f" * 64)  # the recorded statements are those of the file as it is now
    with pytest.raises(MigrationRefused) as caught:
        make_plan(folder, past, Up())
    assert "repair" in caught.value.refusals[0].what


def test_a_gap_is_refused_unless_asked_for(folder: Folder) -> None:
    assert codes(folder, history(folder, "1", "3"), Up()) == ["gap"]
    assert versions(make_plan(folder, history(folder, "1", "3"), Up(include_all=True))) == ["2"]


def test_an_applied_version_without_file_is_refused(folder: Folder) -> None:
    assert codes(folder, history(folder, "1", "25"), Up()) == ["missing-locally", "gap"]
    assert codes(folder, history(folder, "1", "9"), Down()) == ["missing-locally"]
    # It does not matter for a rollback that does not reach it.
    assert versions(make_plan(folder, history(folder, "0000", "3"), Down())) == ["3"]


def test_a_missing_rollback_is_refused_and_announced_before(folder: Folder) -> None:
    first, second, third = folder.migrations
    bare = Folder(folder.path, (first, second, Migration("3", "x", third.up, None, None)), ())
    assert codes(bare, history(bare, "1", "2", "3"), Down()) == ["missing-rollback"]
    assert any("no rollback" in note for note in make_plan(bare, History(), Up()).notes)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Up("4"), "unknown-to"),
        (Down(to="7"), "unknown-to"),
        (Down(to="3"), "to-not-applied"),
        (Down(last=3), "last-out-of-range"),
        (Down(last=0), "last-out-of-range"),
        (Down(to="1", last=1), "usage"),
    ],
)
def test_requests_that_make_no_sense(folder: Folder, request_: Up | Down, code: str) -> None:
    assert code in codes(folder, history(folder, "1", "2"), request_)


def test_nothing_to_roll_back(folder: Folder) -> None:
    assert codes(folder, History(), Down()) == ["nothing-applied"]
    assert codes(folder, History(), Down(last=1)) == ["last-out-of-range"]


@pytest.mark.parametrize(
    ("request_", "code"),
    [(Up("4"), 2), (Down(last=3), 2), (Down(to="1", last=1), 2), (Down(to="3"), 1), (Up("2"), 1)],
)
def test_a_wrong_request_is_told_from_a_state_that_forbids_it(folder: Folder, request_: Up | Down, code: int) -> None:
    with pytest.raises(MigrationRefused) as caught:
        make_plan(folder, history(folder, "1", "2", v1="f" * 64), request_)
    assert caught.value.exit_code == code


def test_files_that_were_passed_over_are_in_every_plan(folder: Folder) -> None:
    told = Folder(folder.path, folder.migrations, ("abc.sql is passed over",))
    assert make_plan(told, History(), Up()).notes[0] == "abc.sql is passed over"
    assert make_plan(told, history(folder, "1"), Down()).notes[0] == "abc.sql is passed over"


def test_a_near_miss_gets_a_hint(folder: Folder, tmp_path: Path) -> None:
    migration = Migration("20250727000000", "x", folder.migrations[0].up, None, None)
    with pytest.raises(MigrationRefused, match="Did you mean 20250727000000"):
        make_plan(Folder(tmp_path, (migration,), ()), History(), Up("2025072700000"))


def test_every_reason_is_given_at_once(folder: Folder) -> None:
    past = history(folder, "1", "3", "9", v1="f" * 64)
    assert codes(folder, past, Up("8")) == ["unknown-to", "edited", "missing-locally", "gap"]


def test_an_interrupted_file_goes_on_and_an_edit_of_what_ran_is_refused(folder: Folder, tmp_path: Path) -> None:
    text = "-- toolkit: transaction=false\nselect 1;\nvacuum;\nselect 3;"
    up = script(tmp_path, "4_x.sql", text)
    whole = Folder(tmp_path, (Migration("4", "x", up, None, None),), ())
    first = up.statements[0]
    done = JournalEntry(first.index, statement_hash(first), "done")
    past = History(journal={("4", "up"): (done, JournalEntry(2, "x", "started"))})
    plan = make_plan(whole, past, Up())
    assert plan.steps[0].done == 1
    assert any("goes on after statement 1 of 3" in note for note in plan.notes)
    assert [status.state for status in statuses(whole, past)] == ["interrupted"]
    edited = History(journal={("4", "up"): (JournalEntry(1, "0" * 64, "done"),)})
    assert codes(whole, edited, Up()) == ["edited-while-interrupted"]


def test_statuses_name_every_state(folder: Folder) -> None:
    past = history(folder, "1", "3", "9", v1="f" * 64)
    assert [(s.version, s.state) for s in statuses(folder, past)] == [
        ("1", "edited"),
        ("2", "gap"),
        ("3", "applied"),
        ("9", "missing_locally"),
    ]
    assert [s.state for s in statuses(folder, History())] == ["pending"] * 3


def test_same_text_ignores_how_the_statements_were_cut(folder: Folder) -> None:
    up = folder.migrations[0].up
    assert same_text((up.text,), up)
    assert same_text(up.recorded, up)
    assert not same_text((*up.recorded, "drop table x"), up)
