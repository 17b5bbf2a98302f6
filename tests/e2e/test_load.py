"""Load runs as a person starts them and as Locust does; and the defects that they must see."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.lying_realtime import lying_realtime
from toolkit.errors import EnvironmentError_, ExitCode
from toolkit.load.figures import Thresholds
from toolkit.load.rounds import RoundsPlan
from toolkit.load.run import LOCUSTFILE, Plan, environment, run_compare, run_load
from toolkit.postgres.cluster import free_port
from toolkit.postgres.throwaway import throwaway_folder
from toolkit.report import as_json
from toolkit.report.record import Report, Verdict
from toolkit.scenarios.faults.control import EmbeddedSystem, embedded_system
from toolkit.targets.target import Target

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("load")]

LOCUSTS_OWN_PORT = 5557
# Limits that a busy machine keeps; what these tests watch is what was seen, not how quickly.
PATIENT = Thresholds(p95_start=60_000, p95_first_event=60_000, p95_answer=60_000, p95_delivery=60_000)
PATIENT_ENV = {f"LOAD_P95_{name}": "60000" for name in ("START", "FIRST_EVENT", "ANSWER", "DELIVERY")}

# An application that reads what happened before it was live, and nothing after a hole.
WITHOUT_RECOVERY = """
import asyncio
from tests.support.naive_stream import NaiveStream
from toolkit.client.events import event_from_row
from toolkit.load.locustfile import *

class CatchesUpOnce(NaiveStream):
    def __init__(self, url, key, process_id, *, token, tap, fetch, **_):
        super().__init__(url, key, process_id, token=token, tap=tap)
        self._fetch, self._process, self._caught_up, self._early, self._last = fetch, process_id, None, [], 0

    def live(self):
        super().live()
        self._caught_up = asyncio.create_task(self._catch_up())

    async def _catch_up(self):
        page = await self._fetch(self._process, 0)
        early, self._early = self._early, None
        for event in (*page.events, *early):
            self._give(event)

    def _give(self, event):
        if event.sequence > self._last:
            self._last = event.sequence
            self._queue.put_nowait(event)

    def row(self, record, at):
        event = event_from_row(record, via="live", received_at=at)
        self._early.append(event) if self._early is not None else self._give(event)

LoadUser.make_stream = CatchesUpOnce
"""
NOBODY_WORKS = """
import gevent
from locust import User, task
from toolkit.load.locustfile import hooks

class Idler(User):
    @task
    def idle(self):
        gevent.sleep(0.1)
