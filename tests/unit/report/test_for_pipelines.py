"""What a pipeline reads: SARIF by its structure, annotations by GitHub's rules, Markdown that means nothing else."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from toolkit.report import as_github, as_markdown, as_sarif
from toolkit.report.places import Place, places_in
from toolkit.report.record import Check, Report, Table, Verdict

WHEN = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
BAD = Check(
    "crash-2-up", "Wherever it is interrupted", Verdict.FAIL, "50%, of 2", "Mend it:\nnow.", witness=("2_b.sql:7: x",)
)
UNKNOWN = Check("locks-2-up", "Nobody waits", Verdict.UNKNOWN, "there is no rollback file")
MILD = Check("no-index", "warning, line 3: no index", Verdict.PASS, "it scans", group="1_a.sql")
FINE = Check("replay-1", "It applies", Verdict.PASS)


def report(*checks: Check, tables: tuple[Table, ...] = ()) -> Report:
    return Report("migrate prove", "2 of 4", Verdict.FAIL, WHEN, WHEN, "scratch", "1.2", checks, tables=tables)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sql files").mkdir()
    for name in ("1_a.sql", "2_b.sql"):
        (tmp_path / "sql files" / name).write_text("select 1;")
    return tmp_path / "sql files"


def test_a_check_is_placed_at_the_line_it_names_else_at_its_version(folder: Path) -> None:
    places = places_in(report(BAD, UNKNOWN, FINE), folder, of_versions={"2": folder / "2_b.sql"})
    assert (places[BAD], places[UNKNOWN]) == (Place("sql files/2_b.sql", 7), Place("sql files/2_b.sql"))
    assert places[FINE] == Place("sql files")


def test_sarif_has_what_its_schema_asks_for_and_what_code_scanning_needs(folder: Path) -> None:
    places = {**places_in(report(BAD, UNKNOWN), folder), MILD: Place("1_a.sql", 3, "warning")}
    found = json.loads(as_sarif.render(report(FINE, MILD, UNKNOWN, BAD), places))
    assert found.keys() == {"$schema", "version", "runs"}
    assert found["version"] == "2.1.0"
    (run,) = found["runs"]
    assert run.keys() <= {"tool", "automationDetails", "invocations", "columnKind", "results"}
    driver = run["tool"]["driver"]
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(ids) == len(set(ids))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", run["invocations"][0]["startTimeUtc"])
    assert [(one["ruleId"], one["level"]) for one in run["results"]] == [
        ("crash-2-up", "error"),
        ("locks-2-up", "warning"),
        ("no-index", "warning"),
    ]
    for one in run["results"]:
        assert ids[one["ruleIndex"]] == one["ruleId"]
        assert one["message"]["text"]
        (place,) = one["locations"]
        artifact = place["physicalLocation"]["artifactLocation"]["uri"]
        assert re.fullmatch(r"[\w./%-]+", artifact), "a relative reference, quoted"
        assert place["physicalLocation"]["region"]["startLine"] >= 1


def test_the_same_finding_further_down_is_the_same_finding(folder: Path) -> None:
    def mark(line: int) -> object:
        found = json.loads(as_sarif.render(report(BAD), {BAD: Place("2_b.sql", line)}))
        return found["runs"][0]["results"][0]["partialFingerprints"]

    assert mark(7) == mark(70)


def test_an_annotation_is_one_line_and_nothing_in_it_ends_it(folder: Path) -> None:
    wild = Check("a:b,c", "one\ntwo", Verdict.FAIL, "100%\n::set-output name=x::y", witness=("\x1b[31m",))
    lines = as_github.render(report(BAD, wild, FINE), {BAD: Place("2_b.sql", 7)}).splitlines()
    assert lines[0].startswith("::error file=2_b.sql,line=7,title=crash-2-up::Wherever it is interrupted%0A50%25, of 2")
    assert lines[1] == "::error title=a%3Ab%2Cc::one%0Atwo%0A100%25%0A::set-output name=x::y%0A\\x1b[31m"
    assert lines[2:] == ["migrate prove: 2 of 4: fail"]


def test_markdown_keeps_names_from_becoming_links_mentions_or_tables() -> None:
    wild = Check("x", "see [a](http://b) <img> @everyone", Verdict.FAIL, "a | b")
    text = as_markdown.render(report(wild, FINE, tables=(Table("Who <b>", ("a", "b"), (("x|y", "`z`"),)),)))
    assert "[a]" not in text
    assert "<img>" not in text
    assert "@everyone" not in text
    assert "| x\\|y | \\`z\\` |" in text
    assert "Who &lt;b&gt;" in text
    assert "It applies" not in text, "what passed is a number"


def test_markdown_fits_a_comment_and_says_what_does_not() -> None:
    long = Table("Long", ("a",), tuple(("x" * 100,) for _ in range(1000)))
    text = as_markdown.render(report(BAD, tables=(long, long)))
    assert len(text) < 65_536
    assert text.endswith("What did not fit is in the report: 2 parts.\n")
