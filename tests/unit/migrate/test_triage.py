"""Which row belongs to which file: one reading gives a proposal, two give none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from toolkit.migrate.folder.files import Folder, read_folder
from toolkit.migrate.repair.model import Named, Prefer, Triage
from toolkit.migrate.repair.triage import names_to_look_up, triage
from toolkit.migrate.run.history import AppliedRow, Event, History, JournalEntry

A, B = "create table public.a (id integer);", "create table public.b (id integer);"
Write = Callable[..., Folder]


@pytest.fixture
def folder(tmp_path: Path) -> Write:
    def write(**files: str) -> Folder:
        for name, text in files.items():
            file = tmp_path / f"{name.removeprefix('v')}.sql"
            file.write_text(text)
        return read_folder(tmp_path)

    return write


def row(version: str, name: str | None, text: str | None) -> AppliedRow:
    return AppliedRow(version, name, None if text is None else tuple(t for t in text.split(";") if t.strip()))


def look(
    folder: Folder,
    *rows: AppliedRow,
    absent: tuple[str, ...] = (),
    prefer: Prefer = "files",
    accepted: tuple[str, ...] = (),
    **more: object,
) -> Triage:
    past = History(tuple(rows), **more)  # type: ignore[arg-type]
    exists: Mapping[Named, bool] = {n: n.name not in absent for n in names_to_look_up(folder, past)}
    return triage(folder, past, exists, prefer, accepted)


def ids(found: Triage) -> list[str]:
    return [finding.id for finding in found.disagreements]


def proposed(found: Triage) -> list[tuple[str, str | None, str | None]]:
    assert all(finding.proposal or finding.remedy for finding in found.disagreements)
    return [(p.action, p.row, p.file) for p in found.proposals]


def test_a_folder_and_a_history_in_step_raise_nothing(folder: Write) -> None:
    two = folder(v1_a=A, v2_b=B)
    found = look(two, row("1", "a", A), row("2", "other_name", B.replace(" ", "\n ")))
    assert (found.disagreements, found.in_step, found.pending) == ((), ("1", "2"), ())
    assert found.unknown == ()
    waiting = look(two, row("1", "a", A), absent=("public.b",))
    assert (waiting.disagreements, waiting.in_step, waiting.pending) == ((), ("1",), ("2",))


def test_an_own_timestamp_of_the_platform_is_recognised_by_name_and_text(folder: Write) -> None:
    found = look(folder(v1_a=A, v20_b=B), row("1", "a", A), row("20250101120000", "b", B))
    assert proposed(found) == [("move_row", "20250101120000", "20")]
    (finding,) = found.disagreements
    assert finding.evidence[1] == "the statements are equal"
    assert finding.proposal is not None
    assert finding.proposal.changes == ("history row 20250101120000: version 20250101120000 → 20",)


def test_or_the_file_is_renamed_with_its_companions(folder: Write, tmp_path: Path) -> None:
    (tmp_path / "rollbacks").mkdir()
    (tmp_path / "rollbacks" / "20_b.sql").write_text("-- destroys: table b\ndrop table public.b;")
    found = look(folder(v20_b=B), row("21", "b", B), prefer="history")
    assert proposed(found) == [("rename_file", "21", "20")]
    assert found.proposals[0].changes == (
        "file 20_b.sql → 21_b.sql",
        "file rollbacks/20_b.sql → rollbacks/21_b.sql",
    )


def test_a_row_whose_text_is_that_of_a_file_of_another_name(folder: Write) -> None:
    found = look(folder(v20_renamed=B), row("21", "b", B))
    assert proposed(found) == [("move_row", "21", "20")]
    assert "history row 21: name b → renamed" in found.proposals[0].changes


def test_of_two_files_of_one_name_the_text_decides(folder: Write) -> None:
    found = look(folder(v20_x=A, v21_x=B), row("30", "x", B), absent=("public.a",))
    assert proposed(found) == [("move_row", "30", "21")]
    assert "2 files have that name" in found.disagreements[0].evidence[2]
    # The other is neither taken nor complained about: it may be pending. It is only not proposed.
    assert ids(found) == ["moved-30"]


@pytest.mark.parametrize(
    ("files", "rows", "id_"),
    [
        ({"v20_x": A, "v21_x": A}, [row("30", "x", A)], "ambiguous-30"),  # two files of one name and text
        ({"v20_x": A, "v21_y": A}, [row("30", "z", A)], "ambiguous-30"),  # duplicated text
        ({"v20_x": A}, [row("30", "x", B)], "ambiguous-30"),  # the name says yes, the text no
        ({"v20_x": A}, [row("30", "x", None)], "ambiguous-30"),  # the name alone
        ({"v20_x": A, "v21_y": B}, [row("30", "x", B)], "ambiguous-30"),  # name and text contradict each other
        ({"v20_x": A}, [row("30", "x", A), row("31", "x", A)], "ambiguous-30"),  # two rows of one text
        ({"v20_x": A}, [row("20", "x", B)], "edited-20"),
        ({"v20_x": A}, [row("20", "x", A), row("30", "y", A)], "twice-30"),
        ({"v20_x": A}, [row("20", "x", A), row("30", "y", None)], "orphan-30"),
        ({"v20_x": A}, [row("20", "x", A), row("30", "y", B + "commit;")], "orphan-30"),
        ({"v20_x": A}, [row("20", "x", A), row("30", "../../y", B)], "orphan-30"),
        ({"v20_x": A}, [row("20", "x", A), row("30", "y.down", B)], "orphan-30"),
        ({"v20_x": A}, [row("20", "x", A), row("30", "y", "create index concurrently i on a (id)")], "orphan-30"),
    ],
)
def test_what_can_be_read_in_two_ways_is_left_to_people(
    folder: Write, files: dict[str, str], rows: list[AppliedRow], id_: str
) -> None:
    found = look(folder(**files), *rows)
    assert id_ in ids(found)
    assert found.proposals == ()
    assert all(finding.remedy for finding in found.disagreements)


def test_an_edited_file_is_told_from_one_whose_white_space_changed(folder: Write) -> None:
    event = Event("20", "applied", "0" * 64, datetime(2026, 1, 1, tzinfo=UTC), 5, "a@b:1")
    found = look(folder(v20_x=A), row("20", "x", A), events={"20": event})
    assert (ids(found), found.proposals) == (["checksum-20"], ())  # white space, or a repair that hides an edit
    vouched = look(folder(v20_x=A), row("20", "x", A), accepted=("20",), events={"20": event})
    assert proposed(vouched) == [("record_checksum", "20", "20")]
    (other,) = look(folder(v20_x=A, v21_y=B), row("20", "x", B), absent=("public.b",)).disagreements
    assert other.evidence[1] == "the recorded text is that of 21_y.sql"


def test_a_row_without_file_is_written_into_one_or_removed_by_what_the_catalog_says(folder: Write) -> None:
    only = folder(v1_a=A)
    kept = look(only, row("1", "a", A), row("30", "b", B))
    assert proposed(kept) == [("write_file", "30", None)]
    assert kept.proposals[0].changes == ("file 30_b.sql: written from the 1 recorded statements",)
    gone = look(only, row("1", "a", A), row("30", "b", B), absent=("public.b",))
    assert proposed(gone) == [("mark_reverted", "30", None)]
    unsure = look(only, row("1", "a", A), row("30", "b", B + "alter table a add b int;"), absent=("public.b",))
    assert proposed(unsure) == [("write_file", "30", None)]


def test_applied_says_the_history_and_the_catalog_says_no(folder: Write) -> None:
    both = folder(v1_a=A, v2_b=B)
    rows = (row("1", "a", A), row("2", "b", B))
    assert proposed(look(both, *rows, absent=("public.b",))) == [("mark_reverted", "2", None)]
    dropped = folder(v3_c="drop table public.b;")
    later = look(dropped, *rows, row("3", "c", "drop table public.b;"), absent=("public.b",))
    assert later.disagreements == ()
    assert "3_c.sql may have dropped or renamed it" in later.unknown[0]
    more = A + "create table public.a2 (); insert into public.a values (1);"
    part = look(
        folder(v1_a=more), row("1", "a", more), *rows[1:], row("3", "c", "drop table public.b;"), absent=("public.a2",)
    )
    assert ids(part) == ["partly-gone-1"]
    assert part.proposals == ()


def test_a_file_whose_objects_are_there_without_a_row(folder: Write) -> None:
    there = look(folder(v1_a=A + "comment on table public.a is 'x';"))
    assert proposed(there) == [("mark_applied", None, "1")]
    partly = look(folder(v1_a=A + B), absent=("public.b",))
    assert (ids(partly), partly.proposals) == (["partly-there-1"], ())
    journal = {("1", "up"): (JournalEntry(1, "x", "done"),)}
    interrupted = look(folder(v1_a=A), journal=journal)
    assert (interrupted.disagreements, interrupted.pending) == ((), ("1",))


def test_what_has_no_name_to_look_up_is_said_to_be_unknown(folder: Write) -> None:
    rows = "insert into public.a values (1);"
    found = look(folder(v1_a=A, v2_b=rows), row("1", "a", A), row("2", "b", rows))
    assert (found.disagreements, found.in_step) == ((), ("1", "2"))
    assert "create nothing by a name that can be looked up: 2." in found.unknown[0]


def test_without_recorded_statements_the_version_is_all_there_is(folder: Write) -> None:
    found = look(folder(v1_a=A), row("1", None, None))
    assert (found.disagreements, found.in_step) == ((), ("1",))
    assert "whether the text is what ran is unknown" in found.unknown[0]


C = "create table public.c (id integer);"


@pytest.mark.parametrize(
    ("files", "rows", "kept", "removed"),
    [
        # Into a new file, into the last one, into the first one.
        ({"v3_all": A + B}, [row("1", "a", A), row("2", "b", B)], "2", ("1",)),
        ({"v2_all": f"-- both\n{A}\n-- and\n{B}"}, [row("1", "a", A), row("2", "b", B)], "2", ("1",)),
        ({"v1_a": A + B, "v3_c": C}, [row("1", "a", A), row("2", "b", B), row("3", "c", C)], "1", ("2",)),
        # A dump of what they made says it in other words.
        (
            {"v2_all": "create table if not exists public.a (id int4); create table public.b (id int4);"},
            [row("1", "a", A), row("2", "b", B)],
            "2",
            ("1",),
        ),
    ],
)
def test_rows_that_were_squashed_into_a_file(
    folder: Write, files: dict[str, str], rows: list[AppliedRow], kept: str, removed: tuple[str, ...]
) -> None:
    found = look(folder(**files), *rows)
    (proposal,) = found.proposals
    assert (proposal.action, proposal.row, proposal.removed, proposal.rewrites) == ("squash_rows", kept, removed, True)
    assert len(found.disagreements) == 1, found.disagreements
    assert found.disagreements[0].evidence
    assert "squash_rows" not in {p.action for p in look(folder(**files), *rows, prefer="history").proposals}


@pytest.mark.parametrize(
    ("text", "absent"),
    [
        (A + "alter table public.a add x integer;" + B, ()),  # more than they said, and a file is older
        (A, ()),  # less
        (B + A, ()),  # another order
        ("create table public.a (id int4); create table public.b (id int4); create table public.d ();", ("public.d",)),
    ],
)
def test_what_is_no_squash_is_left_to_people(folder: Write, text: str, absent: tuple[str, ...]) -> None:
    rows = (row("0", "c", C), row("1", "a", A), row("2", "b", B))
    found = look(folder(v0_c=C, v3_all=text), *rows, absent=absent)
    assert "squash_rows" not in {proposal.action for proposal in found.proposals}


@pytest.mark.parametrize(
    ("files", "rows", "source", "becomes"),
    [
        # Neither has run: the second by name comes next, before what follows.
        ({"v1_a": A, "v1_b": B}, [], "1_b.sql", "2"),
        ({"v1_a": A, "v1_b": B, "v2_c": C}, [], "1_b.sql", "11"),
        # One has run: the other one moves, whatever their names are.
        ({"v1_a": A, "v1_b": B}, [row("1", "b", B)], "1_a.sql", "2"),
        # A newer one has run: only after that.
        ({"v1_a": A, "v1_b": B, "v5_c": C}, [row("1", "a", A), row("5", "c", C)], "1_b.sql", "6"),
        # Its row is known.
        ({"v1_a": A, "v1_b": B}, [row("1", "a", A), row("4", "other", B)], "1_b.sql", "4"),
    ],
)
def test_two_files_of_one_version(
    folder: Write, files: dict[str, str], rows: list[AppliedRow], source: str, becomes: str
) -> None:
    found = look(folder(**files), *rows, absent=("public.a", "public.b") if not rows else ())
    (finding,) = (one for one in found.disagreements if one.id.startswith("double-"))
    assert finding.proposal is not None
    assert (finding.proposal.source, finding.proposal.becomes) == (source, becomes)
    assert finding.proposal.changes == (f"file {source} → {becomes}_{source.partition('_')[2]}",)
    assert not [one.id for one in found.disagreements if one.id.startswith("orphan-")]


def test_a_copy_is_to_be_removed(folder: Write) -> None:
    (finding,) = look(folder(v1_a=A, v1_b=A), row("1", "a", A)).disagreements
    assert (finding.proposal, finding.remedy) == (None, "Remove 1_b.sql, with its rollback and verify file.")


def test_a_renamed_file_is_known_though_its_comments_changed(folder: Write) -> None:
    found = look(folder(v20_b=f"-- what it is for\n{B}"), row("10", "other", B))
    assert proposed(found) == [("move_row", "10", "20")]
    (finding,) = found.disagreements
    assert "the statements are equal, the comments are not" in finding.evidence
    assert finding.proposal is not None
    assert finding.proposal.rewrites
