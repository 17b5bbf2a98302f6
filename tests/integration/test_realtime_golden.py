"""What our Realtime endpoint sends, beside what the real server sent: every recorded case but the named."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest

from reference_server.realtime.protocol.limits import Limits
from reference_server.realtime.standalone import create_app, create_service
from tests.integration.test_golden_changes import RECORDED as CHANGES
from tests.support.databases import Databases
from tests.support.golden import (
    SECRET,
    USER_BROADCAST,
    Difference,
    Replay,
    Steps,
    cases,
    edit,
    empty_tables,
    expected,
    last_leave_by_closing,
    prepare,
    serving,
    touches_database,
    undecided,
    without,
)

FILES = ("connect", "join", "tokens", "broadcast", "presence", "http")
RECORDED = cases(*FILES)


def frames_of(vsn: str, change: Callable[[Steps], Steps]) -> Callable[[Steps], Steps]:
    """Apply a change to the recordings of one serializer version only."""
    return lambda steps: change(steps) if steps[0].vsn == vsn else steps


def http_status(before: int, after: int, body: str) -> Callable[[Steps], Steps]:
    """A refusal is expected with another status and body."""

    def change(steps: Steps) -> Steps:
        changed = [
            replace(s, text=f"{after}\n\n{body}") if s.dir == "http" and (s.text or "").startswith(f"{before}\n") else s
            for s in steps
        ]
        assert changed != steps, f"no answer {before} in {steps[0].case}"
        return changed

    return change


def first_upgrade_left_out(steps: Steps) -> Steps:
    return [step for step in steps if step.conn != "a"]


def replayed_bytes(steps: Steps) -> Steps:
    """The recorded server replayed bytes as text without a payload."""
    head = USER_BROADCAST.to_bytes() + b"\x12\x03"  # lengths of the topic and the event
    changed = []
    for step in steps:
        text = step.text or ""
        if '"phx_close"' in text and step.vsn == "1.0.0":
            continue
        if step.dir == "server" and '"event":"bin"' in text:
            if step.vsn == "1.0.0":
                continue
            meta = json.dumps(json.loads(text)[4]["meta"]).encode()
            frame = head + bytes((len(meta), 0)) + b"realtime:rw:b11-v2bin" + meta + b"\x01\x02"
            changed.append(replace(step, text=None, hex=frame.hex()))
        else:
            changed.append(replace(step, text=text.replace(SOME_DAYS_LATER, FAR_FUTURE) if step.text else None))
    return changed


def asked_by_service(steps: Steps) -> Steps:
    """The recorded server had one secret for all tokens; ours looks at the role. Its name and users are its own."""
    ours = {
        "realtime@127.0.0.1": "reference_server",
        "us-east-1": "local",
        '"connected_cluster":7': '"connected_cluster":0',
    }
    for recorded, own in ours.items():
        steps = edit(re.escape(recorded), own)(steps)
    return edit("jwt:authenticated:owner-a", "jwt:service_role:none")(steps)


SOME_DAYS_LATER, FAR_FUTURE = "1796446966359", "32503680000000"
SUPERSEDED = "1.0.0 sockets are not told that a superseded join closed: the Python client would drop its new channel"
DIFFERENCES: dict[str, Difference] = {
    "C06": Difference(
        "an `exp` that is text is a client's mistake: 401, not 500",
        http_status(500, 401, '{"error":"Fields `role` and `exp` are required in JWT"}'),
    ),
    "C11": Difference("one server is one tenant, so no tenant is unknown", first_upgrade_left_out),
    "C12": Difference("one server is one tenant, which nobody suspends"),
    "J05": Difference(SUPERSEDED, frames_of("1.0.0", without('"phx_close"'))),
    "J05b": Difference(SUPERSEDED, frames_of("1.0.0", without('"phx_close"'))),
    "J14": Difference(
        "a config that cannot be read is named, not answered with the server's internals",
        edit(
            "UnknownErrorOnChannel: no function clause matching in Access.get/3",
            "InvalidJoinPayload: config.broadcast must be an object",
        ),
    ),
    "J17": Difference(SUPERSEDED, frames_of("1.0.0", without('"phx_close"'))),
    "T06c": Difference(
        "a wrongly signed refresh is said in words, not as `:signature_error`",
        edit(":signature_error", "Failed to validate JWT signature"),
    ),
    "B09": Difference(
        "a reply's response is always an object on 1.0.0: the Python client cannot read text there",
        frames_of("1.0.0", edit('"response":"payload_size_exceeded"', '"response":{"reason":"payload_size_exceeded"}')),
    ),
    "B11": Difference(
        "bytes are replayed as bytes to 2.0.0 and withheld from 1.0.0, as the real server does since 2.126.0; "
        + SUPERSEDED,
        replayed_bytes,
    ),
    "R02b": Difference("the recording leaves out that it closed socket a", last_leave_by_closing("a")),
    "R03": Difference("the recording leaves out that it closed socket b", last_leave_by_closing("b")),
    "R03b": Difference("the recording leaves out that it closed socket a", last_leave_by_closing("a")),
    "R06b": Difference(
        "a channel is told nothing after its phx_close; the real server sometimes sends it its own leave",
        frames_of("1.0.0", without(r'"joins":\{\},"leaves"')),
    ),
    "L02": Difference("the rate is seen at once, not some seconds late; tested in test_realtime_live"),
    "L03": Difference("the rate is seen at once, not some seconds late; tested in test_realtime_live"),
    "H02": Difference(
        "a token without `Bearer ` is read as the token, not 500; preflight is answered, not 404; GET is 405",
        lambda steps: [s for s in steps if s.step not in {11, 12, 37, 38, 39, 40}],
    ),
    "H04": Difference(
        "preflight is answered, so that browsers may broadcast",
        lambda steps: [s for s in steps if s.step not in {23, 24}],
    ),
    "H05": Difference(
        "a token of service_role asks about the one tenant there is; an upgrade that is missing is said in our words",
        lambda steps: asked_by_service([s for s in steps if s.step not in {9, 10, 15, 16}]),
    ),
    "H06": Difference("one server is one tenant, which nobody suspends"),
}


@dataclass(frozen=True)
class Options:
    limits: Limits
    private_only: bool = False


# The recordings were made with limits out of the way, and with waits that only slow a test.
PLENTY = Limits(
    users=10_000,
    channels_per_socket=1_000,
    joins_per_second=10_000,
    events_per_second=10_000,
    refusal_delay_s=0,
    upgrade_refusal_delay_s=0,
)
OPTIONS = {
    "C13": Options(replace(PLENTY, idle_s=0.4)),
    "J12": Options(PLENTY, private_only=True),
    "L01": Options(replace(PLENTY, channels_per_socket=3)),
    "L01b": Options(replace(PLENTY, users=2)),
    "L01c": Options(replace(PLENTY, users=2)),
}
COMPARED = sorted(key for key in RECORDED if key[0] not in DIFFERENCES or DIFFERENCES[key[0]].change is not None)
ServerFor = Callable[[Options], Awaitable[int]]


@pytest.fixture(scope="module")
async def golden_db(databases: Databases) -> AsyncIterator[str]:
    async with databases.clone("bare") as dsn:
        await prepare(dsn)
        yield dsn


@pytest.fixture(scope="module")
async def server_for(golden_db: str) -> AsyncIterator[ServerFor]:
    """Ports of servers, one for each set of options."""
    ports: dict[Options, int] = {}
    async with AsyncExitStack() as stack:

        async def port(options: Options) -> int:
            if options not in ports:
                service = create_service(golden_db, SECRET, limits=options.limits, private_only=options.private_only)
                ports[options] = await stack.enter_async_context(serving(create_app(service)))
            return ports[options]

        yield port


@pytest.mark.parametrize(("case", "vsn"), COMPARED)
async def test_answers_as_the_real_server(case: str, vsn: str, golden_db: str, server_for: ServerFor) -> None:
    port = await server_for(OPTIONS.get(case, Options(PLENTY)))
    steps = expected(RECORDED[case, vsn], DIFFERENCES.get(case))
    if touches_database(steps):
        await empty_tables(golden_db)
    await Replay(port, golden_db).run(steps)


def test_every_recorded_case_is_compared_or_named() -> None:
    assert undecided((case for case, _ in RECORDED), (case for case, _ in COMPARED), DIFFERENCES) == set()
    assert set(DIFFERENCES) <= {case for case, _ in RECORDED}


CASES_OF_A_SECTION = {"C": 10, "J": 12, "T": 12, "P": 28, "B": 10, "R": 6, "L": 2}
ONE_VERSION = {"C08": {"1.0.0"}, "B03": {"2.0.0"}}  # about one version, or about frames of one alone
BY_A_TEST_OF_ITS_OWN = {"L02"}  # test_realtime_live: the recording leaves out the 200 messages that pass the limit


def test_the_eighty_conformance_cases_are_replayed_at_the_socket_in_both_versions() -> None:
    versions: dict[str, set[str]] = {}
    for name, vsn in [*COMPARED, *CHANGES]:
        versions.setdefault(name[:3], set()).add(vsn)  # P15eq and P15neq are parts of P15
    cases_wanted = [f"{section}{n:02}" for section, count in CASES_OF_A_SECTION.items() for n in range(1, count + 1)]
    assert len(cases_wanted) == 80
    both = {"1.0.0", "2.0.0"}
    missing = {name for name in cases_wanted if versions.get(name) != ONE_VERSION.get(name, both)}
    assert missing == BY_A_TEST_OF_ITS_OWN


def test_a_forgotten_case_is_noticed() -> None:
    assert undecided(["C01", "C02"], ["C01"], {}) == {"C02"}
