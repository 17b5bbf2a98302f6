"""Each check over literal facts: good, bad and absent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.unit.checks.literals import BAD, GOOD, api, publication, realtime, tasks
from toolkit.checks import ALL
from toolkit.checks.absent import Absent
from toolkit.checks.facts import Answer, Clock, Delivery, Facts, Found, Key, Settings, Slot
from toolkit.checks.named_check import NamedCheck, failed
from toolkit.monitor.doctor import diagnose
from toolkit.report.record import Check, Verdict

BY_ID = {check.id: check for check in ALL}


def run(id: str, facts: Facts) -> Check:
    return BY_ID[id].run(facts)


def test_ids_are_unique_and_every_check_has_a_bad_literal() -> None:
    assert len(BY_ID) == len(ALL)
    assert len({check.title for check in ALL}) == len(ALL)
    # SET-1 never fails: what is not set only keeps others from looking.
    assert set(BAD) == set(BY_ID) - {"SET-1"}


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.id)
def test_good_facts_pass_and_absent_ones_are_unknown(check: NamedCheck[Facts]) -> None:
    result = check.run(GOOD)
    assert (result.verdict, result.remedy, result.evidence) == (Verdict.PASS, "", ()), result
    result = check.run(Facts(now=GOOD.now))
    assert (result.verdict, result.detail) == (Verdict.UNKNOWN, "it was not looked at")


@pytest.mark.parametrize("id", BAD)
def test_a_bad_fact_fails_its_check_with_a_remedy(id: str) -> None:
    result = run(id, BAD[id])
    assert result.verdict is Verdict.FAIL
    assert result.detail
    assert result.remedy == BY_ID[id].remedy
    # Nothing else is accused.
    assert {c.id for c in ALL if c.run(BAD[id]).verdict is Verdict.FAIL} == {id}


def test_an_absent_fact_keeps_its_reason_and_remedy() -> None:
    result = run("DB-1", GOOD.but(server=Absent("DATABASE_URL is not set", "Set it.")))
    assert (result.verdict, result.detail, result.remedy) == (Verdict.UNKNOWN, "DATABASE_URL is not set", "Set it.")


def test_missing_settings_are_unknown_and_named() -> None:
    result = run("SET-1", GOOD.but(settings=Settings({"API_URL": "ask the team"})))
    assert result.verdict is Verdict.UNKNOWN
    assert "API_URL" in result.detail
    assert "ask the team" in result.remedy


def test_what_passes_can_still_warn() -> None:
    assert "FOR ALL TABLES" in BY_ID["PUB-2"].run(publication(all_tables=True, tables=frozenset())).evidence[0].fact
    result = BY_ID["DB-4"].run(GOOD.but(slots=(Slot("idle", False, False, 5, "reserved"),)))
    assert (result.verdict, "idle" in result.evidence[0].fact) == (Verdict.PASS, True)
    assert any(
        "idle" in n
        for n in diagnose(GOOD.but(slots=(Slot("idle", False, False, 5, "reserved"),)), "x", datetime.now(UTC)).notes
    )


def test_an_expired_key_and_a_slot_that_lost_its_wal_fail() -> None:
    assert "expired" in run("SET-2", GOOD.but(anon_key=Key("anon", GOOD.now - 86400, True))).detail
    assert run("DB-4", GOOD.but(slots=(Slot("s", True, False, 0, "lost"),))).verdict is Verdict.FAIL


def test_a_clock_is_not_blamed_for_a_slow_answer() -> None:
    assert run("CLK-1", GOOD.but(database_clock=Clock(9.0, 6.0))).verdict is Verdict.PASS
    assert run("CLK-1", GOOD.but(database_clock=Clock(12.0, 6.0))).verdict is Verdict.FAIL


def test_a_worker_counts_however_it_shows_itself() -> None:
    assert run("WRK-1", tasks(listeners=0, beating=1)).verdict is Verdict.PASS
    both = tasks(listeners=0).but(api=api(workers="ok").api)
    assert run("WRK-1", both).verdict is Verdict.PASS


def test_a_server_without_a_health_address_is_unknown_not_ill() -> None:
    assert run("RT-1", realtime(health=Answer(404))).verdict is Verdict.UNKNOWN
    assert run("API-2", api(ready=Answer(404))).verdict is Verdict.UNKNOWN


def test_a_doubled_event_is_seen_and_order_needs_events() -> None:
    assert "1 doubled" in run("RT-6", realtime(delivery=Delivery(("a",), ("a", "a"), (1.0, 2.0), 10))).detail
    assert run("RT-6", realtime(delivery=Delivery(("a",), (), (), 10))).verdict is Verdict.UNKNOWN


def test_evidence_is_bounded() -> None:
    finding = failed("many", [f"line {n}" for n in range(30)])
    assert (len(finding.witness), finding.witness[-1]) == (21, "… and 10 more")
    assert Found(30).count == 30


def test_the_report_says_in_its_title_what_was_found() -> None:
    at = datetime.now(UTC)
    assert diagnose(GOOD, "x", at).verdict is Verdict.PASS
    bad = diagnose(BAD["TRG-1"], "x", at)
    assert (bad.exit_code, bad.title) == (1, f"1 of {len(ALL)} checks found something wrong")
    open_ = diagnose(Facts(now=0), "x", at)
    assert (open_.exit_code, "could not look" in open_.title) == (3, True)
