"""JUnit XML: one test case for each check. Unknown is an error, so that no CI counts it as a pass."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from toolkit.report.record import Check, Report, Verdict, files_of, groups
from toolkit.report.visible import all_visible

# XML 1.0 cannot contain these characters, not even escaped.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def render(report: Report) -> str:
    """One suite a group of checks, plus one for the criteria."""
    report = all_visible(report)
    suites = {name or report.name: checks for name, checks in groups(report.checks).items()}
    if report.criteria:
        suites["criteria"] = list(report.criteria)
    root = ET.Element("testsuites", _counts([*report.checks, *report.criteria]) | {"name": report.name})
    seconds = f"{(report.finished_at - report.started_at).total_seconds():.3f}"
    root.set("time", seconds)
    for name, checks in suites.items():
        suite = ET.SubElement(root, "testsuite", {"name": _clean(name)} | _counts(checks))
        suite.set("timestamp", report.started_at.isoformat(timespec="seconds"))
        for check in checks:
            suite.append(_case(f"{report.name}.{name}", check))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(classname: str, check: Check) -> ET.Element:
    case = ET.Element("testcase", {"classname": _clean(classname), "name": _clean(f"{check.id}: {check.title}")})
    if check.verdict is Verdict.PASS:
        return case
    outcome = ET.SubElement(case, "failure" if check.verdict is Verdict.FAIL else "error")
    outcome.set("type", check.verdict.value)
    outcome.set("message", _clean(check.detail or check.verdict.value))
    lines = [*check.witness, *files_of(check), *([f"What to do: {check.remedy}"] if check.remedy else [])]
    outcome.text = _clean("\n".join(lines))
    return case


def _counts(checks: list[Check]) -> dict[str, str]:
    verdicts = [check.verdict for check in checks]
    return {
        "tests": str(len(checks)),
        "failures": str(verdicts.count(Verdict.FAIL)),
        "errors": str(verdicts.count(Verdict.UNKNOWN)),
        "skipped": "0",
    }


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
