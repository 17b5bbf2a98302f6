"""A Realtime that lies, before a client with recovery and before one without: the judges tell them apart."""

from dataclasses import replace

import httpx
import pytest

from tests.support.lying_realtime import lying_realtime
from tests.support.naive_stream import NaiveStream
from toolkit.client.stream import ProcessEventStream
from toolkit.report.record import Verdict
from toolkit.scenarios.model.reading import parse
from toolkit.scenarios.run import run_scenario

pytestmark = pytest.mark.xdist_group("scenarios")

# The prompt is answered by hand once the stream is live, so that what is spoilt comes over the subscription.
SCENARIO = """
scenario: planted
title: A planted defect
users: [alice]
processes:
  article: {user: alice, answers: manual, body: {initial_keywords: [planted], auto_mode: false}}
  other: {user: alice, answers: manual, body: {initial_keywords: [other]}}
steps:
  - start: article
  - start: other
  - until: article is live
  - until: other is live
  - {database: article, within: 20s, expect: {state.status: user_input_required}}
  - {answer: article, give: {response_type: select_persona, payload: {selected_id: 0}}}
  - {database: article, within: 20s, expect: {state.input_type: select_theme, state.is_waiting_for_input: true}}
check:
  article: [no-loss, no-duplicate, order, database-equals-delivered, isolation-processes]
"""


STRAY = """
scenario: stray
title: One start, one process
users: [alice]
processes:
  article: {user: alice, answers: manual, body: {initial_keywords: [stray]}}
steps:
  - start: article
  - request: POST /api/articles/generation/start?x=1
    user: alice
    body: {initial_keywords: [y]}
    expect: {status: 201}
  - until: article waits for select_persona
check:
  article: [commands]
"""


class Spoiler:
    """Spoils the changes of one event type of one process."""

    def __init__(self, how):
        self.how = how
        self.spoilt = 0
        self.held = None

    def __call__(self, row, frame):
        if self.held is not None:
            held, self.held = self.held, None
            return [frame, held]
        if row["event_type"] != "user_input_resolved":
            return [frame]
        self.spoilt += 1
        match self.how:
            case "drop":
                return []
            case "double":
                return [frame, frame]
            case "swap":
                self.held = frame
                return []
            case "alter":
                row["event_data"] = {**row["event_data"], "input_type": "select_theme"}
            case "leak":
                row["process_id"] = "00000000-0000-4000-8000-000000000000"
        return [frame]


async def run(system, tmp_path, how, make_stream):
    scenario = parse(SCENARIO)
    await system.configure("realtime", {})
    spoiler = Spoiler(how)
    async with lying_realtime(system.target.supabase_url, spoiler) as url:
        target = replace(system.target, supabase_url=url)
        result = await run_scenario(scenario, target, runs_dir=tmp_path, make_stream=make_stream)
    assert spoiler.spoilt == 1, [c for c in result.report.checks if c.verdict is not Verdict.PASS]
    return result, {c.id.partition(":")[0]: c for c in result.report.checks}


@pytest.mark.parametrize(
    ("how", "judge"),
    [
        ("drop", "no-loss"),
        ("double", "no-duplicate"),
        ("swap", "order"),
        ("alter", "database-equals-delivered"),
        ("leak", "isolation-processes"),
    ],
)
async def test_without_recovery_the_right_judge_fails(system, tmp_path, how, judge):
    result, checks = await run(system, tmp_path, how, NaiveStream)
    assert checks[judge].verdict is Verdict.FAIL, checks[judge]
    assert checks[judge].witness
    assert result.verdict is Verdict.FAIL
    (article,) = result.facts.named("article")
    resolved = article.of_type("user_input_resolved")[0].seq
    if how == "drop":
        assert resolved not in {record.seq for record in article.delivered}


@pytest.mark.parametrize("how", ["drop", "double", "swap"])
async def test_the_lossless_stream_repairs_what_can_be_repaired(system, tmp_path, how):
    result, checks = await run(system, tmp_path, how, ProcessEventStream)
    for judge in ("no-loss", "no-duplicate", "order", "database-equals-delivered"):
        assert checks[judge].verdict is Verdict.PASS, checks[judge]
    assert result.verdict is Verdict.PASS


async def test_a_leak_is_seen_even_when_the_client_drops_it(system, tmp_path):
    result, checks = await run(system, tmp_path, "leak", ProcessEventStream)
    assert checks["isolation-processes"].verdict is Verdict.FAIL
    assert checks["no-loss"].verdict is Verdict.PASS
    assert result.verdict is Verdict.FAIL


async def test_a_process_that_no_answer_named_is_found(system, tmp_path):
    """As a start makes one that is sent again after its answer was lost, where keys are not honoured."""
    await system.configure("realtime", {})

    def start_another(*arguments, token, **options):
        begun = httpx.post(
            f"{system.target.api_url}/api/articles/generation/start",
            json={"initial_keywords": ["stray"]},
            headers={"Authorization": f"Bearer {token.current}"},
        )
        assert begun.status_code == 201
        return ProcessEventStream(*arguments, token=token, **options)

    for with_database in (True, False):
        target = system.target if with_database else replace(system.target, kind="external", database_url=None)
        result = await run_scenario(parse(STRAY), target, runs_dir=tmp_path, make_stream=start_another)
        (check,) = (c for c in result.report.checks if c.id == "commands:article")
        assert (check.verdict, "no answer to a start named" in check.detail) == (Verdict.FAIL, True), check
    result = await run_scenario(parse(STRAY), system.target, runs_dir=tmp_path)
    assert result.verdict is Verdict.PASS, "what a request step started is nobody's stray"
