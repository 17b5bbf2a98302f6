"""Our change feed against what a real Realtime server was recorded to send, case by case.

The recorded bindings are subscribed, the recorded SQL is run, and the payloads are compared as
JSON: every digit of a number, every key, the ids by correspondence, timestamps apart. Where we mean
to differ, DIFFERENCES names the case, the reason, and rewrites what is expected. Protocol frames
(replies, closes) are compared elsewhere.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from reference_server.realtime.changes.bindings import parse_bindings
from reference_server.realtime.changes.feed import ChangeFeed
from reference_server.realtime.changes.subscriptions import Subscription
from reference_server.realtime.protocol.ports import BindingsRejected, Change, SubscribeRefused
from tests.support.databases import Databases

FRAMES = Path(__file__).resolve().parents[1] / "golden" / "realtime-frames"
FILES = ("changes", "filters", "types")
OWNERS = {letter: f"{letter}0000000-0000-4000-8000-00000000000{letter}" for letter in "ab"}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
DEADLINE_S = 10
Steps = list[dict[str, Any]]
Channel = tuple[str, str]  # connection, topic
Payloads = dict[Channel, list[dict[str, Any]]]  # in order
Answers = dict[Channel, str]


class Number(str):
    """A JSON number by its digits: 1.50 is not 1.5 here."""

    __slots__ = ()


def load_json(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Number, parse_int=Number)


def load_cases() -> dict[tuple[str, str], Steps]:
    cases: dict[tuple[str, str], Steps] = defaultdict(list)
    for name in FILES:
        # Not splitlines: a frame may hold U+2028.
        for line in (FRAMES / f"{name}.jsonl").read_text(encoding="utf-8").strip().split("\n"):
            step = json.loads(line)
            cases[step["case"], step["vsn"]].append(step)
    return dict(cases)


CASES = load_cases()


# -- named differences ------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """A deliberate difference; the functions rewrite what was recorded into what we send."""

    reason: str
    payloads: Callable[[Payloads], Payloads] = lambda payloads: payloads
    answers: Callable[[Answers], Answers] = lambda answers: answers


def each(change: Callable[[dict[str, Any]], None]) -> Callable[[Payloads], Payloads]:
    def rewrite(payloads: Payloads) -> Payloads:
        rewritten = copy.deepcopy(payloads)
        for payload in (payload for found in rewritten.values() for payload in found):
            change(payload["data"])
        assert rewritten != payloads, "the difference no longer occurs; remove it"
        return rewritten

    return rewrite


def whole_fixed_length_values(data: dict[str, Any]) -> None:
    """The recorded server cut char(n) and bit(n) to their first character."""
    for row in (data.get("record", {}), data.get("old_record", {})):
        if row.get("c_char"):
            row["c_char"] = {"c": "ch      ", " ": " " * 8}[row["c_char"]]
        if row.get("c_bit"):
            row["c_bit"] = {"1": "1010", "0": "0000"}[row["c_bit"]]


def with_timestamp(data: dict[str, Any]) -> None:
    if data["commit_timestamp"] is None:
        data["commit_timestamp"] = "<time>"


def no_like_wildcards(payloads: Payloads) -> Payloads:
    kept = {}
    for (conn, topic), found in payloads.items():
        if topic.endswith(("-v1b", "-v2b")):
            continue
        wrong = "gfxwild" if re.search(r"-v\d$", topic) else None
        kept[conn, topic] = [payload for payload in found if payload["data"]["table"] != wrong]
    assert kept != payloads
    return kept


def like_pattern_refused(answers: Answers) -> Answers:
    stem = "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given connect parameters: "  # noqa: E501
    return {
        channel: f"{stem}[event: *, schema: public, table: gf%wild, filters: [], select: nil]"
        if channel[1].endswith(("-v1b", "-v2b"))
        else answer
        for channel, answer in answers.items()
    }


def nothing_lost_at_start(payloads: Payloads) -> Payloads:
    ((channel, found),) = payloads.items()
    by_id = {payload["data"]["record"]["id"]: payload for payload in found}
    everything = [Number(number) for number in [*range(1, 13), 99]]
    assert by_id.keys() < set(everything)
    complete = []
    for number in everything:
        payload = copy.deepcopy(found[0])
        payload["data"]["record"]["id"] = number
        complete.append(payload)
    return {channel: complete}


def update_under_full_matches(payloads: Payloads) -> Payloads:
    ((channel, found),) = payloads.items()
    inserted, deleted = found[1], found[2]
    assert (inserted["data"]["type"], deleted["data"]["type"]) == ("INSERT", "DELETE")
    update = copy.deepcopy(inserted)
    update["data"] |= {"type": "UPDATE", "old_record": inserted["data"]["record"]}
    update["data"]["record"] = inserted["data"]["record"] | {"c_text": "key unchanged, large value untouched"}
    return {channel: [*found[:2], update, deleted]}


FIXED_LENGTH = "char(n) and bit(n) arrive whole; the recorded server cut them to one character"
DIFFERENCES: dict[str, Difference] = {
    "TY-default": Difference(FIXED_LENGTH, each(whole_fixed_length_values)),
    "TY-full": Difference(FIXED_LENGTH, each(whole_fixed_length_values)),
    "TY-rls_default": Difference(FIXED_LENGTH, each(whole_fixed_length_values)),
    "TY-rls_full": Difference(FIXED_LENGTH, each(whole_fixed_length_values)),
    "TY-toastf": Difference(
        FIXED_LENGTH + "; a filter sees a large value that an update left alone, where identity FULL tells it",
        lambda payloads: update_under_full_matches(each(whole_fixed_length_values)(payloads)),
    ),
    "P22b": Difference("a refused row carries its commit's time: the Python client drops null", each(with_timestamp)),
    "P23": Difference("a refused row carries its commit's time: the Python client drops null", each(with_timestamp)),
    "P26c": Difference("rows that commit after the join is answered are not lost", nothing_lost_at_start),
    "W02": Difference(
        "table names are names, not LIKE patterns: `_` in a name must not reach another table",
        no_like_wildcards,
        like_pattern_refused,
    ),
}


# -- the recorded side ------------------------------------------------------------------------


def message(text: str) -> tuple[str, str, dict[str, Any]]:
    """Topic, event and payload of a frame of either version."""
    frame = load_json(text)
    if isinstance(frame, list):
        return frame[2], frame[3], frame[4]
    return frame["topic"], frame["event"], frame["payload"]


def repeated(text: str) -> str:
    return re.sub(r"<repeat:(.):(\d+)>", lambda found: found[1] * int(found[2]), text)


@dataclass
class Recorded:
    """What the server was recorded to answer: per channel the system text or join error, and payloads."""

    answers: Answers = field(default_factory=dict)
    echoes: dict[Channel, list[Any]] = field(default_factory=dict)
    payloads: Payloads = field(default_factory=lambda: defaultdict(list))


def recorded(steps: Steps) -> Recorded:
    found = Recorded()
    for step in steps:
        if step["dir"] != "server" or not step.get("text"):
            continue
        topic, event, payload = message(repeated(step["text"]))
        channel = step["conn"], topic
        if event == "postgres_changes":
            assert TIMESTAMP.fullmatch(payload["data"]["commit_timestamp"] or "2026-01-01T00:00:00.000Z")
            if payload["data"]["commit_timestamp"]:
                payload["data"]["commit_timestamp"] = "<time>"
            found.payloads[channel].append(payload)
        elif event == "system":
            found.answers[channel] = payload["message"]
        elif event == "phx_reply" and payload["status"] == "error":
            found.answers[channel] = payload["response"]["reason"]
        elif event == "phx_reply" and "postgres_changes" in payload["response"]:
            found.echoes[channel] = payload["response"]["postgres_changes"]
    found.payloads = dict(found.payloads)
    return found


# -- our side ---------------------------------------------------------------------------------


@dataclass
class Rig:
    """A feed on the recorded database, and a way to know that everything so far was delivered."""

    feed: ChangeFeed
    conn: asyncpg.Connection
    tables: str
    probes: int = 0
    probed: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    async def settle(self) -> None:
        self.probes += 1
        await self.conn.execute("insert into public.feed_probe values ($1)", self.probes)
        async with asyncio.timeout(DEADLINE_S):
            while json.loads(await self.probed.get())["record"]["id"] != self.probes:
                pass
            await self.feed._lanes.passed()


@pytest.fixture(scope="module")
async def rig(databases: Databases) -> AsyncIterator[Rig]:
    async with databases.clone("bare") as dsn:
        # The throw-away cluster flushes its WAL late otherwise, and what is not flushed is not streamed.
        conn = await asyncpg.connect(dsn, timeout=10, server_settings={"synchronous_commit": "on"})
        await conn.execute((FRAMES / "setup.sql").read_text().split("-- private channels")[0])
        await conn.execute(
            "create table public.feed_probe (id int primary key);"
            "alter publication supabase_realtime add table public.feed_probe"
        )
        tables = await conn.fetch(
            "select format('%I.%I', schemaname, tablename) as name from pg_tables "
            "where schemaname in ('public', 'gfw') and tablename <> 'feed_probe'"
        )
        feed = ChangeFeed(dsn)
        await feed.start()
        rig = Rig(feed, conn, ", ".join(row["name"] for row in tables))
        probe = parse_bindings([{"event": "INSERT", "schema": "public", "table": "feed_probe"}])
        await feed.subscribe(probe, {"role": "service_role"}, lambda change: rig.probed.put_nowait(change.data))
        yield rig
        await feed.stop()
        await conn.close(timeout=5)


def statements(step: dict[str, Any]) -> list[str]:
    """The step's SQL; a note such as `50 commits, N = 51 .. 100` means one for each N."""
    numbers = re.search(r"N = (\d+) \.\. (\d+)", step.get("note", ""))
    if numbers is None:
        return [step["text"]]
    return [step["text"].replace("N,", f"{n},") for n in range(int(numbers[1]), int(numbers[2]) + 1)]