"""


@pytest.fixture(scope="module")
async def system() -> AsyncIterator[EmbeddedSystem]:
    with throwaway_folder("rmt-load-") as folder:
        async with embedded_system(folder) as started:
            await started.configure("both", {"WRITER_STEP_LATENCY_MS": "20", "WORKER_CONCURRENCY": "16"})
            yield started


def verdicts(report: Report) -> dict[str, Verdict]:
    return {check.id: check.verdict for check in report.checks}


def value(report: Report, name: str, group: str = "realtime") -> float:
    return next(m.value for m in report.measurements if m.name == name and m.group == group)


def not_passed(report: Report) -> list[str]:
    return [f"{c.id} is {c.verdict}: {c.detail} {c.witness}" for c in report.checks if c.verdict is not Verdict.PASS]


def locust(target: Target, folder: Path, *words: str, file: Path = LOCUSTFILE, **settings: str):
    """Plain `locust -f`, as a person would call it."""
    given = environment(Plan(), target, folder) | PATIENT_ENV | settings
    del given["LOAD_PARENT_PID"]
    port = str(free_port())  # Locust's own is one for the whole machine
    master = ("--master-bind-port", port, "--master-port", port) if "--processes" in words else ()
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(file), "--headless", "--only-summary", *words, *master],
        env=given,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    saved = folder / "report.json"
    return done, as_json.load(saved.read_bytes()) if saved.exists() else None


# -- runs that are well -----------------------------------------------------------------------


async def test_a_comparison_of_both_transports_in_rounds(system, tmp_path):
    """Whatever its verdict (steps that cost nothing compare CPU time), every part of it is there and was judged."""
    plan = RoundsPlan(users=3, arrivals_s=0.1, think_s=0.02, seed=7)
    result = await run_compare(plan, system.target, reports_dir=tmp_path)
    report, seen = result.report, verdicts(result.report)
    assert {line.split(" ")[0] for line in not_passed(report) if not line.startswith("load.compar")} <= {
        "load.instrument"
    }, not_passed(report)
    assert {f"load.compare.{name}" for name in ("first-event", "reaction", "back-again", "generation")} <= set(seen)
    assert seen["load.no-loss"] is Verdict.PASS
    for group in ("websocket", "realtime"):
        # Each round, and one generation that warmed everything up.
        assert value(report, "generations completed", group) == 5 * 3 + 1
        assert value(report, "control answer p95", group) > 0
    table = next(table for table in report.tables if table.title == "Comparison")
    assert {row[0] for row in table.rows} >= {"first event p50, ms", "reaction p50, ms", "event delivery p50, ms"}
    assert all("interval" in row[-1] or "told" in row[-1] for row in table.rows), table.rows
    assert value(report, "generation p50 ratio", "comparison") > 0
    assert [link.href for link in report.links if not (result.folder / link.href).is_file()] == []
    assert result.exit_code is report.exit_code
    text = "".join(path.read_text(errors="replace") for path in result.folder.rglob("*") if path.is_file())
    assert "eyJ" not in text, "a token was written down"


async def test_a_comparison_that_is_stopped_leaves_a_report_of_what_there_is(system, tmp_path):
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("round 3 "):
            task.cancel()

    plan = RoundsPlan(users=1, arrivals_s=0.01, think_s=0.01)
    task = asyncio.create_task(run_compare(plan, system.target, reports_dir=tmp_path, say=say))
    with pytest.raises(asyncio.CancelledError):
        await task
    (saved,) = tmp_path.glob("*/report.json")
    report = as_json.load(saved.read_bytes())
    assert "Stopped from outside after 2 of 5 rounds." in said[-1]
    assert verdicts(report)["load.comparison"] is Verdict.UNKNOWN
    reaction = next(check for check in report.checks if check.id == "load.compare.reaction")
    # On a machine that was busy meanwhile, that is said instead: both make the figure unknown.
    assert "only 2 rounds with both" in reaction.detail or "generator" in reaction.detail
    assert value(report, "generations completed", "websocket") == 3


async def test_a_transport_that_the_server_does_not_offer_is_said_before_anybody_starts(tmp_path):
    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"status": "ready", "transport": "realtime"}'
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(tell, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        target = Target(kind="external", api_url=url, supabase_url=url, anon_key="k", jwt_secret="s" * 40)
        for run in (
            run_load(Plan(users=2, transport="websocket"), target, reports_dir=tmp_path),
            run_compare(RoundsPlan(users=2), target, reports_dir=tmp_path),
        ):
            with pytest.raises(EnvironmentError_, match="does not offer websocket"):
                await run
    assert list(tmp_path.iterdir()) == []


async def test_plain_locust_with_two_workers(system, tmp_path):
    done, report = await asyncio.to_thread(
        locust, system.target, tmp_path, "-u", "6", "-r", "6", "--processes", "2", LOAD_GENERATIONS="2"
    )
    assert done.returncode == ExitCode.PASS, f"{report and not_passed(report)}\n{done.stderr[-3000:]}"
    assert value(report, "generations completed") == 12
    assert value(report, "lost") == 0
    assert len(list(tmp_path.glob("history-realtime-*.jsonl"))) == 2
    assert "worker 1" in next(check.detail for check in report.checks if check.id == "load.no-loss")
    assert "generation" in (tmp_path / "locust.html").read_text()


async def test_a_run_that_is_ended_by_time_judges_what_it_saw(system, tmp_path):
    done, report = await asyncio.to_thread(
        locust, system.target, tmp_path, "-u", "2", "-r", "2", "-t", "10s", LOAD_GENERATIONS="0"
    )
    assert done.returncode == ExitCode.PASS, f"{report and not_passed(report)}\n{done.stderr[-3000:]}"
    assert value(report, "generations completed") >= 1
    assert value(report, "lost") == 0


# -- defects that must be seen ----------------------------------------------------------------


async def test_a_lying_realtime_is_seen_by_users_without_recovery_and_healed_by_the_others(system, tmp_path):
    dropped = []

    def drop(row, frame):
        if row["event_type"] == "section_completed":
            dropped.append(row["id"])
            return []
        return [frame]

    naive = tmp_path / "naive.py"
    naive.write_text(WITHOUT_RECOVERY)
    plan = Plan(users=3, thresholds=PATIENT, generation_deadline_s=60)
    async with lying_realtime(system.target.supabase_url, drop) as url:
        target = replace(system.target, supabase_url=url)
        healed = await run_load(plan, target, reports_dir=tmp_path / "healed")
        assert healed.exit_code is ExitCode.PASS, not_passed(healed.report)
        assert dropped
        assert value(healed.report, "recovered by backfill") > 0
        lost = await run_load(replace(plan, locustfile=naive), target, reports_dir=tmp_path / "lost")
    assert lost.exit_code is ExitCode.FAIL
    assert verdicts(lost.report)["load.no-loss"] is Verdict.FAIL
    assert value(lost.report, "lost") > 0
    witness = next(check for check in lost.report.checks if check.id == "load.no-loss").witness
    assert any("section_completed" in line for line in witness), witness
    # The same users before an honest Realtime: what was lost was the liar's doing.
    honest = await run_load(replace(plan, locustfile=naive), system.target, reports_dir=tmp_path / "honest")
    assert verdicts(honest.report)["load.no-loss"] is Verdict.PASS, not_passed(honest.report)


async def test_a_broken_limit_fails_the_run(system, tmp_path):
    plan = Plan(users=2, client="official", thresholds=replace(PATIENT, p95_start=0.001))
    result = await run_load(plan, system.target, reports_dir=tmp_path)
    assert result.exit_code is ExitCode.FAIL
    assert {line.split(" ")[0] for line in not_passed(result.report)} == {"load.p95-start"}


async def test_generations_that_take_too_long_have_failed(system, tmp_path):
    plan = Plan(users=2, thresholds=PATIENT, generation_deadline_s=0.2)
    result = await run_load(plan, system.target, reports_dir=tmp_path)
    assert result.exit_code is ExitCode.FAIL
    assert value(result.report, "generations failed") == 2
    witness = next(check for check in result.report.checks if check.id == "load.failures").witness
    assert any("0.2 s" in line for line in witness), witness


def test_without_a_server_nothing_is_judged(tmp_path):
    nowhere = Target(
        kind="external",
        api_url="http://127.0.0.1:1",
        supabase_url="http://127.0.0.1:1",
        anon_key="k",
        jwt_secret="s" * 40,
    )
    given = environment(Plan(), nowhere, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "toolkit.cli", "load", "run", "--yes", "--users", "2", "--reports-dir", str(tmp_path)],
        env=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.ENVIRONMENT, done.stderr
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    done, report = locust(nowhere, tmp_path / "plain", "-u", "2", "-r", "2")
    assert done.returncode == ExitCode.ENVIRONMENT, done.stderr[-2000:]
    assert report is not None
    assert verdicts(report)["load.target"] is Verdict.UNKNOWN


async def test_a_run_in_which_nobody_worked_is_no_pass(system, tmp_path):
    idle = tmp_path / "idle.py"
    idle.write_text(NOBODY_WORKS)
    done, report = await asyncio.to_thread(
        locust, system.target, tmp_path, "-u", "4", "-r", "4", "-t", "3s", "--processes", "2", file=idle
    )
    assert done.returncode == ExitCode.UNKNOWN, done.stderr[-2000:]
    assert report is not None
    assert verdicts(report)["load.users"] is verdicts(report)["load.completed"] is Verdict.UNKNOWN


def test_a_wrong_setting_ends_plain_locust_with_words(tmp_path):
    done, _ = locust(Target(kind="external"), tmp_path, LOAD_TRANSPORT="pigeon")
    assert done.returncode == ExitCode.USAGE
    assert "LOAD_TRANSPORT" in done.stderr
    assert "Traceback" not in done.stderr


# -- processes --------------------------------------------------------------------------------


async def test_a_stopped_run_leaves_no_process_and_needs_no_port_that_another_run_has(tmp_path):
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", LOCUSTS_OWN_PORT)):
        await _stopped_run(tmp_path)
        return
    await _stopped_run(tmp_path)  # somebody else on this machine has the port already


async def _stopped_run(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "toolkit.cli",
        "load",
        "run",
        "--users",
        "2",
        "--processes",
        "2",
        "--step-latency",
        "30s",
        "--reports-dir",
        str(tmp_path),
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert process.stderr is not None
    said = ""
    try:
        async with asyncio.timeout(120):
            while line := await process.stderr.readline():
                said += line.decode()
                if b"2 started" in line:
                    break
            process.send_signal(signal.SIGTERM)
            said += (await process.communicate())[1].decode()
    except TimeoutError:
        process.kill()
        logs = "\n".join(log.read_text() for log in tmp_path.rglob("locust.log"))
        pytest.fail(f"two users never were at work:\n{said}\n{logs}")
    assert process.returncode == 128 + signal.SIGTERM, said
    assert _processes_with(str(tmp_path)) == []


def _processes_with(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command and path.parent.name != str(os.getpid()):
            found.append(command)
    return found


def test_a_host_name_is_resolved_under_locusts_patches():
    """On a patched standard library the resolver's thread is a greenlet that nobody runs; uvloop has its own."""
    program = """
import locust  # patches
from toolkit.load.bridge import Bridge
bridge = Bridge()

async def look_up():
    return await bridge.loop.getaddrinfo("localhost", 80)

assert bridge.call(look_up, 10)
bridge.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
