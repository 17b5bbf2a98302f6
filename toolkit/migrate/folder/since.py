"""What git says of a folder: which versions were added, and which old ones were edited, since a revision."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import EnvironmentError_, UsageError
from toolkit.migrate.folder.files import FILE_NAME

_PARTS = ("", "rollbacks", "verify")  # the folders with files of versions
_MAIN = ("origin/HEAD", "origin/main", "origin/master", "main", "master")


@dataclass(frozen=True)
class Since:
    """Versions with a file that is not as it was at `revision`. `edited` are (version, file) of migrations that were
    there already, `gone` files of migrations that no longer are."""

    revision: str
    versions: frozenset[str]
    edited: tuple[tuple[str, str], ...] = ()
    gone: tuple[str, ...] = ()

    def notes(self) -> tuple[str, ...]:
        """A sentence for each file that should not have changed."""
        where_applied = "where it is applied already it does not run again, so put the change into a new file"
        return (
            *(f"{file} was edited since {self.revision}: {where_applied}." for _, file in self.edited),
            *(
                f"{file} is gone since {self.revision}: where it is applied, nothing takes it back."
                for file in self.gone
            ),
        )


def changed_since(folder: Path, revision: str) -> Since:
    """Compare a folder as it is, files that git does not know included, with where its branch left `revision`.

    Raises UsageError where git does not know the revision, EnvironmentError_ where there is no git or no repository.
    """
    if revision.startswith("-") or _git(folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is None:
        if _git(folder, "rev-parse", "--git-dir") is None:
            raise EnvironmentError_(
                f"{folder} is in no git repository, so nothing says what changed.", "Name versions with --version."
            )
        raise UsageError(
            f"git knows no revision {revision}.",
            "Fetch it (in CI: check out with the whole history, `fetch-depth: 0`), or name another.",
        )
    base = (_git(folder, "merge-base", revision, "HEAD") or revision).strip()
    listed = _git(folder, "diff", "--name-status", "--no-renames", "-z", "--relative", base, "--", ".") or ""
    fields = [field for field in listed.split("\0") if field]
    unknown = (_git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", ".") or "").split("\0")
    changes = [*zip(fields[1::2], fields[::2], strict=True), *((name, "A") for name in unknown if name)]
    return _judged(revision, changes)


def main_branch(folder: Path) -> str:
    """The revision to which a new file is new: the main branch. Raises UsageError where there is none of its names."""
    for name in _MAIN:
        if _git(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") is not None:
            return name
    raise UsageError(f"git knows no main branch here: none of {', '.join(_MAIN)}.", "Name a revision with --since.")


def _judged(revision: str, changes: Iterable[tuple[str, str]]) -> Since:
    versions, edited, gone = set(), [], []
    for name, status in changes:
        part, _, file = name.rpartition("/")
        found = FILE_NAME.match(file)
        if found is None or part not in _PARTS:
            continue
        if status == "D":
            gone += [name] if not part else []
            continue
        versions.add(found[1])
        if status != "A" and not part:
            edited.append((found[1], name))
    return Since(revision, frozenset(versions), tuple(sorted(edited)), tuple(sorted(gone)))


def _git(folder: Path, *words: str) -> str | None:
    """What git says, or None where it refuses. Raises EnvironmentError_ where there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except FileNotFoundError:
        raise EnvironmentError_("There is no git here, so nothing says what changed.", "Install git.") from None
    return done.stdout if done.returncode == 0 else None