def claims_of(token: str) -> dict[str, Any]:
    role, _, owner = token.removeprefix("<jwt:").removesuffix(">").partition(":")
    return {"role": role, "exp": 4_000_000_000} | ({} if owner == "none" else {"sub": OWNERS[owner[-1]]})


class Replay:
    """One case on our side; keeps what the sinks got and what the joins were told."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.answers: Answers = {}
        self.echoes: dict[Channel, list[Any]] = {}
        self.payloads: Payloads = defaultdict(list)
        self.live: dict[tuple[str, str], Subscription] = {}

    async def run(self, steps: Steps) -> None:
        await self.rig.conn.execute(f"truncate {self.rig.tables}")
        await self.rig.settle()
        for step in steps:
            match step["dir"]:
                case "client":
                    await self._client(step)
                case "sql":
                    for statement in statements(step):
                        await self.rig.conn.execute(statement)
                    # Without the publication the stream would end at the next row, probe or not.
                    if "rename to gf_hidden" not in step["text"]:
                        await self.rig.settle()
        for subscription in self.live.values():
            await self.rig.feed.unsubscribe(subscription)

    async def _client(self, step: dict[str, Any]) -> None:
        if "text" not in step:
            for channel in [channel for channel in self.live if channel[0] == step["conn"]]:
                await self.rig.feed.unsubscribe(self.live.pop(channel))
            return
        topic, event, payload = message(step["text"])
        channel = step["conn"], topic
        if event == "phx_leave":
            if channel in self.live:  # else the join had been refused
                await self.rig.feed.unsubscribe(self.live.pop(channel))
            return
        assert event == "phx_join", event
        plain = json.loads(step["text"])
        config = (plain[4] if isinstance(plain, list) else plain["payload"])["config"]
        try:
            bindings = parse_bindings(config.get("postgres_changes"))
            self.echoes[channel] = [load_json(json.dumps(b.raw | {"id": b.id})) for b in bindings]
            self.live[channel] = await self.rig.feed.subscribe(
                bindings, claims_of(payload["access_token"]), lambda change: self._got(channel, change)
            )
            self.answers[channel] = "Subscribed to PostgreSQL"
        except BindingsRejected as error:
            self.answers[channel] = error.reason
        except SubscribeRefused as error:
            self.answers[channel] = error.message

    def _got(self, channel: tuple[str, str], change: Change) -> None:
        data = load_json(change.data)
        if data["table"] == "feed_probe":
            return
        assert TIMESTAMP.fullmatch(data["commit_timestamp"])
        data["commit_timestamp"] = "<time>"
        self.payloads[channel].append({"ids": [Number(number) for number in change.ids], "data": data})


def id_names(echoes: dict[Channel, list[Any]]) -> dict[str, str]:
    """Each id by the binding it belongs to, so that ids of two servers can be compared."""
    names: dict[str, str] = {}
    for echo in echoes.values():
        for binding in echo:
            rest = json.dumps({key: value for key, value in binding.items() if key != "id"}, sort_keys=True)
            assert names.setdefault(binding["id"], rest) == rest, "one id for two bindings"
    return names


def comparable(payloads: Payloads, names: dict[str, str], *, unordered: bool) -> Payloads:
    result = {}
    for channel, found in payloads.items():
        shown = [{"ids": sorted(names[n] for n in payload["ids"]), "data": payload["data"]} for payload in found]
        result[channel] = sorted(shown, key=json.dumps) if unordered else shown
    return {channel: found for channel, found in result.items() if found}


@pytest.mark.parametrize(("case", "vsn"), [pytest.param(*key, id="-".join(key)) for key in CASES])
async def test_case(case: str, vsn: str, rig: Rig) -> None:
    steps = CASES[case, vsn]
    wanted, ours = recorded(steps), Replay(rig)
    await ours.run(steps)

    difference = DIFFERENCES.get(case, Difference(""))
    assert ours.answers == difference.answers(wanted.answers)
    # What the reply echoes: the client's bindings, each with an id.
    joined = {at: strip_ids(echo) for at, echo in ours.echoes.items() if at in wanted.echoes}
    assert joined == {channel: strip_ids(echo) for channel, echo in wanted.echoes.items()}
    # The messages for the select lists of one row have no order among themselves.
    unordered = case == "P10b"
    expected = comparable(difference.payloads(wanted.payloads), id_names(wanted.echoes), unordered=unordered)
    actual = comparable(ours.payloads, id_names(ours.echoes), unordered=unordered)
    assert actual == expected


def strip_ids(echo: list[Any]) -> list[Any]:
    return [{key: value for key, value in binding.items() if key != "id"} for binding in echo]


def test_every_recorded_case_is_compared_and_every_difference_exists() -> None:
    marked = {tuple(mark.values) for mark in next(m for m in test_case.pytestmark if m.name == "parametrize").args[1]}
    assert marked == set(CASES)
    assert {vsn for _, vsn in CASES} == {"1.0.0", "2.0.0"}
    names = {case for case, _ in CASES}
    assert len(names) == 78
    assert DIFFERENCES.keys() <= names
    # Each case has something that can differ: an answer to a join, or a payload.
    assert all(recorded(steps).answers or recorded(steps).payloads for steps in CASES.values())


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r'"n": 10\b', '"n": 10.0'),
        (r'"payload": \{"k": \[1, 2.50', '"payload": {"k": [1, 2.5'),
        (r'"details": "d1", ', ""),
        (r'"type": "jsonb"', '"type": "json"'),
        (r'"errors":null', '"errors":[]'),
        ('"type":"INSERT"', '"type":"UPDATE"'),
        (r'"ids":\[\d+\]', '"ids":[]'),
    ],
)
async def test_the_comparison_sees_each_kind_of_difference(rig: Rig, pattern: str, replacement: str) -> None:
    steps = copy.deepcopy(CASES["P02", "1.0.0"])
    (sent,) = [step for step in steps if step["dir"] == "server" and "commit_timestamp" in step.get("text", "")]
    changed = re.sub(pattern, replacement, sent["text"])
    assert changed != sent["text"]
    ours = Replay(rig)
    await ours.run(steps)
    actual = comparable(ours.payloads, id_names(ours.echoes), unordered=False)

    def wanted() -> Payloads:
        found = recorded(steps)
        return comparable(found.payloads, id_names(found.echoes), unordered=False)

    assert actual == wanted()
    sent["text"] = changed
    assert actual != wanted()
