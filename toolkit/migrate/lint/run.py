"""Linting a folder: read it, apply both sets of rules, accept what is accepted."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.errors import UsageError
from toolkit.migrate.folder.project_mode import ProjectMode, mode_of_folder
from toolkit.migrate.lint import squawk
from toolkit.migrate.lint.reading.findings import LintFinding, Rule, Severity, in_order
from toolkit.migrate.lint.reading.sources import Folder, read
from toolkit.migrate.lint.rules import ALL, look
from toolkit.migrate.lint.rules.context import Context
from toolkit.migrate.lint.squawk_rules import GRADES, PREFIX
from toolkit.migrate.lint.suppress import FILE_NAME, RULES, Settings, all_of, apply, read_settings

OURS: tuple[Rule, ...] = (*ALL, *RULES)
IDS: tuple[str, ...] = (*(rule.id for rule in OURS), *(PREFIX + name for name in GRADES))


@dataclass(frozen=True)
class Linted:
    """What was looked at (`files`, as findings name them) and found; `findings` holds what is accepted as well, and
    `notices` tell of files that are no migrations by their names."""

    files: tuple[str, ...]
    findings: tuple[LintFinding, ...]
    notices: tuple[str, ...] = ()

    @property
    def open(self) -> tuple[LintFinding, ...]:
        """Findings that nobody accepted."""
        return tuple(finding for finding in self.findings if not finding.accepted)

    @property
    def accepted(self) -> tuple[LintFinding, ...]:
        """Findings that are suppressed, each with its reason."""
        return tuple(finding for finding in self.findings if finding.accepted)

    def at_least(self, limit: Severity) -> tuple[LintFinding, ...]:
        """Open findings as bad as `limit`, or worse."""
        return tuple(finding for finding in self.open if finding.severity >= limit)


async def lint(
    path: Path,
    *,
    only: Sequence[Path] = (),
    disabled: Sequence[str] = (),
    program: Path | None = None,
    deadline_s: float = squawk.DEADLINE_S,
    mode: ProjectMode | None = None,
) -> Linted:
    """Lint a folder; with `only`, tell what is found in these files, judged by the whole folder.

    `disabled` are rules not to look for, `program` another squawk than the installed one, `mode` the
    project's where the folder does not tell. Raises UsageError for a folder, file, rule or lint.toml that makes no
    sense, and EnvironmentError_ when squawk cannot be used.
    """
    _check_rules(disabled)
    folder = await asyncio.to_thread(read, path)
    settings = await asyncio.to_thread(read_settings, path, IDS)
    chosen = _chosen(folder, only)
    sources = [source for source in folder.sources if source.file in chosen]
    theirs = await squawk.findings(sources, program=program, deadline_s=deadline_s) if sources else ()
    return judge(
        folder,
        settings,
        theirs,
        disabled=frozenset(disabled),
        chosen=chosen,
        whole=not only,
        mode=mode or mode_of_folder(path) or "old",
    )


def judge(
    folder: Folder,
    settings: Settings,
    theirs: Sequence[LintFinding],
    *,
    disabled: frozenset[str],
    chosen: frozenset[str],
    whole: bool,
    mode: ProjectMode = "old",
) -> Linted:
    """Our findings and squawk's (`theirs`) together, graded, accepted, for the `chosen` files. Pure."""
    ours = [*folder.refused, *look(Context(folder, settings.exposed, mode))]
    graded = [replace(f, severity=settings.severity.get(f.rule, f.severity)) for f in (*ours, *theirs)]
    kept = [f for f in graded if f.rule not in disabled and f.severity > Severity.OFF]
    off = {rule for rule, severity in settings.severity.items() if severity is Severity.OFF}
    suppressions = [s for s in all_of(folder, settings) if whole or s.at.file in chosen or s.at.file == FILE_NAME]
    told = apply(kept, suppressions, untried=disabled | off)
    if not whole:
        told = tuple(f for f in told if f.at.file in chosen)
    told = tuple(f for f in told if f.rule not in disabled)
    return Linted(tuple(sorted(chosen)), in_order(dict.fromkeys(told)), folder.notices)


def _check_rules(names: Sequence[str]) -> None:
    for name in names:
        if name not in IDS:
            close = difflib.get_close_matches(name, IDS, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]}? " if close else ""
            raise UsageError(f"There is no rule {name!r}.", f"{hint}`toolkit migrate lint --list-rules` has all names.")


def _chosen(folder: Folder, only: Sequence[Path]) -> frozenset[str]:
    files = {source.file for source in folder.sources} | {one.at.file for one in folder.refused}
    if not only:
        return frozenset(files)
    chosen = set()
    for path in only:
        full = path.absolute()
        same = (file for file in files if file == path.as_posix() or (folder.path / file).absolute() == full)
        found = next(same, None)
        if found is None:
            raise UsageError(
                f"{path} is no migration or rollback of {folder.path}.",
                "Name a file with its path, or as the folder calls it: 1_first.sql, rollbacks/1_first.sql.",
            )
        chosen.add(found)
    return frozenset(chosen)
