"""What was found, as a report. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from toolkit.migrate.lint.reading.findings import LintFinding, Severity
from toolkit.migrate.lint.run import OURS, Linted
from toolkit.migrate.lint.squawk_rules import GRADES, PREFIX
from toolkit.report.frame import Frame
from toolkit.report.places import Level, Place, Places, relative
from toolkit.report.record import Check, Report, Table, Verdict, shortened

_FOLDER = "the folder"
FILE_CHECK, BY_FILE = "file", "By file"


def of_lint(frame: Frame, linted: Linted, limit: Severity) -> Report:
    """Findings as bad as `limit` fail. Milder ones are told and pass; those that are accepted are listed with their
    reasons. A file in which nothing fails is a check that passed. What breaks or leaks comes first: the files with the
    worst findings, and in each of them the worst."""
    failing = linted.at_least(limit)
    troubled = {finding.at.file for finding in failing}
    worst: dict[str, Severity] = {}
    for one in linted.open:
        worst[one.at.file] = max(one.severity, worst.get(one.at.file, Severity.OFF))
    ranked = sorted(linted.open, key=lambda one: (-worst[one.at.file], one.at.file, -one.severity))
    checks = [_check(finding, limit) for finding in ranked]
    checks += [
        Check(FILE_CHECK, f"{file}: nothing as bad as {limit.word}", Verdict.PASS, group=file)
        for file in linted.files
        if file not in troubled
    ]
    counts = Counter(finding.severity for finding in linted.open)
    summary = ", ".join(_many(counts[s], s.word) for s in sorted(counts, reverse=True)) or "nothing found"
    title = f"{_many(len(linted.files), 'file')}: {summary}"
    report = frame.report(title, Verdict.FAIL if failing else Verdict.PASS, checks)
    tables = [_by_file(linted)]
    milder = [finding for finding in linted.open if finding.severity < limit]
    if milder:
        tables.append(_remedies(milder))
    if linted.accepted:
        rows = tuple((str(f.at), f.rule, f.what, f.accepted) for f in linted.accepted)
        tables.append(Table("Accepted", ("where", "rule", "what", "reason"), _folded(rows)))
    return replace(report, tables=tuple(tables), notes=linted.notices)


_LEVELS: dict[Severity, Level] = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def places_of(linted: Linted, limit: Severity, folder: Path) -> Places:
    """The line of each finding, and how bad it is whatever the limit."""
    return {
        _check(finding, limit): Place(
            relative(folder / finding.at.file), max(1, finding.at.line), _LEVELS[finding.severity]
        )
        for finding in linted.open
    }


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1 and noun != 'info')}"


def _check(finding: LintFinding, limit: Severity) -> Check:
    fails = finding.severity >= limit
    where = f"line {finding.at.line}: " if finding.at.line else ""
    return Check(
        finding.rule,
        f"{finding.severity.word}, {where}{finding.what}",
        Verdict.FAIL if fails else Verdict.PASS,
        finding.why,
        finding.remedy,
        finding.at.file or _FOLDER,
    )


def _by_file(linted: Linted) -> Table:
    files = dict.fromkeys((*linted.files, *(finding.at.file or _FOLDER for finding in linted.findings)))
    rows = []
    for file in files:
        here = [f for f in linted.open if (f.at.file or _FOLDER) == file]
        counts = Counter(finding.severity for finding in here)
        accepted = sum((f.at.file or _FOLDER) == file for f in linted.accepted)
        figures = [counts[severity] for severity in (Severity.ERROR, Severity.WARNING, Severity.INFO)]
        rows.append((file, *(str(figure or "") for figure in (*figures, accepted))))
    return Table(BY_FILE, ("file", "errors", "warnings", "infos", "accepted"), tuple(rows))


def _remedies(findings: Iterable[LintFinding]) -> Table:
    """One row a rule: what passes is shown without its remedy above."""
    grouped: dict[str, list[LintFinding]] = {}
    for finding in findings:
        grouped.setdefault(finding.rule, []).append(finding)
    rows = tuple(
        (rule, found[0].severity.word, str(len(found)), f"{found[0].why} {found[0].remedy}")
        for rule, found in sorted(grouped.items(), key=lambda pair: (-pair[1][0].severity, pair[0]))
    )
    return Table("What to do about the milder ones", ("rule", "severity", "found", "why and what to do"), rows)


def _folded(rows: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """One row for what is accepted of one rule in one file for one reason; the first place, and how many more."""
    grouped: dict[tuple[str, str, str], list[tuple[str, ...]]] = {}
    for row in rows:
        grouped.setdefault((row[0].rpartition(":")[0], row[1], row[3]), []).append(row)
    folded = []
    for found in grouped.values():
        where, rule, _, reason = found[0]
        folded.append((where, rule, "; ".join(shortened((what for _, _, what, _ in found), 1)), reason))
    return tuple(folded)


def as_dicts(findings: Iterable[LintFinding]) -> list[dict[str, Any]]:
    """Findings for JSON."""
    return [
        asdict(finding) | {"severity": finding.severity.word, "at": {"file": finding.at.file, "line": finding.at.line}}
        for finding in findings
    ]


def of_rules(frame: Frame) -> Report:
    """Every rule: its severity, and why it has it."""
    ours = tuple((rule.id, rule.severity.word, rule.severity.word, rule.title) for rule in OURS)
    theirs = tuple(
        (PREFIX + name, grade.up.word, grade.rollback.word, grade.reason) for name, grade in sorted(GRADES.items())
    )
    columns = ("rule", "in migrations", "in rollbacks", "what, or why so graded")
    check = Check("rules", f"{len(ours)} rules of this linter, {len(theirs)} of squawk", Verdict.PASS)
    return replace(
        frame.report("Rules", Verdict.PASS, (check,)),
        tables=(Table("Rules of this linter", columns, ours), Table("Rules of squawk", columns, theirs)),
    )


def rules_as_dicts() -> list[dict[str, str]]:
    """Every rule for JSON."""
    ours = [
        {
            "rule": r.id,
            "severity": r.severity.word,
            "rollback": r.severity.word,
            "title": r.title,
            "why": r.why,
            "remedy": r.remedy,
        }
        for r in OURS
    ]
    theirs = [
        {
            "rule": PREFIX + name,
            "severity": g.up.word,
            "rollback": g.rollback.word,
            "title": name,
            "why": g.reason,
            "remedy": "",
        }
        for name, g in sorted(GRADES.items())
    ]
    return [*ours, *theirs]
