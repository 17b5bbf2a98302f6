"""What two pictures of rows say about each other, and what a header excuses."""

from __future__ import annotations

from toolkit.migrate.folder.headers import Destroyed
from toolkit.migrate.prove.data.declared import undeclared
from toolkit.migrate.row_comparison.pictures import Picture, compare
from toolkit.migrate.row_comparison.table_rows import RowChanges, TableRows


def picture(
    rows: dict[str | None, tuple[str, ...]] | list[tuple[str | None, tuple[str, ...]]],
    columns: tuple[str, ...] = ("id", "note"),
) -> Picture:
    listed = tuple(rows.items()) if isinstance(rows, dict) else tuple(rows)
    return Picture({}, {"public.t": TableRows("public.t", columns, listed, ("id",))})


BEFORE = picture({"1": ("1", "a"), "2": ("2", "b")})


def test_the_same_rows_in_another_order_with_a_new_column_are_no_damage() -> None:
    after = picture({"2": ("x", "2", "b"), "1": ("y", "1", "a")}, ("extra", "id", "note"))
    assert compare(BEFORE, after) == ()


def test_some_rows_are_named_in_the_order_of_their_keys_and_the_rest_counted() -> None:
    named = RowChanges("public.t", lost=("10", "9", "-1", "b", "1.5", "a"), added=("2\x1fb", "10\x1fa", "2\x1fa", ""))
    assert named.lines() == (
        "public.t: 6 rows are lost (of rows -1, 1.5, 9, … and 3 more)",
        "public.t: 4 rows are new (of rows 2 / a, 2 / b, 10 / a)",
    )
    assert RowChanges("public.t", lost=("", "")).lines() == ("public.t: 2 rows are lost",)


def test_each_kind_of_damage_is_said_with_its_numbers() -> None:
    (damage,) = compare(BEFORE, picture({"2": ("2", "B"), "3": ("3", "c")}))
    assert damage.lines() == (
        "public.t: 1 row is lost (of row 1)",
        "public.t: 1 row is new (of row 3)",
        "public.t.note: 1 value is not what it was (of row 2)",
    )
    assert compare(BEFORE, Picture({}, {}))[0].lines() == ("public.t is gone, with all its rows",)
    assert compare(BEFORE, Picture({}, {}), only_common=True) == ()
    fewer = picture({"1": ("1",), "2": ("2",)}, ("id",))
    assert compare(BEFORE, fewer)[0].lines() == ("public.t.note is gone, with its values",)
    assert compare(BEFORE, fewer, only_common=True) == ()


def test_rows_without_a_key_are_compared_by_how_many_there_are_of_each() -> None:
    twins = picture([(None, ("1", "a")), (None, ("1", "a")), (None, ("2", "b"))])
    assert compare(twins, picture([(None, ("2", "b")), (None, ("1", "a")), (None, ("1", "a"))])) == ()
    assert compare(twins, picture([(None, ("1", "a")), (None, ("2", "b"))]))[0].lines() == ("public.t: 1 row is lost",)
    assert (
        "public.t.note: 1 value is"
        in compare(twins, picture([(None, ("1", "a")), (None, ("1", "c")), (None, ("2", "b"))]))[0].lines()[0]
    )
    swapped = picture([(None, ("1", "a")), (None, ("1", "b")), (None, ("2", "a"))])
    assert "moved between rows" in compare(twins, swapped)[0].lines()[0]


def test_a_header_excuses_what_it_names_and_no_more() -> None:
    damage = RowChanges("public.t", lost=("1",), changed={"a": ("1",), "b": ("1",)})
    assert undeclared([damage], [Destroyed("public.t")]) == ()
    assert undeclared([damage], [Destroyed("public.t", rows_only=True)]) == ()
    (left,) = undeclared([damage], [Destroyed("public.t", ("a",))])
    assert (left.lost, set(left.changed)) == (("1",), {"b"})
    assert undeclared([damage], [Destroyed("public.u")]) == (damage,)
    gone = RowChanges("public.t", gone=True)
    assert undeclared([gone], [Destroyed("public.t", rows_only=True)]) == (gone,)
    assert undeclared([RowChanges("public.t", missing_columns=("a",))], [Destroyed("public.t", ("a",))]) == ()
