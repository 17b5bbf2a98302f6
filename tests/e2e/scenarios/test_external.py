"""Scenarios against a system that others started: by its URLs, with and without its database, before the migration."""

import pytest

from tests.e2e.scenarios.test_command import toolkit
from tests.support.server_process import SECRET, running_server, token
from toolkit.report import as_json
from toolkit.report.record import Verdict
from toolkit.scenarios.model.reading import parse
from toolkit.scenarios.run import run_scenario
from toolkit.targets.target import Target

GUIDE = ("complete-generation-flow", "process-recovery", "error-handling", "concurrent-processes")


def settings(server, **more):
    keys = {"SUPABASE_JWT_SECRET": SECRET, "SUPABASE_ANON_KEY": token("anon", "anon")}
    return {"API_URL": server.url, "SUPABASE_URL": server.url, **keys, **more}


def unknown(report):
    return {check.id for check in report.checks if check.verdict is Verdict.UNKNOWN}


def failed(report):
    return [check for check in report.checks if check.verdict is Verdict.FAIL]


async def test_the_guides_four_by_url(migrated_db, tmp_path):
    async with running_server(migrated_db) as server:
        code, out, err = await toolkit(
            "run", *GUIDE, "--json", "--yes", cwd=tmp_path, **settings(server, DATABASE_URL=migrated_db)
        )
    report = as_json.load(out)
    assert not failed(report), err
    assert code == 3
    groups = {check.group.split()[0] for check in report.checks if check.verdict is Verdict.UNKNOWN}
    assert groups == {"error-handling"}, "only the workers of an embedded system can be made to fail"
    (reason,) = (c for c in report.checks if c.title.startswith("reconfigure") and "not reached" not in c.detail)
    assert (reason.detail, reason.remedy) == (
        "this target's workers cannot be restarted from here",
        "Run it on --target embedded.",
    )
    passed = {check.title for check in report.checks if check.verdict is Verdict.PASS}
    assert {"3.3 Pause (pause paused)", "3.4 Test process cancellation (cancel cancelled)"} <= passed


async def test_without_the_database_only_its_rows_are_unknown(migrated_db, tmp_path):
    async with running_server(migrated_db) as server:
        code, out, err = await toolkit(
            "run",
            "complete-generation-flow",
            "process-survives-restarts",
            "--json",
            "--yes",
            cwd=tmp_path,
            **settings(server),
        )
    report = as_json.load(out)
    assert (code, failed(report)) == (3, []), err
    assert unknown(report) == {"step-12", "consistent:article", "completed"}
    remedies = {check.id: check.remedy for check in report.checks}
    assert remedies["step-12"] == remedies["consistent:article"] == "Give DATABASE_URL."
    titles = {check.id: check.title for check in report.checks}
    assert titles["no-gap:article"].endswith("Sequences in the events API run from 1 without a gap (article)")
    judged = [check.title for check in report.checks if check.verdict is Verdict.PASS]
    assert not [title for title in judged if "the database" in title]
    assert any("events were read from the events API" in note for note in report.notes)
    (kept_back,) = (check for check in report.checks if check.id == "completed")
    assert "not ours to do that" in kept_back.detail
    assert "--target embedded" in kept_back.remedy


@pytest.mark.parametrize("with_database", [True, False])
async def test_the_old_transport_before_the_migration(legacy_db, tmp_path, with_database):
    async with running_server(legacy_db, env={"GENERATION_TRANSPORT": "websocket"}) as server:
        needed = {"API_URL": server.url, "SUPABASE_JWT_SECRET": SECRET}
        database = {"DATABASE_URL": legacy_db} if with_database else {}
        code, out, err = await toolkit(
            "run", "--transport", "websocket", "--json", "--yes", cwd=tmp_path, **needed, **database
        )
    report = as_json.load(out)
    assert not failed(report), err
    assert code == (0 if with_database else 3), err
    assert any("no event log" in note and "no-gap" in note for note in report.notes)
    judged = {check.id for check in report.checks if check.verdict is Verdict.PASS}
    assert {"whole-flow:article", "progress:article", "one-terminal:hers", "isolation-processes:his"} <= judged
    rows = {check.id.partition(":")[0] for check in report.checks if check.verdict is Verdict.UNKNOWN}
    assert {name for name in rows if not name.startswith("step-")} == (set() if with_database else {"consistent"})


CUT = """
scenario: cut-old
title: The old transport loses its connection
transports: [realtime, websocket]
users: [alice]
processes:
  article: {user: alice, answers: manual, body: {initial_keywords: [cut]}}
steps:
  - start: article
  - until: article waits for select_persona
  - {answer: article, give: {select: 0}}
  - until: article waits for select_theme
faults:
  - {after: article enters theme_generating, cut: websocket, lasting: 300ms}
check:
  article: [whole-flow]
"""


async def test_a_cut_hits_the_old_transport_too_and_nothing_brings_it_back(migrated_db, tmp_path):
    env = {"GENERATION_TRANSPORT": "both", "WRITER_STEP_LATENCY_MS": "300"}
    async with running_server(migrated_db, env=env) as server:
        target = Target("external", database_url=migrated_db, api_url=server.url, jwt_secret=SECRET)
        result = await run_scenario(parse(CUT), target, runs_dir=tmp_path, transport="websocket")
    (fault,) = (check for check in result.report.checks if check.id == "fault-0")
    assert fault.verdict is Verdict.PASS, fault
    (lost,) = (check for check in result.report.checks if check.verdict is Verdict.FAIL)
    assert "waits for select_theme" in lost.title
    assert "closed" in lost.detail


async def test_nothing_is_written_to_a_system_of_others_unasked(tmp_path):
    url = "http://127.0.0.1:1"
    keys = {"SUPABASE_JWT_SECRET": SECRET, "SUPABASE_ANON_KEY": "k"}
    code, _, err = await toolkit("run", "process-recovery", cwd=tmp_path, API_URL=url, SUPABASE_URL=url, **keys)
    assert code == 2
    assert "nobody confirmed it" in err
    assert "--yes" in err


async def test_what_is_missing_is_said_by_name(tmp_path):
    code, _, err = await toolkit(
        "run", "process-recovery", cwd=tmp_path, API_URL="http://127.0.0.1:1", SUPABASE_JWT_SECRET=SECRET
    )
    assert code == 2
    assert "SUPABASE_URL, SUPABASE_ANON_KEY are not set" in err
    assert "Traceback" not in err
