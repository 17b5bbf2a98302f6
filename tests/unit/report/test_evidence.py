"""The evidence of a criterion: each fact once, each file once, a link only where a file lies beside the report."""

import re

import pytest

from tests.unit.report.test_report import sample
from toolkit.report import as_html, as_terminal, pictures
from toolkit.report.evidence import evidence, file_in
from toolkit.report.model import Check, Verdict

CRITERION = Check(
    "criterion-3", "Events are received", Verdict.PASS,
    "realtime.events: 282 stored (median; limit 3); 3 subscribers; scenario.1: 29 of 29 checks passed",
    witness=("realtime.events, scenario.1 in report.json", "figures in report.json", "scenarios/a/history.jsonl"),
)  # fmt: skip


def test_facts_are_told_apart_and_files_named_once():
    found = evidence(CRITERION)
    assert found.facts == (
        "realtime.events: 282 stored (median; limit 3); 3 subscribers", "scenario.1: 29 of 29 checks passed"
    )  # fmt: skip
    assert found.sources == ("report.json", "scenarios/a/history.jsonl")


def test_a_source_that_says_more_than_the_facts_is_kept_whole():
    check = Check("c", "t", Verdict.PASS, "a.b: good", witness=("a.b, c.d in report.json",))
    assert evidence(check).sources == ("a.b, c.d in report.json",)


@pytest.mark.parametrize(
    "source", ["https://elsewhere/x.json", "/etc/x.json", "../x.json", "javascript:x.json", "words"]
)
def test_only_files_below_the_report_are_links(source):
    assert file_in(source) is None


def test_criteria_are_a_table_in_the_page_and_in_the_terminal():
    from dataclasses import replace

    report = replace(sample(), criteria=(CRITERION, Check("criterion-7", "Faster", Verdict.UNKNOWN, "", "Measure it.")))
    page = as_html.render(report)
    assert '<a href="scenarios/a/history.jsonl">' in page
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
    rows = pictures._label_rows(
        [(100, "both → realtime"), (110, "scenario 1"), (400, "faults"), (112, "x"), (990, "end")]
    )
    assert rows == [0, 1, 0, 2, 0]
    crowd = pictures._label_rows([(100 + n, "a long label") for n in range(20)])
    assert crowd.count(None) == 20 - pictures.LABEL_ROWS
