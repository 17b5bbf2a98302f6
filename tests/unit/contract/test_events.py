"""Every event type is specified, and missing data is found."""

from __future__ import annotations

from toolkit.contract.events import EVENTS, TERMINAL, EventType, missing_keys


def test_every_type_has_a_specification() -> None:
    assert set(EVENTS) == set(EventType)
    assert set(EVENTS) >= TERMINAL


def test_missing_data_is_named() -> None:
    assert missing_keys("test_event", {}) == {"message"}
    assert missing_keys("test_event", {"message": "hello"}) == frozenset()
    assert missing_keys("written_by_someone_else", {}) == frozenset()
