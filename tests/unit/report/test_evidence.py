"""The evidence of a criterion: each fact once, each file once, a link only where a file is meant."""

import re
from dataclasses import replace

import pytest

from tests.unit.report.test_report import sample
from toolkit.report import as_html, as_json, as_junit, as_terminal
from toolkit.report.as_html import column_kinds, pages_of
from toolkit.report.links import is_link, seen_from
from toolkit.report.pictures import histograms, quantity, timelines
from toolkit.report.record import Band, Check, Distribution, Evidence, Link, Table, Timeline, Verdict, files_of

CRITERION = Check(
    "criterion-3",
    "Events are received",
    Verdict.PASS,
    "282 stored; 29 of 29 checks passed",
    evidence=(
        Evidence("realtime.events: 282 stored; limit 3", ("report.json",)),
        Evidence("scenario.1: 29 of 29 checks passed", ("report.json", "scenarios/a/history.jsonl")),
    ),
)


def test_each_file_is_named_once_and_in_order():
    assert files_of(CRITERION) == ("report.json", "scenarios/a/history.jsonl")


@pytest.mark.parametrize(
    ("file", "link"),
    [
        ("report.json", True),
        ("../runs/a b/report.json", True),
        ("https://elsewhere/x.json", False),
        ("//elsewhere/x", False),
        ("/etc/x.json", False),
        ("javascript:x.json", False),
        ("\\\\elsewhere\\x", False),
        ("", False),
    ],
)
def test_only_relative_paths_are_links(file, link):
    assert is_link(file) is link
    check = replace(CRITERION, evidence=(Evidence("fact", (file,)),))
    assert ("<a href" in as_html.render(replace(sample(), links=(), checks=(check,)))) is link


def test_every_check_has_an_anchor_of_its_own_and_a_link_leads_into_the_report_only():
    checks = tuple(replace(CRITERION, id=id) for id in ("a b", "a b", "a-b", "c"))
    links = (Link("Log", "logs/api.log"), Link("Elsewhere", "javascript:alert(1)"))
    page = as_html.render(replace(sample(), checks=checks, links=links, criteria=()))
    assert re.findall(r'<li id="([^"]*)"', page) == ["a-b", "a-b-2", "a-b-3", "c"]
    assert '<a href="logs/api.log">Log</a>' in page
    assert 'href="javascript' not in page
    assert "Elsewhere: javascript:alert(1)" in page


def test_files_are_named_as_seen_from_the_page(tmp_path):
    run = tmp_path / "runs" / "one"
    report = replace(sample(), checks=(CRITERION,), criteria=(CRITERION,), links=(Link("Log", "logs/api.log"),))
    moved = seen_from(report, tmp_path / "pages", run)
    assert moved.links[0].href == "../runs/one/logs/api.log"
    assert files_of(moved.criteria[0]) == ("../runs/one/report.json", "../runs/one/scenarios/a/history.jsonl")
    assert files_of(moved.checks[0]) == files_of(moved.criteria[0])
    assert seen_from(report, run, run) == report


def test_evidence_leads_to_pages_and_to_the_check_on_them():
    files = ("report.json", "a/history.jsonl", "a/report.json", "exports/rows.csv")
    assert pages_of(files) == ["report.html", "a/report.html", "exports/rows.csv"]
    assert pages_of(("report.json",), "again.verify: 57 of 57 checks hold") == ["report.html#again.verify"]
    assert pages_of(("report.json",), "57 of 57: all hold") == ["report.html"]


def test_a_column_of_figures_stands_at_the_right_and_short_words_are_not_broken():
    rows = (("up", "12.5", "–", "a sentence that is longer than a column should be wide"), ("down", "–", "–", "b"))
    assert column_kinds(Table("t", ("", "ms", "anon", "why"), rows)) == ["short", "number", "short", ""]


def test_a_label_too_long_for_the_picture_is_numbered_and_told_whole_below_it():
    long = "20250727000000_migration.sql:839 (alter table …), ACCESS EXCLUSIVE on public.generated_articles_state"
    drawn = timelines.timeline(Timeline("t", bands=(Band(0, 1, "up"), Band(0.2, 0.4, long), Band(0.6, 0.9, long))))
    assert drawn.count(f'">{long} (') == 2
    assert '<li value="2">' in drawn


def test_figures_are_written_as_people_read_them():
    given = [(0.4213, "ms"), (14.6, "ms"), (999, "ms"), (14_600, "ms"), (144_000, "ms"), (12_345, "events"), (0, "")]
    shown = [quantity(value, unit) for value, unit in given]
    assert shown == ["0.421 ms", "14.6 ms", "999 ms", "14.6 s", "2.4 min", "12,345 events", "0"]


def test_samples_of_two_series_lie_over_one_axis():
    pair = [Distribution("start: until it runs", "ms", (10.0, 20.0, 1000.0), series=name) for name in ("old", "new")]
    drawn = histograms.distributions(pair)
    assert drawn.count("<svg") == 1
    assert drawn.count(">3 · 1 · 20 ms · 1 s · 1 s<") == 2, "samples, most in one bar, p50, p95, p99"
    seconds = Distribution("age", "s", (1.0,))
    assert histograms.distributions([*pair, seconds]).count("<svg") == 2, "another unit, another axis"


def test_evidence_of_a_check_is_shown_and_kept():
    failed = replace(CRITERION, verdict=Verdict.FAIL, group="g")
    report = replace(sample(), checks=(failed,), criteria=())
    assert as_json.load(as_json.render(report)) == report
    assert '<a href="scenarios/a/report.html">' in as_html.render(report), "the page beside the raw records"
    assert "scenarios/a/history.jsonl" in as_terminal.render(report, width=120)
    assert "scenarios/a/history.jsonl" in as_junit.render(report)


def test_criteria_are_a_table_in_the_page_and_in_the_terminal():
    report = replace(sample(), criteria=(CRITERION, Check("criterion-7", "Faster", Verdict.UNKNOWN, "", "Measure it.")))
    page = as_html.render(report)
    assert '<a href="scenarios/a/report.html">' in page
    assert page.count("29 of 29 checks passed") == 1
    assert re.search(r'class="verdict unknown">\?&nbsp;unknown<', page), "a verdict is a word and a mark, not a colour"
    for width in (80, 120):
        lines = as_terminal.render(report, width=width).splitlines()
        assert max(map(len, lines)) <= width
        assert sum("29 of 29" in line for line in lines) == 1
        (row,) = (line for line in lines if "Events are received" in line)
        assert row.split()[0] == "1"
        assert "✔ pass" in row


def test_labels_of_bands_do_not_cover_one_another():
    rows = timelines._label_rows(
        [(100, "both → realtime"), (110, "scenario 1"), (400, "faults"), (112, "x"), (990, "end")]
    )
    assert rows == [0, 1, 0, 2, 0]
    crowd = timelines._label_rows([(100 + n, "a long label") for n in range(20)])
    assert crowd.count(None) == 20 - timelines.LABEL_ROWS
