"""The renderers, held against golden files; the stored form reloads to an equal record."""

import os
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import junitparser
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toolkit
from toolkit.errors import ExitCode, UsageError
from toolkit.report import as_html, as_json, as_junit, as_terminal, pictures
from toolkit.report.pictures import timelines
from toolkit.report.record import (
    MOST_LINES,
    Band,
    Check,
    Curve,
    Distribution,
    Lane,
    Link,
    Measurement,
    Report,
    Table,
    Tick,
    Timeline,
    Verdict,
    shortened,
    worst,
)
from toolkit.report.redact import redact, redact_value

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "reports"
START = datetime(2025, 7, 27, 12, 0, tzinfo=UTC)


def sample() -> Report:
    return Report(
        name="scenarios",
        title="Scenarios",
        verdict=Verdict.FAIL,
        started_at=START,
        finished_at=START + timedelta(seconds=4.25),
        target="embedded (http://127.0.0.1:8000)",
        tool_version="0.1.0",
        checks=(
            Check("start", "The process starts", Verdict.PASS, "started in 12 ms", group="flow"),
            Check(
                "order",
                "Events arrive in order",
                Verdict.FAIL,
                "saw 7 after 5 <twice>",
                "Look at the stream's gap handling.",
                "flow",
                ("0.412 s deliver 5", "0.501 s deliver 7"),
            ),
            Check("recovery", "The stream recovers", Verdict.UNKNOWN, "nothing was missed", "Cut earlier.", "recovery"),
        ),
        measurements=(Measurement("delivery p95", 12.5, "ms", "flow"),),
        criteria=(Check("1", "All four scenarios pass", Verdict.FAIL, "1 of 2"),),
        tables=(Table("Ledger", ("process", "rows"), (("article", "42"),), "flow"),),
        timelines=(
            Timeline(
                "flow",
                (Lane("article · database", (Tick(0.1, "1"), Tick(2.0, "2 <lost>", "bad"))),),
                (Band(0.5, 1.5, "cut & healed"),),
                (Curve("traffic", "1/s", ((0.0, 0.0), (1.0, 5.0), (3.0, 2.0))),),
            ),
        ),
        distributions=(Distribution("Delivery latency", "ms", (1.0, 2.0, 3.0, 40.0)),),
        links=(Link("History", "history.jsonl"),),
        notes=("seed 4711",),
    )


@pytest.mark.parametrize(
    ("name", "render"),
    [
        ("report.txt", lambda report: as_terminal.render(report, width=100)),
        ("report.json", as_json.render),
        ("report.html", as_html.render),
        ("report.xml", as_junit.render),
    ],
)
def test_golden(name, render):
    path = GOLDEN / name
    got = render(sample())
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(got)
    assert got == path.read_text(), f"differs from {path}; UPDATE_GOLDEN=1 accepts the change"


def test_json_reloads_equal():
    assert as_json.load(as_json.render(sample())) == sample()


