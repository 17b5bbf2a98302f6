"""SARIF 2.1.0: a result for each check that failed or is unknown, at its line. What code scanning reads."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from toolkit.report.places import NOWHERE, Place, Places, told
from toolkit.report.record import Check, Report

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_NAME = "realtime-migration-toolkit"


def render(report: Report, places: Places = NOWHERE) -> str:
    """One run of one tool; its rules are the ids of its checks."""
    rules: dict[str, int] = {}
    described: list[dict[str, Any]] = []
    results = []
    for check, place, level in told(report, places):
        if check.id not in rules:
            rules[check.id] = len(described)
            described.append(_rule(check))
        results.append(_result(check, place, level, rules[check.id]))
    run = {
        "tool": {"driver": {"name": _NAME, "version": report.tool_version, "rules": described}},
        "automationDetails": {"id": f"{report.name}/"},
        "invocations": [
            {
                "executionSuccessful": True,
                "exitCode": int(report.exit_code),
                "startTimeUtc": f"{report.started_at:%Y-%m-%dT%H:%M:%SZ}",
                "endTimeUtc": f"{report.finished_at:%Y-%m-%dT%H:%M:%SZ}",
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(check: Check) -> dict[str, Any]:
    rule: dict[str, Any] = {"id": check.id, "shortDescription": {"text": check.title or check.id}}
    if check.remedy:
        rule["help"] = {"text": check.remedy}
    return rule


def _result(check: Check, place: Place | None, level: str, index: int) -> dict[str, Any]:
    lines = [check.title or check.id, check.detail, *check.witness]
    if check.remedy:
        lines.append(f"What to do: {check.remedy}")
    where = place.file if place is not None else ""
    # Without the line: what is found does not become another finding when lines are added above it.
    same = hashlib.sha256(f"{check.id}\0{where}\0{check.title}".encode()).hexdigest()
    result: dict[str, Any] = {
        "ruleId": check.id,
        "ruleIndex": index,
        "level": level,
        "message": {"text": "\n".join(filter(None, lines))},
        "partialFingerprints": {"checkAndFile/v1": same},
    }
    if place is not None:
        artifact = {"uri": quote(place.file)}
        result["locations"] = [
            {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": place.line}}}
        ]
    return result
