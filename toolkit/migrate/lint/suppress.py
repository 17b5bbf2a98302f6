"""What is accepted, with its reason: comments in files, entries of lint.toml. Pure but for reading that one file.

-- toolkit: lint-ignore RULE why it is right here      before a statement: for that statement
                                                       first in a file, a blank line behind it: for the file

# lint.toml, in the migrations folder
exposed_schemas = ["public", "api"]
[severity]
"squawk/prefer-bigint-over-int" = "warning"
[[ignore]]
rule = "policy-update-all-columns"
files = ["2025*.sql"]
reason = "rows of these tables belong to the user whole"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError
from toolkit.migrate.lint.reading.findings import At, LintFinding, Rule, Severity, severity_of
from toolkit.migrate.lint.reading.sources import REFUSED, Folder, Source
from toolkit.migrate.lint.rules.context import EXPOSED

WITHOUT_REASON = Rule(
    "suppression-without-reason",
    Severity.ERROR,
    "A finding is suppressed without a reason",
    "Nobody who reads it later can tell whether the reason still holds. It suppresses nothing.",
    "Write the reason behind the rule: `-- toolkit: lint-ignore RULE why it is right here`.",
)
UNUSED = Rule(
    "suppression-unused",
    Severity.WARNING,
    "A suppression suppresses nothing",
    "The rule is misspelt, or what it excused is gone; left there, it would hide the next finding of that rule.",
    "Remove it, or name the rule as the finding names it.",
)
RULES = (WITHOUT_REASON, UNUSED)
FILE_NAME = "lint.toml"
_COMMENT = re.compile(r"^--\s*toolkit\s*:\s*lint-ignore(?![\w-])[ \t]*(\S*)[ \t]*(.*?)\s*$", re.IGNORECASE)
_MENTION = "lint-ignore"
# What the runner refuses cannot be accepted here: it would still refuse.
_NEVER = frozenset({REFUSED.id, WITHOUT_REASON.id, UNUSED.id})


@dataclass(frozen=True)
class Suppression:
    """Accepts `rule` in the lines `first` to `last` of the files that `files` match, for `reason`."""

    rule: str
    reason: str
    at: At
    files: tuple[str, ...]
    first: int = 0
    last: int | None = None

    def covers(self, finding: LintFinding) -> bool:
        """Whether it is about this finding."""
        line = finding.at.line
        return (
            bool(self.reason)
            and finding.rule == self.rule
            and finding.rule not in _NEVER
            and any(fnmatchcase(finding.at.file, pattern) for pattern in self.files)
            and self.first <= line
            and (self.last is None or line <= self.last)
        )


@dataclass(frozen=True)
class Settings:
    """What a folder's lint.toml says."""

    exposed: frozenset[str] = EXPOSED
    severity: dict[str, Severity] = field(default_factory=dict)
    ignored: tuple[Suppression, ...] = ()


def read_settings(folder: Path, known: Iterable[str]) -> Settings:
    """The folder's lint.toml, or the defaults. Raises UsageError for one that cannot be understood."""
    file = folder / FILE_NAME
    if not file.is_file():
        return Settings()
    try:
        text = file.read_text(encoding="utf-8")
        found = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"{FILE_NAME} cannot be read: {error}.", "Correct it; it is TOML.") from error
    if unknown := sorted(found.keys() - {"exposed_schemas", "severity", "ignore"}):
        raise _wrong(f"it holds {', '.join(unknown)}", "Known: exposed_schemas, [severity], [[ignore]].")
    exposed = found.get("exposed_schemas", sorted(EXPOSED))
    if not _strings(exposed):
        raise _wrong("exposed_schemas is no list of names", 'Write exposed_schemas = ["public"].')
    return Settings(
        frozenset(exposed),
        _severities(found.get("severity", {}), frozenset(known)),
        _ignored(found.get("ignore", []), text),
    )


def _wrong(what: str, remedy: str) -> UsageError:
    return UsageError(f"{FILE_NAME}: {what}.", remedy)


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _severities(entries: Any, known: frozenset[str]) -> dict[str, Severity]:
    if not isinstance(entries, dict):
        raise _wrong("[severity] is no table", 'Write lines such as "policy-without-role" = "error".')
    graded = {}
    for rule, word in entries.items():
        if rule not in known:
            raise _wrong(f"[severity] names {rule!r}, which is no rule", "--list-rules has all names.")
        if word not in {"error", "warning", "info", "off"} or (rule in _NEVER and word == "off"):
            raise _wrong(
                f"{rule} cannot be {word!r}",
                "Write error, warning, info or off; refused-file and suppression-* stay on.",
            )
        graded[rule] = severity_of(word)
    return graded


def _ignored(entries: Any, text: str) -> tuple[Suppression, ...]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _wrong("[[ignore]] is no list of tables", "Each has rule, reason and, if not for all files, files.")
    lines = [n for n, line in enumerate(text.splitlines(), start=1) if line.strip().startswith("[[ignore]]")]
    found = []
    for number, entry in enumerate(entries):
        rule, reason, files = entry.get("rule"), entry.get("reason", ""), entry.get("files", ["*"])
        good = isinstance(rule, str) and rule and isinstance(reason, str) and _strings(files)
        if not good or entry.keys() - {"rule", "reason", "files"}:
            raise _wrong(
                f"[[ignore]] number {number + 1} cannot be understood",
                'It has rule = "…", reason = "…" and, if not for all files, files = ["…"].',
            )
        at = At(FILE_NAME, lines[number] if number < len(lines) else 1)
        found.append(Suppression(rule, reason.strip(), at, tuple(files)))
    return tuple(found)


def of_source(source: Source) -> tuple[Suppression, ...]:
    """The suppressions in a file's comments. A file that cannot be cut has none: that it cannot is told."""
    if _MENTION not in source.text.lower():
        return ()
    found = []
    lines = source.text.split("\n")
    for piece in source.pieces:
        last = piece.start_line + piece.text.count("\n")
        before = lines[: piece.line - 1]
        for comment in piece.comments:
            if (told := _COMMENT.match(comment.text)) is None:
                continue
            header = piece.index == 1 and any(not later.strip() for later in before[comment.line :])
            reach = (0, None) if header else (piece.start_line, last)
            at = At(source.file, comment.line)
            found.append(Suppression(told.group(1), told.group(2), at, (_exactly(source.file),), *reach))
    return tuple(found)


def _exactly(file: str) -> str:
    """A pattern that matches this file and no other."""
    return re.sub(r"([*?\[])", r"[\1]", file)


def apply(
    findings: Sequence[LintFinding], suppressions: Sequence[Suppression], *, untried: frozenset[str]
) -> tuple[LintFinding, ...]:
    """Findings with what is accepted marked as such, and a finding for each suppression without reason or use; a rule
    that was not tried (`untried`) cannot show whether its suppressions are of use."""
    used: set[Suppression] = set()
    told = []
    for finding in findings:
        covering = [suppression for suppression in suppressions if suppression.covers(finding)]
        used.update(covering)
        told.append(replace(finding, accepted=covering[0].reason) if covering else finding)
    for suppression in suppressions:
        what = f"{suppression.rule or 'no rule'} is suppressed"
        if not suppression.reason:
            told.append(WITHOUT_REASON.found(suppression.at, what))
        elif suppression not in used and suppression.rule not in untried:
            told.append(UNUSED.found(suppression.at, f"{what}, and there is no such finding"))
    return tuple(told)


def all_of(folder: Folder, settings: Settings) -> tuple[Suppression, ...]:
    """Every suppression of a folder."""
    return (*settings.ignored, *(one for source in folder.sources for one in of_source(source)))
