"""Which points of a run are tried, and when two looks at a database differ."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.migrate.catalog import Snapshot
from toolkit.migrate.folder.files import Script, read_script
from toolkit.migrate.prove.crash.points import Point, chosen, points_of
from toolkit.migrate.prove.crash.state_digest import StateDigest, common, differences

FACTS = Snapshot({"table public.t": "{}", "column public.t.a": '{"type":"text"}'})
LOOK = StateDigest(
    FACTS, FACTS.digest(), {"rows of public.t": "3:77", "number of rows of public.t": "3"}, {"public.s": 5}, 1
)


@pytest.fixture
def script(tmp_path: Path) -> Script:
    file = tmp_path / "1_x.sql"
    file.write_text("".join(f"create table t{number} ();\n" for number in range(1, 11)))
    return read_script(file)


@pytest.fixture
def alone(tmp_path: Path) -> Script:
    file = tmp_path / "2_y.sql"
    file.write_text("-- toolkit: transaction=false\ncreate index concurrently i on t (a);\nselect 1;")
    return read_script(file)


def test_a_file_in_a_transaction_has_two_points_a_statement_and_two_at_its_commit(script: Script) -> None:
    points = points_of(script)
    assert len(points) == 22
    assert str(points[0]) == "before statement 1 (1_x.sql:1)"
    assert str(points[-1]) == "just after the commit of 1_x.sql"


def test_a_file_without_transaction_has_the_commits_of_its_journal_too(alone: Script) -> None:
    assert [(point.kind, point.index) for point in points_of(alone)] == [
        ("before_statement", 1),
        ("inside", 1),
        ("after_statement", 1),
        ("before_commit", 1),
        ("after_commit", 1),
        ("before_statement", 2),
        ("after_statement", 2),
        ("before_commit", 2),
        ("after_commit", 2),
        ("before_commit", 0),
        ("after_commit", 0),
    ]


@pytest.mark.parametrize("most", [1, 3, 4, 7, 12, 21])
def test_a_choice_is_spread_and_always_has_both_ends(script: Script, most: int) -> None:
    points = points_of(script)
    picked = chosen(points, most)
    assert len(picked) == len(set(picked)) == max(most, 3)
    assert (picked[0], *picked[-2:]) == (points[0], *points[-2:])
    places = [points.index(point) for point in picked]
    assert places == sorted(places)
    if most >= 7:
        assert max(later - earlier for earlier, later in itertools.pairwise(places)) <= 2 * 22 / (most - 3)


def test_points_inside_a_statement_come_before_those_between(alone: Script) -> None:
    assert [(point.kind, point.index) for point in chosen(points_of(alone), 4)] == [
        ("before_statement", 1),
        ("inside", 1),
        ("before_commit", 0),
        ("after_commit", 0),
    ]


@pytest.mark.parametrize("most", [0, 22, 500])
def test_every_point_is_tried_where_there_is_room(script: Script, most: int) -> None:
    assert chosen(points_of(script), most) == points_of(script)


def test_equal_looks_do_not_differ_and_a_number_drawn_is_no_difference() -> None:
    assert differences(LOOK, LOOK) == ()
    assert differences(LOOK, replace(LOOK, positions={"public.s": 9, "public.new": 1}, ledger=4)) == ()


def test_each_kind_of_difference_is_named() -> None:
    facts = Snapshot({"table public.t": "{}", "table public.u": "{}", "column public.u.a": "{}"})
    now = StateDigest(facts, facts.digest(), {"rows of public.t": "3:78", "history row 1": "x"}, {"public.s": 4}, 1)
    assert differences(LOOK, now) == (
        "added: table public.u",
        "removed: column public.t.a",
        "added: column public.u.a",
        "added: history row 1",
        "rows of public.t: the same number, 3, but other values",
        "sequence public.s goes on at 4, before it was 5: setval is not undone by a rollback, and numbers may be given "
        "twice",
    )


def test_what_two_healthy_runs_disagree_about_is_not_compared_but_still_counted() -> None:
    other = replace(LOOK, parts={**LOOK.parts, "rows of public.t": "3:99"})
    expected = common(LOOK, other)
    assert expected.uncertain_tables == ("public.t",)
    assert differences(expected, replace(LOOK, parts={**LOOK.parts, "rows of public.t": "3:1"})) == ()
    lost = replace(LOOK, parts={"rows of public.t": "2:1", "number of rows of public.t": "2"})
    assert differences(expected, lost) == ("number of rows of public.t: 3 → 2",)


def test_points_are_said_in_words() -> None:
    assert str(Point("inside", 4, "2_y.sql:9")) == "inside statement 4 (2_y.sql:9)"
    assert str(Point("before_commit", 4, "2_y.sql:9")) == "just before the commit of statement 4 (2_y.sql:9)"
