"""`toolkit scenarios` as a person and a CI job meet it."""

import asyncio
import json
import os
import shutil
import sys

import junitparser
import pytest

from toolkit.contract.prompts import InputType
from toolkit.report import as_json
from toolkit.report.record import Verdict
from toolkit.scenarios.model.reading import parse, shipped
from toolkit.scenarios.recorded.history import dump, load
from toolkit.scenarios.run import run_scenario

pytestmark = pytest.mark.xdist_group("scenarios")

SMALL = """
scenario: small
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


async def toolkit(*arguments, cwd, **env):
    """(exit code, stdout, stderr) of the command."""
    inherited = {key: value for key, value in os.environ.items() if not key.endswith("_URL")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "toolkit.cli",
        "scenarios",
        *arguments,
        cwd=cwd,
        env=inherited | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(100):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_whole_run_of_its_own(tmp_path):
    code, out, err = await toolkit(
        "run", "complete-generation-flow", "--json", "--junit", "j.xml", "--html", "r.html", cwd=tmp_path
    )
    assert code == 0, err
    report = as_json.load(out)
    assert report.verdict is Verdict.PASS
    assert {"name", "verdict", "started_at", "finished_at", "target", "checks", "measurements"} <= json.loads(
        out
    ).keys()
    cases = junitparser.JUnitXml.fromfile(str(tmp_path / "j.xml"))
    cases.update_statistics()
    assert (cases.tests, cases.failures, cases.errors) == (len(report.checks), 0, 0)
    assert "<svg" in (tmp_path / "r.html").read_text()
    (folder,) = (tmp_path / "reports").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        "history.jsonl",
        "scenario.yaml",
        "report.json",
        "report.html",
        "junit.xml",
    }
    assert "1.1 Start new generation process" in err, "progress belongs to stderr"

    code, out, _ = await toolkit("check", str(folder), cwd=tmp_path)
    assert (code, "PASS" in out) == (0, True)
    await _runs_in_a_folder_are_judged_together(tmp_path, folder)


async def _runs_in_a_folder_are_judged_together(tmp_path, folder):
    """The one run, a deeper copy of it with a loss, and one that cannot be read: each is told, the worst decides."""
    code, one, _ = await toolkit("check", "reports", "--json", cwd=tmp_path)
    assert (code, json.loads(one)["verdict"]) == (0, "pass")
    lossy = tmp_path / "reports" / "rehearsal" / "scenarios" / folder.name
    shutil.copytree(folder, lossy)
    records = load(folder / "history.jsonl")
    delivered = next(record for record in records if record.kind == "deliver")
    (lossy / "history.jsonl").write_bytes(dump(record for record in records if record != delivered))
    (tmp_path / "reports" / "latest").symlink_to(folder.name)
    broken = tmp_path / "reports" / "broken"
    shutil.copytree(folder, broken)
    (broken / "history.jsonl").write_text("no history\n")
    code, out, _ = await toolkit("check", "reports", "--json", cwd=tmp_path)
    told = json.loads(out)
    assert (code, told["verdict"]) == (1, "fail")
    assert told["checks"][0]["verdict"] == "fail"
    (unreadable,) = [check for check in told["checks"] if check["id"] == "readable"]
    assert (unreadable["verdict"], "broken" in unreadable["title"]) == ("unknown", True)
    (runs,) = [table for table in told["tables"] if table["title"] == "Runs"]
    assert [row[1] for row in runs["rows"]] == ["2"], "`latest` is no run of its own"
    code, _, err = await toolkit("check", "reports/broken", cwd=tmp_path)
    assert (code, "not a history record" in err) == (2, True)


async def test_a_history_that_shows_a_loss_fails_when_judged_again(system, tmp_path):
    await system.configure("realtime", {})
    result = await run_scenario(parse(SMALL), system.target, runs_dir=tmp_path)
    assert result.verdict is Verdict.PASS
    path = result.folder / "history.jsonl"
    path.write_bytes(dump(record for record in load(path) if not (record.kind == "deliver" and record.seq == 3)))
    code, out, _ = await toolkit("check", str(result.folder), cwd=tmp_path)
    assert code == 1
    assert "event 3 was never given to watch:article" in out
    assert "seq 2" in out, "the witness shows what came before the hole"


async def test_without_control_a_scenario_that_kills_is_unknown(system, tmp_path):
    scenario = parse(SMALL + "faults: [{after: article event 1, kill: worker}]\n")
    await system.configure("realtime", {})
    result = await run_scenario(scenario, system.target, runs_dir=tmp_path, control=None)
    assert result.verdict is Verdict.UNKNOWN
    assert any("not ours to do that" in check.detail for check in result.report.checks)


async def test_a_fault_that_never_begins_proves_nothing(system, tmp_path):
    scenario = parse(SMALL + "faults: [{after: article enters editing, cut: websocket}]\n")
    await system.configure("realtime", {})
    result = await run_scenario(scenario, system.target, runs_dir=tmp_path, control=system)
    unknown = {check.id for check in result.report.checks if check.verdict is Verdict.UNKNOWN}
    assert unknown == {"fault-0"}


async def test_a_condition_that_cannot_come_true_fails_at_once(system, tmp_path):
    text = SMALL.replace("until: article waits for select_persona", "cancel: article").replace(
        "check:", "  - {until: article is completed, within: 2m}\ncheck:"
    )
    await system.configure("realtime", {})
    async with asyncio.timeout(30):
        result = await run_scenario(parse(text), system.target, runs_dir=tmp_path)
    failed = [check for check in result.report.checks if check.verdict is Verdict.FAIL]
    assert [check.title for check in failed] == ["until article is completed"]
    assert "it is cancelled" in failed[0].detail


async def test_without_sql_the_events_api_is_the_witness(system, tmp_path):
    from dataclasses import replace

    await system.configure("realtime", {})
    target = replace(system.target, kind="external", database_url=None)
    text = SMALL.replace("check:", "  - {database: article, expect: {articles: 0}}\ncheck:")
    result = await run_scenario(parse(text), target, runs_dir=tmp_path)
    by_verdict = {verdict: {c.id for c in result.report.checks if c.verdict is verdict} for verdict in Verdict}
    assert not by_verdict[Verdict.FAIL]
    assert by_verdict[Verdict.UNKNOWN] == {"step-3"}, "rows of articles cannot be read without the database"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("run", "no-such-thing"), 2, "There is no scenario"),
        (("run", "bad.yaml"), 2, "bad.yaml:2:1: expected no key `titel`"),
        (("run", "process-recovery", "--transport", "websocket"), 2, "not written for the websocket transport"),
        (("check", "nowhere"), 2, "nowhere is not a folder"),
        (("check", "."), 2, "There is no run in ."),
        (("check", "bad.yaml"), 2, "bad.yaml is not a folder"),
        (("run", "process-recovery", "--reports-dir", "bad.yaml"), 2, "is a file"),
        (("run", "process-recovery", "--api-url", "api.example.org"), 2, "must be an http:// or https:// URL"),
        (("run", "process-recovery", "--target", "external", "--api-url", "http://127.0.0.1:1"), 2, "are not set"),
    ],
)
async def test_wrong_requests_are_answered_in_words(tmp_path, arguments, code, says):
    (tmp_path / "bad.yaml").write_text("scenario: bad\ntitel: Bad\n")
    got, _, err = await toolkit(*arguments, cwd=tmp_path)
    assert (got, says in err) == (code, True), err
    assert "Traceback" not in err


async def test_a_server_that_is_not_there_is_the_environment(tmp_path):
    code, _, err = await toolkit(
        "run",
        "process-recovery",
        "--yes",
        cwd=tmp_path,
        API_URL="http://127.0.0.1:1",
        SUPABASE_URL="http://127.0.0.1:1",
        SUPABASE_ANON_KEY="k",
        SUPABASE_JWT_SECRET="s" * 40,
    )
    assert code == 4, err
    assert "does not answer" in err


async def test_list_and_schema(tmp_path):
    code, out, _ = await toolkit("list", "--json", cwd=tmp_path)
    assert code == 0
    assert {row["name"] for row in json.loads(out)["scenarios"]} == set(shipped())
    code, out, _ = await toolkit("schema", cwd=tmp_path)
    assert code == 0
    assert all(prompt.value in out for prompt in InputType)
    code, out, _ = await toolkit("list", "--judges", cwd=tmp_path)
    assert "no-loss" in out
