"""`toolkit.pytest` as a team meets it: a suite of their own, with scenarios, proofs and fixtures beside their tests."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.xdist_group("plugin")

GOOD = """
scenario: good
title: One answer
users: [alice]
processes:
  article: {user: alice, answers: manual, body: {initial_keywords: [small]}}
steps:
  - {start: article, point: 1.1 Start}
  - until: article waits for select_persona
check:
  article: [no-gap, no-loss, no-duplicate, order]
"""
# It did not write five articles.
PLANTED = GOOD.replace("scenario: good", "scenario: planted").replace(
    "check:", "  - {database: article, expect: {articles: 5}}\ncheck:"
)
THEIR_TESTS = """
import asyncpg
import httpx
import pytest

SEEN = []


def test_the_system_is_ready(toolkit_target):
    assert toolkit_target.kind == "embedded"
    assert httpx.get(f"{toolkit_target.api_url}/health/ready").status_code == 200


@pytest.mark.parametrize("number", [1, 2])
def test_each_has_a_database_of_its_own(toolkit_scratch_database, number):
    import asyncio

    async def use():
        conn = await asyncpg.connect(toolkit_scratch_database, timeout=10)
        try:
            await conn.execute("insert into public.things (name) values ('mine')")
            return await conn.fetchval("select count(*) from public.things")
        finally:
            await conn.close()

    assert toolkit_scratch_database not in SEEN
    SEEN.append(toolkit_scratch_database)
    assert asyncio.run(use()) == 1
"""


def migrations(folder: Path, rollback: str) -> Path:
    (folder / "rollbacks").mkdir(parents=True)
    name = "20260101000000_things.sql"
    (folder / name).write_text(
        "create table public.things (id bigint generated always as identity primary key, name text not null);\n"
        "alter table public.things enable row level security;\n"
    )
    (folder / "rollbacks" / name).write_text(rollback)
    return folder


def inner(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:xdist", *arguments, timeout=110)


def test_scenarios_and_fixtures_in_a_suite_of_ones_own(pytester: pytest.Pytester) -> None:
    scenarios = pytester.mkdir("flows")
    (scenarios / "good.yaml").write_text(GOOD)
    (scenarios / "planted.yaml").write_text(PLANTED)
    migrations(pytester.path / "migrations", "-- destroys: table public.things\ndrop table public.things;\n")
    pytester.makepyfile(test_theirs=THEIR_TESTS)
    result = inner(
        pytester,
        "--toolkit-scenarios=flows",
        "--toolkit-migrations=migrations",
        "--toolkit-transport=realtime",
        "--toolkit-reports-dir=runs",
        "-v",
    )
    result.assert_outcomes(passed=4, failed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*scenarios/good.yaml::good?realtime? PASSED*", "*scenarios/planted.yaml::planted?realtime? FAILED*"]
    )
    told = result.stdout.str()
    assert "expected articles to be 5, got 0" in told
    assert "run note expect" in told, "the witness: the record of the history that shows it"
    assert "Page of the run: " in told
    assert "Traceback" not in told
    assert "runtest" not in told, "our own code is no part of a failure"
    assert len(list((pytester.path / "runs").iterdir())) == 2


def test_a_folder_without_scenarios_is_refused(pytester: pytest.Pytester) -> None:
    pytester.mkdir("flows")
    outcome = inner(pytester, "--toolkit-scenarios=flows")
    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    outcome.stderr.fnmatch_lines(["*--toolkit-scenarios: *flows holds no scenario.*"])
    (pytester.path / "flows" / "good.yml").write_text(GOOD)
    outcome = inner(pytester, "--toolkit-scenarios=flows", "--collect-only", "-q")
    outcome.stdout.fnmatch_lines(["*good.yml*"])


def test_proofs_are_tests_and_a_planted_rollback_fails(pytester: pytest.Pytester) -> None:
    migrations(pytester.path / "migrations", "-- destroys: table public.things\ndrop table public.things;\n")
    migrations(
        pytester.path / "broken",
        "-- destroys: table public.things\ndrop table public.things;\ncreate table public.left_behind (id int);\n",
    )
    pytester.makepyfile(
        test_theirs="def test_on_it(toolkit_scratch_database):\n    raise AssertionError('never reached')\n"
    )
    result = inner(pytester, "--toolkit-proofs=migrations", "-k", "replay or round-trip", "-v")
    result.assert_outcomes(passed=2, deselected=7)
    result = inner(pytester, "--toolkit-proofs=broken", "-k", "round-trip or on_it", "-v")
    result.assert_outcomes(failed=1, errors=1, deselected=7)
    told = result.stdout.str()
    assert told.count("left_behind") >= 2, "the test and the fixture both show what refutes it"
    assert "never reached" not in told
    assert "Traceback" not in told


def test_a_file_that_cannot_be_read_is_an_error_with_its_line(pytester: pytest.Pytester) -> None:
    (pytester.mkdir("flows") / "bad.yaml").write_text("scenario: bad\ntitel: Bad\n")
    result = inner(pytester, "--toolkit-scenarios=flows")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*bad.yaml:2:1: expected no key `titel`*"])
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--toolkit-scenarios=nowhere",), "nowhere is no folder"),
        (("--toolkit-scenarios", "--toolkit-target=external"), "needs at least one URL"),
        (("--toolkit-scenarios", "--toolkit-target=external", "--toolkit-api-url=x"), "API_URL: must be an http"),
    ],
)
def test_wrong_requests_are_answered_in_words(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    for name in ("API_URL", "SUPABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    result = inner(pytester, *arguments)
    assert result.ret == 4
    assert says in result.stderr.str()
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


def test_the_shipped_scenarios_are_collected_on_each_of_their_transports(pytester: pytest.Pytester) -> None:
    result = inner(pytester, "--toolkit-scenarios", "--collect-only", "-q", "-k", "complete-generation-flow")
    result.stdout.fnmatch_lines(
        [
            "*complete-generation-flow.yaml::complete-generation-flow?realtime?",
            "*complete-generation-flow.yaml::complete-generation-flow?websocket?",
        ],
        consecutive=False,
    )
