"""A healthy target as literal facts, and for each check the smallest change that makes it bad."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from toolkit.checks import catalog
from toolkit.checks.facts import (
    Answer,
    Api,
    Clock,
    Delivery,
    EventLog,
    Facts,
    Found,
    Function,
    Key,
    Migrations,
    Overheard,
    Processes,
    Publication,
    Realtime,
    Schema,
    Server,
    Session,
    Settings,
    Slot,
    Subscription,
    TableFacts,
    Tasks,
)

NOW = 1_700_000_000.0
SOME = Found(1, ("process p: something is wrong",))
_OK = Found()

_TABLE = TableFacts(
    row_security=True,
    identity_trouble="",
    readers=frozenset({"authenticated"}),
    grants={"authenticated": frozenset({"SELECT"}), "service_role": frozenset({"SELECT", "INSERT"})},
)
GOOD = Facts(
    now=NOW,
    settings=Settings({}),
    anon_key=Key("anon", NOW + 1000, True),
    service_key=Key("service_role", NOW + 1000, True),
    server=Server(160004, "logical", 1, 10, 1, 10, 20, 100),
    session=Session("postgres", True, 5432, True, True),
    database_clock=Clock(0.1, 0.01),
    slots=(Slot("live", True, True, 0, "reserved"),),
    migrations=Migrations({"1 a": "applied", "2 b": "applied"}),
    schema=Schema(
        tables=dict.fromkeys(catalog.TABLES, _TABLE),
        triggers=dict.fromkeys(catalog.TRIGGERS, ""),
        functions={
            **{name: Function(frozenset({"service_role"})) for name in catalog.SERVER_FUNCTIONS},
            **{name: Function(frozenset()) for name in catalog.INNER_FUNCTIONS},
        },
        publication=Publication(False, frozenset({"insert", "update", "delete"}), frozenset(catalog.PUBLISHED)),
    ),
    log=EventLog(10, _OK, _OK, _OK, _OK),
    tasks=Tasks(None, 0, _OK, _OK, _OK, _OK, _OK, listeners=1, beating=0),
    processes=Processes(_OK, _OK, _OK, _OK, {"persona_generated": 2}, _OK, _OK, _OK),
    api=Api(
        live=Answer(200),
        ready=Answer(200),
        transport="realtime",
        with_token=Answer(200),
        with_wrong_token=Answer(401),
        with_no_token=Answer(401),
        queue=Answer(200, "{}"),
        workers="off",
        clock=Clock(-0.3, 0.6),
    ),
    realtime=Realtime(
        health=Answer(200),
        handshake="",
        wrong_key="refused with 401",
        subscription=Subscription(True, True, 20.0),
        delivery=Delivery(("a", "b"), ("a", "b"), (3.0, 4.0), 10),
        anon=Overheard(0, "no permission"),
        stranger=Overheard(0),
    ),
)


def _of(part: str) -> Callable[..., Facts]:
    """Facts whose `part` has some fields replaced."""
    return lambda **changes: replace(GOOD, **{part: replace(getattr(GOOD, part), **changes)})


server, session, schema, log = _of("server"), _of("session"), _of("schema"), _of("log")
tasks, processes, api, realtime = _of("tasks"), _of("processes"), _of("api"), _of("realtime")


def table(name: str, **changes: Any) -> Facts:
    assert isinstance(GOOD.schema, Schema)
    return schema(tables={**GOOD.schema.tables, name: replace(_TABLE, **changes)})


def publication(**changes: Any) -> Facts:
    assert isinstance(GOOD.schema, Schema)
    assert GOOD.schema.publication is not None
    return schema(publication=replace(GOOD.schema.publication, **changes))


def function(name: str, *roles: str) -> Facts:
    assert isinstance(GOOD.schema, Schema)
    return schema(functions={**GOOD.schema.functions, name: Function(frozenset(roles))})


BAD: dict[str, Facts] = {
    "SET-2": GOOD.but(anon_key=Key("anon", NOW + 1000, False)),
    "SET-3": GOOD.but(service_key=Key("anon", NOW + 1000, True)),
    "DB-1": server(version=140011),
    "DB-2": server(wal_level="replica"),
    "DB-3": server(slots_used=10),
    "DB-4": GOOD.but(slots=(Slot("left", False, False, 3 * 1024**3, "extended"),)),
    "DB-5": session(one_backend=False),
    "DB-6": session(sees_all_rows=False),
    "DB-7": server(connections_used=95),
    "CLK-1": GOOD.but(database_clock=Clock(-60, 0.1)),
    "CLK-2": api(clock=Clock(60, 0.6)),
    "MIG-1": GOOD.but(migrations=Migrations({"1 a": "applied", "2 b": "pending"})),
    "MIG-2": GOOD.but(migrations=Migrations({"1 a": "edited"})),
    "SCH-1": schema(tables={}),
    "PUB-1": publication(operations=frozenset({"insert"})),
    "PUB-2": publication(tables=frozenset({"process_events"})),
    "PUB-3": table("process_events", identity_trouble="no primary key"),
    "RLS-1": table("process_events", row_security=False),
    "RLS-2": table("process_events", readers=frozenset({"service_role"})),
    "GRT-1": table("process_events", grants={"service_role": frozenset({"SELECT"})}),
    "GRT-2": table("background_tasks", grants={**_TABLE.grants, "anon": frozenset({"SELECT"})}),
    "TRG-1": schema(triggers={**dict.fromkeys(catalog.TRIGGERS, ""), catalog.TRIGGERS[0]: "disabled"}),
    "FUN-1": function("claim_background_task"),
    "FUN-2": function("create_process_event", "service_role", "anon"),
    "EVT-1": log(broken=SOME),
    "EVT-2": log(behind=SOME),
    "EVT-3": log(disagreeing=SOME),
    "EVT-4": log(silent=SOME),
    "TSK-1": tasks(expired_leases=SOME),
    "TSK-2": tasks(due=3, oldest_due_s=61.0),
    "TSK-3": tasks(failed=SOME),
    "TSK-4": tasks(last_attempt=SOME),
    "TSK-5": tasks(of_ended=SOME),
    "TSK-6": tasks(waiting_for_ended=SOME),
    "WRK-1": tasks(listeners=0),
    "PRC-1": processes(orphans=SOME),
    "PRC-2": processes(promptless=SOME),
    "PRC-3": processes(flag_differs=SOME),
    "PRC-4": processes(overdue_prompts=SOME),
    "PRC-5": processes(steps={"theme_selected": 1, "persona_choosing": 1}),
    "PRC-6": processes(without_article=SOME),
    "PRC-7": processes(silent_errors=SOME),
    "PRC-8": processes(without_context=SOME),
    "API-1": api(live=Answer(502, "bad gateway")),
    "API-2": api(ready=Answer(503, "database failing")),
    "API-3": api(with_token=Answer(401)),
    "API-4": api(with_wrong_token=Answer(200)),
    "API-5": api(transport="websocket"),
    "API-6": api(queue=Answer(500)),
    "RT-1": realtime(health=Answer(503)),
    "RT-2": realtime(handshake="refused with 403"),
    "RT-3": realtime(wrong_key=""),
    "RT-4": realtime(subscription=Subscription(True, False)),
    "RT-5": realtime(delivery=Delivery(("a", "b"), ("a",), (3.0,), 10)),
    "RT-6": realtime(delivery=Delivery(("a", "b"), ("b", "a"), (3.0, 4.0), 10)),
    "RT-7": realtime(anon=Overheard(2)),
    "RT-8": realtime(stranger=Overheard(1)),
}
