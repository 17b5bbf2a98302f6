"""What counts as a change of a row, and what does not."""

from toolkit.migrate.row_comparison.table_rows import TableRows
from toolkit.rehearse.stage.rows import Rows, changes


def table(columns: tuple[str, ...], rows: dict[str, tuple[str, ...]]) -> Rows:
    return Rows({"public.t": TableRows("public.t", columns, tuple(rows.items()), ("id",))})


def rows(**values: tuple[str, ...]) -> Rows:
    return table(("id", "a", "b"), values)


BEFORE = rows(x=("1", "2", "6"), y=("3", "4", "5"))


def test_rows_and_columns_that_were_added_do_not_matter():
    added = {"x": ("n", "6", "2", "1"), "y": ("n", "5", "4", "3"), "z": ("n", "8", "7", "6")}
    other = TableRows("public.other", ("id",), (("q", ("0",)),), ("id",))
    wider = Rows({**table(("new", "b", "a", "id"), added).tables, "public.other": other})
    assert changes(BEFORE, wider) == ()
    assert wider.like(BEFORE, keys=True).digest() == BEFORE.digest()
    assert wider.like(BEFORE).digest() != BEFORE.digest(), "the row that was added is one of these"
    assert wider.like(BEFORE).without({"public.t": {"z"}}).digest() == BEFORE.digest()


def test_a_changed_value_is_named_by_row_and_column():
    after = rows(x=("1", "2", "7"), y=("3", "4", "5"))
    assert [*changes(BEFORE, after)] == ["public.t.b of row x is different"]
    assert after.like(BEFORE, keys=True).digest() != BEFORE.digest()


def test_what_is_gone_is_named():
    assert [*changes(BEFORE, rows(x=("1", "2", "6")))] == ["public.t of row y is gone"]
    assert [*changes(BEFORE, Rows({}))] == ["public.t is gone"]
    assert Rows({}).like(BEFORE, keys=True).digest() != BEFORE.digest()
    narrow = table(("id", "a"), {"x": ("1", "2"), "y": ("3", "4")})
    assert [*changes(BEFORE, narrow)] == ["public.t.b is gone"]


def test_swapped_values_have_another_digest():
    assert rows(x=("1", "2", "3")).digest() != rows(x=("1", "3", "2")).digest()
    assert rows(x=("1", "2", "3")).digest() != rows(y=("1", "2", "3")).digest()


def test_counts():
    assert (BEFORE.count, BEFORE.values) == (2, 6)
