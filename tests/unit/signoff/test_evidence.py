"""Saved reports as evidence: what is old, foreign or missing proves nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from toolkit.commands.signoff import command as signoff
from toolkit.errors import UsageError
from toolkit.report import as_html, as_json, as_terminal
from toolkit.report.record import Check, Measurement, Report, Table, Verdict, tool_version
from toolkit.signoff.evidence import COMPLETED_ON, SIGN_OFF, find_reports, from_report, weigh
from toolkit.signoff.sign_off import SignOffRequest, sign_off

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def report(name: str = "rehearse", *checks: Check, finished: datetime = NOW, version: str | None = None) -> Report:
    return Report(
        name,
        name,
        Verdict.PASS,
        finished,
        finished,
        "embedded",
        version or tool_version(),
        checks=checks
        or (
            Check("migrate.apply", "applied", Verdict.PASS, "2 files"),
            Check("migrate.verify", "verified", Verdict.FAIL, "1 of 9"),
        ),
        measurements=(Measurement("operations", 900, "", "migrate"),),
        tables=(Table(SIGN_OFF, ("", ""), ((COMPLETED_ON, "2026-11-23 11:59 UTC"),)),),
    )


def save(folder, saved: Report) -> None:
    folder.mkdir()
    (folder / "report.json").write_text(as_json.render(saved))


def test_a_report_is_taken_at_its_word():
    evidence = from_report(report(), "r.json")
    assert evidence.items["migrate.apply"].verdict is Verdict.PASS
    assert evidence.figures == {"migrate: operations": 900}
    assert evidence.completed_on == "2026-11-23 11:59 UTC"


@pytest.mark.parametrize(
    ("now", "version", "says"),
    [
        (NOW + timedelta(days=8), None, "8.0 days old"),
        (NOW, "0.0.1", "version 0.0.1"),
        (NOW - timedelta(hours=1), None, "future"),
    ],
)
def test_stale_evidence_passes_nothing_and_still_fails(now, version, says):
    stale = report(version=version)
    evidence = weigh(from_report(stale, "r.json"), stale, now=now, tool_version=tool_version())
    assert evidence.items["migrate.apply"].verdict is Verdict.UNKNOWN
    assert says in evidence.items["migrate.apply"].detail
    assert evidence.items["migrate.verify"].verdict is Verdict.FAIL
    assert not evidence.figures
    assert evidence.objections


def test_fresh_evidence_is_left_alone():
    fresh = report()
    evidence = from_report(fresh, "r.json")
    assert weigh(evidence, fresh, now=NOW + timedelta(days=6), tool_version=tool_version()) == evidence


def test_the_newest_rehearsal_counts_with_the_scenario_runs_after_it(tmp_path):
    save(tmp_path / "a", report(finished=NOW))
    save(tmp_path / "b", report(finished=NOW - timedelta(days=1)))
    save(tmp_path / "c", report("scenarios", finished=NOW - timedelta(hours=1)))
    save(tmp_path / "d", report("scenarios", finished=NOW + timedelta(hours=1)))
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "report.json").write_text("{}")
    (tmp_path / "latest").symlink_to("a")
    assert [path.parent.name for path in find_reports(tmp_path)] == ["a", "d"]
    assert [path.parent.name for path in find_reports(tmp_path / "b")] == ["b"]


@pytest.mark.parametrize("bad_first", [True, False])
def test_a_later_scenario_run_replaces_what_the_rehearsal_saw(tmp_path, bad_first):
    bad = Check("no-loss", "No loss", Verdict.FAIL, group="process-recovery #2")
    good = Check("no-loss", "No loss", Verdict.PASS, group="process-recovery #1")
    save(tmp_path / "a", report("rehearse", Check("scenario.2", "s", Verdict.PASS, "fine"), finished=NOW))
    runs = (bad, good) if bad_first else (good, bad)
    save(tmp_path / "b", report("scenarios", *runs, finished=NOW + timedelta(minutes=1)))
    found = sign_off(SignOffRequest(tmp_path), now=NOW + timedelta(minutes=2))
    assert found.criteria[5].verdict is Verdict.FAIL
    assert "No loss" in found.criteria[5].detail


def test_nothing_saved_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no saved rehearsal"):
        sign_off(SignOffRequest(tmp_path))
    save(tmp_path / "a", report("doctor"))
    with pytest.raises(UsageError, match="no saved rehearsal"):
        sign_off(SignOffRequest(tmp_path))


def test_the_sign_off_never_passes_without_evidence_and_says_who_signed(tmp_path):
    save(tmp_path / "a", report(finished=NOW))
    found = sign_off(SignOffRequest(tmp_path, signed_off_by="Aoi"), now=NOW)
    assert found.verdict is Verdict.FAIL
    assert [check.verdict for check in found.criteria].count(Verdict.PASS) == 0
    text = as_terminal.render(found)
    assert "2026-11-23 11:59 UTC" in text
    assert "Aoi (with 10 of 10 criteria not passed)" in text
    unsigned = sign_off(SignOffRequest(tmp_path), now=NOW)
    assert "nobody yet" in as_terminal.render(unsigned)
    assert "Signed off by" in as_html.render(replace(unsigned, title="x"))


def test_what_cannot_be_judged_is_not_passed_over_in_silence(tmp_path):
    save(tmp_path / "a", report(finished=NOW))
    save(tmp_path / "b", report(finished=NOW))
    (tmp_path / "b" / "report.json").write_text((tmp_path / "a" / "report.json").read_text()[:300])
    (tmp_path / "rehearse-20261123-120000").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "latest").symlink_to("b")
    damaged, killed = sign_off(SignOffRequest(tmp_path), now=NOW).notes
    assert "not a report of this toolkit" in damaged
    assert "holds no report" in killed


def test_a_time_without_its_zone_is_refused_in_words(tmp_path):
    save(tmp_path / "a", replace(report(), finished_at=NOW.replace(tzinfo=None)))
    with pytest.raises(UsageError, match="finished_at does not say in which time zone"):
        sign_off(SignOffRequest(tmp_path / "a"), now=NOW)


def test_stale_evidence_is_to_be_made_again(tmp_path):
    save(tmp_path / "a", report(version="0.0.1"))
    criteria = sign_off(SignOffRequest(tmp_path / "a"), now=NOW).criteria
    assert "`toolkit rehearse` again" in criteria[1].remedy
    assert "load compare" in criteria[6].remedy


def test_a_rehearsal_that_failed_later_counts(tmp_path):
    save(tmp_path / "a", report("rehearse", Check("realtime.endpoints", "e", Verdict.PASS), finished=NOW))
    save(
        tmp_path / "b",
        report("rehearse", Check("realtime.endpoints", "e", Verdict.FAIL, "404"), finished=NOW + timedelta(minutes=1)),
    )
    assert sign_off(SignOffRequest(tmp_path), now=NOW + timedelta(minutes=2)).criteria[1].verdict is Verdict.FAIL


def test_the_report_itself_may_be_named_instead_of_its_folder(tmp_path):
    save(tmp_path / "run", report(finished=datetime.now(UTC)))
    told = [
        CliRunner().invoke(signoff, [str(place), "--json"])
        for place in (tmp_path / "run", tmp_path / "run/report.json")
    ]
    assert [one.exit_code for one in told] == [1, 1], told
    by_folder, by_file = (as_json.load(one.output) for one in told)
    assert by_file.criteria == by_folder.criteria


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_load_run_over_both_transports_answers_criterion_7_and_only_that(tmp_path, verdict):
    save(tmp_path / "a-rehearsal", report(finished=datetime.now(UTC) - timedelta(hours=2)))
    compared = (
        Check("load.comparison", "compared", verdict, "1.03 of the WebSocket's time"),
        Check("load.compare.reaction", "reaction", verdict, "worse: more than 10% slower, interval 1.20–1.30"),
        Check("migrate.apply", "not this room's word", Verdict.FAIL),
    )
    save(tmp_path / "b-load", report("load", *compared, finished=datetime.now(UTC) - timedelta(hours=1)))
    judged = sign_off(SignOffRequest(tmp_path))
    (seventh,) = [c for c in judged.criteria if c.id == "criterion-7"]
    assert seventh.verdict is verdict
    (first,) = [c for c in judged.criteria if c.id == "criterion-1"]
    assert "not this room's word" not in first.detail


def test_a_load_run_before_the_rehearsal_or_over_one_transport_proves_nothing(tmp_path):
    save(
        tmp_path / "a-load",
        report(
            "load", Check("load.comparison", "compared", Verdict.PASS), finished=datetime.now(UTC) - timedelta(hours=2)
        ),
    )
    save(tmp_path / "b-rehearsal", report(finished=datetime.now(UTC) - timedelta(hours=1)))
    save(
        tmp_path / "c-load",
        report("load", Check("load.no-loss", "nothing lost", Verdict.PASS), finished=datetime.now(UTC)),
    )
    (seventh,) = [c for c in sign_off(SignOffRequest(tmp_path)).criteria if c.id == "criterion-7"]
    assert seventh.verdict is Verdict.UNKNOWN
