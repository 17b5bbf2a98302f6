"""The history file: what is written is read back, flushed as it is made, and free of secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.scenarios.histories import good
from toolkit.errors import UsageError
from toolkit.scenarios.recorded.history import History, dump, load


def test_every_record_is_on_disk_at_once(tmp_path):
    path = tmp_path / "history.jsonl"
    history = History(path)
    history.add("invoke", "user:alice", "start", value={"keywords": ["a"]}, call=history.next_call())
    history.add("deliver", "watch:a", process="p", seq=3, event_id="e", via="live", value={"type": "t", "data": {}})
    assert load(path) == history.records
    history.close()
    assert [record.i for record in load(path)] == [0, 1]


def test_a_killed_writer_loses_its_last_line_only(tmp_path):
    path = tmp_path / "history.jsonl"
    content = dump(good().records)
    path.write_bytes(content[:-7])
    assert load(path) == tuple(good().records[:-1])


def test_secrets_are_never_stored(tmp_path):
    history = History(tmp_path / "history.jsonl")
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
    history.add("invoke", "u", value={"headers": {"Authorization": f"Bearer {token}"}, "token": "plainsecret"})
    history.add("info", "u", error=f"no answer from wss://h/ws?apikey=plainsecret&token={token}")
    history.close()
    stored = (tmp_path / "history.jsonl").read_text()
    assert "plainsecret" not in stored
    assert "c2lnbmF0dXJl" not in stored


@pytest.mark.parametrize(
    "line", ["not json", '{"kind":"deliver"}', '{"i":0,"t_ns":1,"wall":"","actor":"a","kind":"x"}']
)
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "history.jsonl"
    path.write_bytes(dump(good().records[:2]) + line.encode() + b"\n")
    with pytest.raises(UsageError, match=r"history\.jsonl:3"):
        load(path)


def test_a_missing_history_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "history.jsonl")


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=5))
def test_any_json_value_survives(value):
    history = History()
    record = history.add("note", "x", value={"v": value})
    assert record.value["v"] == value or "***" in str(record.value)


def test_records_that_wait_are_written_in_portions_and_nobody_reads_a_secret(tmp_path):
    history = History(tmp_path / "history.jsonl", at_once=False)
    for number in range(3):
        history.add("deliver", "watch:a", seq=number, value={"token": "eyJhbGciOi.x.y", "n": number})
    assert (history.waiting, (tmp_path / "history.jsonl").read_bytes()) == (3, b"")
    history.write_out(2)
    assert (history.waiting, len(load(tmp_path / "history.jsonl"))) == (1, 2)
    assert [record.value for record in history.records] == [{"token": "***", "n": number} for number in range(3)]
    assert load(tmp_path / "history.jsonl") == history.records
    history.add("note", "run", error="postgresql://me:secret@host/db")
    history.close()
    assert "secret" not in (tmp_path / "history.jsonl").read_text()
    assert len(load(tmp_path / "history.jsonl")) == 4
