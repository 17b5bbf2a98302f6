"""The model writer against a real HTTP endpoint that speaks the API, well-behaved and not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from reference_server.generation.openai_writer import OpenAIWriter
from reference_server.generation.writer import Assignment, WriterError
from tests.support.generation import bench, request
from tests.support.logs import check_log
from tests.support.model_server import Reply, completion, from_schema, model_server
from toolkit.contract.statuses import Status

GOOD = {"primary_keyword": "庭", "related_keywords": ["土"], "search_intent": "方法", "summary": "まとめ"}
JOB = Assignment(request())


def well_behaved(question: dict[str, Any]) -> Reply:
    return completion(from_schema(question["answer_json_schema"]))


async def ask(reply: Callable[[dict[str, Any]], Reply], **options: Any) -> tuple[Any, int]:
    """What `analyze_keywords` gave or raised, and how many requests that took."""
    with model_server(reply, delay_s=options.pop("delay_s", 0)) as model:
        writer = OpenAIWriter(model.base_url, "key-1", "m", retry_pause_s=0.001, **options)
        try:
            answer: Any = await writer.analyze_keywords(JOB)
        except WriterError as error:
            answer = error
        finally:
            await writer.close()
        assert set(model.authorizations) == {"Bearer key-1"}
        return answer, len(model.questions)


async def test_a_whole_generation_written_by_a_model(emptied_db: str) -> None:
    with model_server(well_behaved) as model:
        writer = OpenAIWriter(model.base_url, None, "m")
        async with bench(emptied_db) as b:
            b.worker(writer)
            process_id = await b.start(image_mode=True)
            view = await b.to_the_end(process_id)
            assert view.status is Status.COMPLETED
            check_log(await b.events(process_id))
        await writer.close()
        assert model.authorizations[0] is None
        assert model.questions[0]["request"]["initial_keywords"] == ["家庭菜園", "初心者"]


async def test_an_answer_in_a_code_fence_is_read() -> None:
    answer, asked = await ask(lambda _: completion(None, text=f"```json\n{json.dumps(GOOD)}\n```"))
    assert (answer.primary_keyword, asked) == ("庭", 1)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_endpoint_is_asked_again(status: int) -> None:
    replies = iter([(status, {"Retry-After": "0.01"}, "busy"), completion(GOOD)])
    answer, asked = await ask(lambda _: next(replies))
    assert (answer.primary_keyword, asked) == ("庭", 2)


@pytest.mark.parametrize(
    ("reply", "asked", "retryable", "says"),
    [
        ((503, {}, ""), 3, True, "answered 503"),
        ((401, {}, ""), 1, False, "answered 401; check OPENAI_BASE_URL"),
        ((400, {}, ""), 1, False, "answered 400"),
        ((200, {}, "<html>"), 1, True, "without choices"),
        ((200, {}, '{"choices": []}'), 1, True, "without choices"),
        (completion(None, text="Sure! Here is"), 1, True, "not as asked"),
        (completion({**GOOD, "summary": 5}), 1, True, "not as asked: summary"),
        (completion({"primary_keyword": ""}), 1, True, "not as asked: primary_keyword"),
    ],
)
async def test_answers_that_cannot_be_used(reply: Reply, asked: int, retryable: bool, says: str) -> None:
    error, count = await ask(lambda _: reply)
    assert isinstance(error, WriterError)
    assert says in str(error)
    assert (count, error.retryable) == (asked, retryable)
    assert "key-1" not in str(error)


async def test_a_model_that_takes_too_long() -> None:
    error, _ = await ask(lambda _: completion(GOOD), delay_s=0.3, deadline_s=0.05)
    assert isinstance(error, WriterError)
    assert "within 0.05 s" in str(error)
    assert error.retryable


async def test_an_endpoint_that_is_not_there() -> None:
    writer = OpenAIWriter("http://127.0.0.1:9/v1", None, "m", retry_pause_s=0.001)
    with pytest.raises(WriterError, match="does not answer") as caught:
        await writer.analyze_keywords(JOB)
    assert caught.value.retryable
    await writer.close()
