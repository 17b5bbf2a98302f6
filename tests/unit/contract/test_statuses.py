"""The transition table: what it allows, what it refuses, and that nothing leaves a final status."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.contract.statuses import (
    FINAL,
    RUNNING,
    TRANSITIONS,
    Action,
    IllegalTransition,
    Status,
    advance,
    allowed_from,
    legal_status_changes,
)


@given(status=st.sampled_from(sorted(FINAL)), action=st.sampled_from(Action))
def test_nothing_follows_a_final_status(status: Status, action: Action) -> None:
    with pytest.raises(IllegalTransition) as refused:
        advance(status, action)
    assert status not in refused.value.allowed


def test_an_error_can_be_resumed_and_nothing_else() -> None:
    assert {action for status, action in TRANSITIONS if status is Status.ERROR} == {Action.RESUME}


def test_only_an_open_prompt_can_be_answered() -> None:
    assert allowed_from(Action.ANSWER) == {Status.USER_INPUT_REQUIRED}


def test_every_status_that_is_not_final_can_be_left() -> None:
    for status in set(Status) - FINAL:
        assert any(leaves is status for leaves, _ in TRANSITIONS), status


def test_resuming_ends_with_the_first_step() -> None:
    assert advance(Status.RESUMING, Action.ADVANCE) is Status.IN_PROGRESS
    assert advance(Status.AUTO_PROGRESSING, Action.ADVANCE) is Status.AUTO_PROGRESSING


def test_legal_changes_never_leave_a_final_status_or_stand_still() -> None:
    for before, after in legal_status_changes():
        assert before not in FINAL
        assert before is not after
    assert (Status.PAUSED, Status.COMPLETED) not in legal_status_changes()
    assert all((status, Status.ERROR) in legal_status_changes() for status in RUNNING)
