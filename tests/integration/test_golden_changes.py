"""Changes at the socket, beside what the real server sent: every recorded case of bindings, filters and types."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import asyncpg
import pytest
from websockets.asyncio.client import ClientConnection, connect

from reference_server.realtime.changes.feed import ChangeFeed
from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.standalone import create_app, create_service
from tests.support.databases import Databases
from tests.support.golden import (
    PROBE_TABLE,
    SECRET,
    Difference,
    Replay,
    Step,
    Steps,
    cases,
    edit,
    empty_tables,
    expected,
    mint,
    prepare,
    serving,
    undecided,
)
from tests.support.golden_match import Mismatch

RECORDED = cases("changes", "filters", "types")
LIMITS = replace(
    Limits(),
    users=10_000,
    channels_per_socket=1_000,
    joins_per_second=10_000,
    refusal_delay_s=0,
    upgrade_refusal_delay_s=0,
)
PROBE = (
    f"create table public.{PROBE_TABLE} (id int primary key);"
    f"alter publication supabase_realtime add table public.{PROBE_TABLE};"
    f"grant select on public.{PROBE_TABLE} to service_role"
)
JOIN = {"config": {"postgres_changes": [{"event": "INSERT", "schema": "public", "table": PROBE_TABLE}]}}


# -- named differences ------------------------------------------------------------------------


def whole_fixed_length_values(steps: Steps) -> Steps:
    """The recorded server cut char(n) and bit(n) to their first character."""
    for cut, whole in (('"c_char": "c"', '"c_char": "ch      "'), ('"c_char": " "', f'"c_char": "{" " * 8}"'),
                       ('"c_bit": "1"', '"c_bit": "1010"'), ('"c_bit": "0"', '"c_bit": "0000"')):  # fmt: skip
        steps = [replace(s, text=s.text.replace(cut, whole)) if s.text and s.dir == "server" else s for s in steps]
    return steps


def update_under_full_matches(steps: Steps) -> Steps:
    """Behind the second INSERT comes its UPDATE, which the recorded server could not match."""
    steps = whole_fixed_length_values(steps)
    at = [i for i, step in enumerate(steps) if '"type":"INSERT"' in (step.text or "")][1]
    inserted = steps[at]
    assert inserted.text is not None
    found = re.search(r'"record":(\{.*?\}),"columns"', inserted.text)
    assert found is not None
    after = re.sub(r'"c_text": "(?:[^"\\]|\\.)*"', '"c_text": "key unchanged, large value untouched"', found[1])
    assert after != found[1]
    text = inserted.text.replace('"type":"INSERT"', '"type":"UPDATE"').replace(
        found[0], f'"record":{after},"old_record":{found[1]},"columns"'
    )
    later = next(i for i in range(at + 1, len(steps)) if steps[i].dir == "sql")
    return [*steps[: later + 1], replace(inserted, text=text), *steps[later + 1 :]]


def no_like_wildcards(steps: Steps) -> Steps:
    stem = (
        "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given connect "
        "parameters: [event: *, schema: public, table: gf%wild, filters: [], select: nil]"
    )
    kept = []
    for step in steps:
        text = step.text or ""
        by_pattern = re.search(r'"realtime:w02-v\db"', text) is not None
        if step.dir == "server" and '"data"' in text:
            wrong = re.search(r'"realtime:w02-v\d"', text) is not None and '"gfxwild"' in text
            if by_pattern or wrong:
                continue
        elif by_pattern and '"Subscribed to PostgreSQL"' in text:
            told = text.replace("Subscribed to PostgreSQL", stem).replace('"status":"ok"', '"status":"error"')
            step = replace(step, text=told)  # noqa: PLW2901
        kept.append(step)
    assert kept != steps
    return kept


def nothing_lost_at_start(steps: Steps) -> Steps:
    """Each row is delivered, those as well that the recorded server lost while it started."""
    is_change = [step.dir == "server" and '"record"' in (step.text or "") for step in steps]
    like = steps[is_change.index(True)]
    assert like.text is not None
    kept, waiting = list[Step](), list[str]()
    told = next(step for step in steps if '"Subscribed to PostgreSQL"' in (step.text or ""))
    reply = next(i for i, step in enumerate(steps) if step.dir == "server" and '"phx_reply"' in (step.text or ""))
    for at, (step, change) in enumerate(zip(steps, is_change, strict=True)):
        if step is told:
            continue
        if change or step.silence_s is not None:
            continue
        if step.dir != "sql" and waiting:
            kept += [replace(like, text=text) for text in waiting]
            waiting = []
        if step.dir == "sql":
            waiting += [
                re.sub(r'"id": \d+', f'"id": {n}', like.text) for n in re.findall(r"values \((\d+)", step.text or "")
            ]
        kept.append(step)
        if at == reply:
            kept.append(told)
    return [*kept, *(replace(like, text=text) for text in waiting)]


def with_time(steps: Steps) -> Steps:
    return edit('"commit_timestamp":null', '"commit_timestamp":"2026-01-01T00:00:00.000Z"')(steps)


def without_silences(steps: Steps) -> Steps:
    return [step for step in steps if step.silence_s is None]


FIXED_LENGTH = "char(n) and bit(n) arrive whole; the recorded server cut them to one character"
TIMED = "a refused row carries its commit's time: the Python client drops null"
DIFFERENCES: dict[str, Difference] = {
    "TY-default": Difference(FIXED_LENGTH, whole_fixed_length_values),
    "TY-full": Difference(FIXED_LENGTH, whole_fixed_length_values),
    "TY-rls_default": Difference(FIXED_LENGTH, whole_fixed_length_values),
    "TY-rls_full": Difference(FIXED_LENGTH, whole_fixed_length_values),
    "TY-toastf": Difference(
        f"{FIXED_LENGTH}; a filter sees a large value that an update left alone, where identity FULL tells it",
        update_under_full_matches,
    ),
    "P13b": Difference("a refusal does not wait here: waiting only slows a test", without_silences),
    "P22b": Difference(TIMED, with_time),
    "P23": Difference(TIMED, with_time),
    "P26c": Difference("rows that commit after the join is answered are not lost", nothing_lost_at_start),
    "W02": Difference("table names are names, not LIKE patterns: `_` must not reach another table", no_like_wildcards),
}
# The messages for the select lists of one row have no order among themselves.
UNORDERED = {"P10b"}


# -- replaying --------------------------------------------------------------------------------


@dataclass
class Rig:
    """A server on the recorded database, and a way to know that everything so far was handed to the sockets."""

    port: int
    dsn: str
    sql: asyncpg.Connection
    socket: ClientConnection
    feed: ChangeFeed
    loop: asyncio.AbstractEventLoop  # the server's, which runs in a thread of its own
    probes: int = 0

    async def settle(self) -> None:
        hidden = "select not exists (select from pg_publication where pubname = 'supabase_realtime')"
        if await self.sql.fetchval(hidden):
            return  # without its publication the stream would end at the next row
        self.probes += 1
        await self.sql.execute(f"insert into public.{PROBE_TABLE} values ($1)", self.probes)
        while f'"id":{self.probes}}}' not in str(await self.socket.recv()):
            pass
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.feed._lanes.passed(), self.loop))


@pytest.fixture(scope="module")
async def rig(databases: Databases) -> AsyncIterator[Rig]:
    async with databases.clone("bare") as dsn:
        await prepare(dsn)
        sql = await asyncpg.connect(dsn, timeout=10)
        await sql.execute(PROBE)
        feed = ChangeFeed(dsn)
        started = asyncio.get_running_loop().create_future()

        def tell_loop(_: str) -> None:
            if not started.done():  # the first state is told while the server starts
                started.get_loop().call_soon_threadsafe(started.set_result, asyncio.get_running_loop())

        feed.on_state(tell_loop)
        service = create_service(dsn, SECRET, limits=LIMITS, feed=feed)
        async with serving(create_app(service)) as port:
            url = f"ws://127.0.0.1:{port}/realtime/v1/websocket?vsn=2.0.0&apikey={mint('service_role:none')}"
            async with connect(url, ping_interval=None, close_timeout=1) as socket:
                await socket.send(json.dumps(["1", "1", "realtime:probe", "phx_join", JOIN]))
                while "Subscribed" not in str(await socket.recv()):
                    pass
                yield Rig(port, dsn, sql, socket, feed, await started)
        await sql.close(timeout=5)


async def replay(rig: Rig, case: str, steps: Steps) -> None:
    await empty_tables(rig.dsn)
    await rig.settle()
    await Replay(rig.port, rig.dsn, settle=rig.settle, unordered=case in UNORDERED).run(steps)


@pytest.mark.parametrize(("case", "vsn"), sorted(RECORDED))
async def test_changes_as_the_real_server(case: str, vsn: str, rig: Rig) -> None:
    await replay(rig, case, expected(RECORDED[case, vsn], DIFFERENCES.get(case)))


def test_every_recorded_case_is_compared() -> None:
    names = {case for case, _ in RECORDED}
    assert undecided(names, names, DIFFERENCES) == set()
    assert len(names) == 78
    assert {vsn for _, vsn in RECORDED} == {"1.0.0", "2.0.0"}
    assert DIFFERENCES.keys() <= names


@pytest.mark.parametrize(
    "change",
    [
        edit(r'"n": 10\b', '"n": 10.0'),
        edit(r'"payload": \{"k": \[1, 2.50', '"payload": {"k": [1, 2.5'),
        edit(r'"details": "d1", ', ""),
        edit(r'"type": "jsonb"', '"type": "json"'),
        edit(r'"errors":null', '"errors":[]'),
        edit('"type":"INSERT"', '"type":"UPDATE"'),
        edit(r'"ids":\[\d+\]', '"ids":[]'),
        lambda steps: [
            s if '"type":"INSERT"' not in (s.text or "") else replace(s, text=None, note="silence for 50 ms")
            for s in steps
        ],
    ],
)
async def test_the_comparison_sees_each_kind_of_difference(rig: Rig, change: Callable[[Steps], Steps]) -> None:
    with pytest.raises(Mismatch):
        await replay(rig, "P02", change(RECORDED["P02", "1.0.0"]))