@given(
    st.builds(
        Check,
        st.text(),
        st.text(),
        st.sampled_from(Verdict),
        st.text(),
        st.text(),
        st.text(),
        st.lists(st.text()).map(tuple),
    ),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_every_renderer_takes_any_text(check, value):
    report = Report("n", "t", Verdict.PASS, START, START, "x", "1", (check,), (Measurement("m", value, "u"),))
    assert as_json.load(as_json.render(report)) == report
    ET.fromstring(as_junit.render(report))
    assert as_html.render(report)
    assert as_terminal.render(report)


def test_a_foreign_document_is_refused_by_field():
    with pytest.raises(UsageError, match=r"old\.json.*verdict"):
        as_json.load(as_json.render(sample()).replace('"verdict": "fail"', '"verdict": "good"', 1), source="old.json")


def test_junit_counts_unknown_as_error():
    suites = junitparser.JUnitXml.fromstring(as_junit.render(sample()).encode())
    suites.update_statistics()
    assert (suites.tests, suites.failures, suites.errors, suites.skipped) == (4, 2, 1, 0)


def test_the_page_loads_nothing_and_escapes_everything():
    page = as_html.render(sample())
    assert not re.search(r"(?:src|@import|url\()", page)
    assert "<twice>" not in page
    assert "<lost>" not in page


def test_a_page_of_many_runs_folds_what_passed_and_shows_what_did_not():
    groups = [("good", Verdict.PASS), ("bad", Verdict.FAIL)]
    checks = tuple(Check(f"c{n}", "t", verdict, group=name) for name, verdict in groups for n in range(60))
    page = as_html.render(replace(sample(), checks=checks))
    assert "<details><summary>60 of 60 passed" in page
    assert page.count("<details>") == 1
    bad = page.index("<h2>bad</h2>")
    assert bad < page.index("<h2>good</h2>"), "what failed stands first"


def test_worst():
    assert worst([]) is Verdict.UNKNOWN
    assert worst([Verdict.PASS]) is Verdict.PASS
    assert worst([Verdict.PASS, Verdict.UNKNOWN]) is Verdict.UNKNOWN
    assert worst([Verdict.UNKNOWN, Verdict.FAIL]) is Verdict.FAIL
    assert sample().exit_code is ExitCode.FAIL


def test_a_report_in_which_nothing_was_looked_at_is_no_pass():
    whole = replace(sample(), verdict=Verdict.PASS)
    assert whole.verdict is Verdict.PASS
    assert replace(whole, checks=()).verdict is Verdict.PASS  # its criteria were judged
    empty = replace(whole, checks=(), criteria=())
    assert (empty.verdict, empty.exit_code) == (Verdict.UNKNOWN, ExitCode.UNKNOWN)
    assert replace(empty, verdict=Verdict.FAIL).verdict is Verdict.FAIL


def test_what_failed_comes_first_in_every_rendering():
    verdicts = (Verdict.PASS, Verdict.UNKNOWN, Verdict.FAIL, Verdict.PASS, Verdict.UNKNOWN, Verdict.FAIL)
    checks = tuple(Check(f"c{n}", f"title{n}", verdict, group="ab"[n % 2]) for n, verdict in enumerate(verdicts))
    good = Check("c9", "title9", Verdict.PASS, group="first, and all is well")
    report = replace(sample(), checks=(good, *checks), criteria=(), tables=(), timelines=(), distributions=())
    order = ["title2", "title4", "title0", "title5", "title1", "title3", "title9"]  # the groups, then what is in them
    assert [check.title for check in report.checks] == order
    for render in (as_terminal.render, as_json.render, as_html.render, as_junit.render):
        assert re.findall(r"title\d", render(report)) == order


@pytest.mark.parametrize("width", [60, 100])
def test_nothing_is_cut_off_in_a_terminal(width):
    path = "/var/lib/" + "a-long-folder-name/" * 8 + "rows.jsonl"
    report = replace(
        sample(), tables=(Table("T", ("what", "where"), (("w" * 90, path),)),), links=(Link("Exported", path),)
    )
    shown = as_terminal.render(report, width=width)
    assert "…" not in shown
    assert path in shown


def test_pictures_survive_empty_and_dense_input():
    assert "<svg" in pictures.timeline(Timeline("empty"))
    assert "No samples" in pictures.distributions([Distribution("empty", "ms", ())])
    dense = Lane("many", tuple(Tick(n / 100, str(n), "bad" if n == 777 else "plain") for n in range(5000)))
    drawn = pictures.timeline(Timeline("dense", (dense,)))
    assert drawn.count("<title>") <= timelines.MAX_TICKS + 1
    assert "<title>777 at" in drawn


@pytest.mark.parametrize(
    "secret",
    [
        "postgresql://me:hunter22@db/x",
        "ws://h/realtime/v1/websocket?apikey=hunter22&vsn=1",
        "Authorization: Bearer hunter22",
        "token eyJhbGciOi.eyJzdWIiOiJ4In0.hunter22",
        "sb_secret_hunter22",
    ],
)
def test_redact(secret):
    assert "hunter22" not in redact(secret)
    assert "hunter22" not in str(redact_value({"a": [secret], "apikey": "hunter22"}))


def test_a_list_is_cut_after_its_first_lines_and_says_how_many_are_missing() -> None:
    assert shortened("abc", 3) == ("a", "b", "c")
    assert shortened("abcde", 3) == ("a", "b", "c", "… and 2 more")
    assert len(shortened(str(number) for number in range(100))) == MOST_LINES + 1
    assert len(shortened(map(str, range(100)), None)) == 100


def test_a_check_of_lines_fails_by_its_violations_and_is_silent_without_any() -> None:
    assert Check.of_lines("A", "All is well", (), remedy="Mend it.") == Check("A", "All is well", Verdict.PASS)
    bad = Check.of_lines("A", "All is well", ["one", "two", "three"], detail="seen", remedy="Mend it.", most=2)
    assert (bad.verdict, bad.witness, bad.remedy) == (Verdict.FAIL, ("one", "two", "… and 1 more"), "Mend it.")
    assert bad.seen == "seen; one; two; … and 1 more"


def test_a_judged_check_gets_its_name_and_only_a_failure_without_remedy_the_one_of_its_rule() -> None:
    failed, passed = Check("", "", Verdict.FAIL, "why"), Check("", "", Verdict.PASS, "seen")
    own, undecided = Check("", "", Verdict.FAIL, remedy="Look here."), Check("", "", Verdict.UNKNOWN, "no answer")
    named = [one.named("A", "It holds", remedy="Mend it.", group="G") for one in (failed, own, passed, undecided)]
    assert [one.remedy for one in named] == ["Mend it.", "Look here.", "", ""]
    assert {(one.id, one.title, one.group) for one in named} == {("A", "It holds", "G")}


def test_nobody_else_cuts_a_list_in_words_of_their_own() -> None:
    written = re.compile(r"and \{[^}]*\} more")
    found = [path.name for path in Path(toolkit.__file__).parent.rglob("*.py") if written.search(path.read_text())]
    assert found == ["record.py"]


def test_a_table_without_rows_is_left_out() -> None:
    empty = replace(sample(), tables=(Table("Nothing of this", ("process", "rows"), (), "flow"),))
    assert "Nothing of this" not in as_html.render(empty)
    assert "Nothing of this" not in as_terminal.render(empty)


def test_what_stands_between_backticks_is_code_on_the_page() -> None:
    assert as_html.as_code("Run `toolkit <up>` & `x`") == ("Run <code>toolkit &lt;up&gt;</code> &amp; <code>x</code>")
    assert as_html.as_code("one ` alone") == "one ` alone"
    check = Check("id", "It `works`", Verdict.FAIL, remedy="Type `make`.")
    page = as_html.render(replace(sample(), checks=(check,), criteria=(check,)))
    assert page.count("It <code>works</code>") == page.count("Type <code>make</code>.") == 2
