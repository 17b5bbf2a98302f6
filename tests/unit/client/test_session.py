"""What `ArticleGeneration` makes of a log that begins anew."""

from __future__ import annotations

import asyncio

from toolkit.client.effects import HistoryRestarted
from toolkit.client.events import ProcessEvent
from toolkit.client.session import ArticleGeneration
from toolkit.client.state import GenerationState
from toolkit.contract.events import EventType
from toolkit.contract.prompts import InputType


def question(sequence: int) -> ProcessEvent:
    data = {"input_type": InputType.SELECT_PERSONA, "data": {"personas": [{}]}}
    return ProcessEvent(sequence=sequence, id=f"e{sequence}", type=EventType.USER_INPUT_REQUIRED, data=data)


async def test_the_state_begins_anew_and_a_question_with_a_lower_number_is_a_new_one() -> None:
    async with ArticleGeneration("http://127.0.0.1:9", "http://127.0.0.1:9", "key", "token") as article:
        article.events.append(question(480))
        article.state = article.state.apply(question(480))
        answered = (len(article.restarts), article.state.prompt_sequence)
        article._begin_anew(HistoryRestarted(500, 7))
        assert (article.state, article.events) == (GenerationState(), [])
        article.state = article.state.apply(question(5))
        assert article.state.is_waiting_for_input
        async with asyncio.timeout(5):
            assert await article._next_question(after=answered) is article.state
    assert article.restarts == [HistoryRestarted(500, 7)]
