"""What counts as a change of a row, and what does not."""

from toolkit.rehearse.rows import Rows, TableRows, changes


def rows(**values: tuple[str | None, ...]) -> Rows:
    return Rows({"public.t": TableRows(("id", "a", "b"), {(key,): hashes for key, hashes in values.items()})})


BEFORE = rows(x=("1", "2", None), y=("3", "4", "5"))


def test_rows_and_columns_that_were_added_do_not_matter():
    wider = Rows(
        {
            "public.t": TableRows(
                ("new", "b", "a", "id"),
                {("x",): ("n", None, "2", "1"), ("y",): ("n", "5", "4", "3"), ("z",): ("n", "8", "7", "6")},
            ),
            "public.other": TableRows(("id",), {("q",): ("0",)}),
        }
    )
    assert changes(BEFORE, wider) == ()
    assert BEFORE.part_of(wider).digest() == BEFORE.digest()
    assert wider.like(BEFORE).digest() != BEFORE.digest(), "the row that was added is one of these"
    assert wider.like(BEFORE).without({"public.t": {("z",)}}).digest() == BEFORE.digest()


def test_null_is_a_value_of_its_own():
    after = rows(x=("1", "2", "d41d8cd98f00b204e9800998ecf8427e"), y=("3", "4", "5"))
    assert [str(change) for change in changes(BEFORE, after)] == ["public.t.b of row x is different"]
    assert BEFORE.part_of(after).digest() != BEFORE.digest()


def test_what_is_gone_is_named():
    assert [str(change) for change in changes(BEFORE, rows(x=("1", "2", None)))] == ["public.t of row y is gone"]
    assert [str(change) for change in changes(BEFORE, Rows({}))] == ["public.t is gone"]
    assert BEFORE.part_of(Rows({})).digest() != BEFORE.digest()


def test_swapped_values_have_another_digest():
    assert rows(x=("1", "2", "3")).digest() != rows(x=("1", "3", "2")).digest()
    assert rows(x=("1", "2", "3")).digest() != rows(y=("1", "2", "3")).digest()


def test_counts():
    assert (BEFORE.count, BEFORE.values) == (2, 6)
