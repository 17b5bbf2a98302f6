"""Copies migrations into a project's own folder, behind what it has: the way in beside a history that is there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from toolkit.errors import EnvironmentError_
from toolkit.migrate.folder.files import Folder, Migration, read_folder
from toolkit.migrate.folder.versions import fresh
from toolkit.migrate.run.history import plain_text

_PARTS = ("rollbacks", "verify")


@dataclass(frozen=True)
class Ejected:
    """A migration and the files written for it, as paths below the folder; none where the folder had it already."""

    source: str
    becomes: str
    files: tuple[str, ...]


def eject(source: Folder, into: Path, now: datetime, *, taken: Collection[str] = ()) -> tuple[Ejected, ...]:
    """Copy each migration of `source` with its rollback and verify file, bytes unchanged, under a fresh version.

    The versions are later than every one in the folder and than those `taken` elsewhere, a history for example. A
    migration whose text the folder has already is left alone, so that a second run changes nothing. Raises
    EnvironmentError_ with the folder as it was when a file cannot be written.
    """
    there = _there(into)
    known = {plain_text(migration.up.text): migration.label for migration in there}
    missing = [m for m in source.migrations if plain_text(m.up.text) not in known]
    versions = iter(fresh({*(m.version for m in there), *taken}, len(missing), now))
    found: list[Ejected] = []
    written: list[Path] = []
    try:
        for migration in source.migrations:
            if migration not in missing:
                found.append(Ejected(migration.label, known[plain_text(migration.up.text)], ()))
                continue
            name = f"{next(versions)}_{migration.name}"
            files = []
            for path in _files(migration):
                target = into / path.relative_to(source.path).with_name(f"{name}.sql")
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    written.append(target)
                    file.write(path.read_bytes())
                files.append(str(target.relative_to(into)))
            found.append(Ejected(migration.label, name, tuple(files)))
    except OSError as error:
        for path in written:
            path.unlink()
        raise EnvironmentError_(
            f"{error.filename} cannot be written: {error.strerror}; nothing was changed.",
            "Make the folder writable, or move what is in the way.",
        ) from error
    return tuple(found)


def _there(into: Path) -> tuple[Migration, ...]:
    if not into.is_dir() or not any(into.glob("[0-9]*_*.sql")):
        return ()
    folder = read_folder(into)
    return (*folder.migrations, *folder.doubles)


def _files(migration: Migration) -> tuple[Path, ...]:
    path = migration.up.path
    beside = (path.parent / part / path.name for part in _PARTS)
    return (path, *(file for file in beside if file.is_file()))
