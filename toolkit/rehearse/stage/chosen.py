"""Which files of a folder are rehearsed: the toolkit's own, wherever they stand among a project's. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.errors import UsageError
from toolkit.migrate.folder.files import Folder, Migration
from toolkit.migrate.run.history import plain_text


@dataclass(frozen=True)
class Chosen:
    """`folder` is what is applied, `legacy` the version of it before the migration, `ours` what of it is verified.

    `left_out` are files after the migration: they have no part in it, and rolling back to before it would have to undo
    them first.
    """

    folder: Folder
    legacy: str
    ours: Folder
    legacy_schema: Migration
    left_out: tuple[str, ...] = ()

    @property
    def among_others(self) -> bool:
        """Whether a project's own files are applied too."""
        return len(self.ours.migrations) < len(self.folder.migrations)

    @property
    def legacy_is_applied(self) -> bool:
        """Whether that file is one of the folder's."""
        return self.legacy_schema in self.folder.migrations

    @property
    def described(self) -> str:
        """What was found, in one line."""
        count = len(self.folder.migrations)
        told = f"version {self.legacy}"
        if self.among_others:
            told += f"; {len(self.ours.migrations)} of the {count} files are the toolkit's, the others the project's"
        if self.left_out:
            told += f"; not applied, since they come after the migration: {', '.join(self.left_out)}"
        return told


def choose(folder: Folder, bundled: Folder) -> Chosen:
    """What to rehearse of a folder, by `bundled`, the toolkit's own: a file is one of those when it has its text, or
    its name. Where none is found, the first file is the legacy schema and all that follows is the migration.

    Raises UsageError unless there is a schema first and a migration after it.
    """
    if len(folder.migrations) < 2:
        raise UsageError(
            f"{folder.path} holds {len(folder.migrations)} migrations; a rehearsal needs the legacy schema first and "
            "one after it.",
            "Give a folder of <version>_<name>.sql files with --migrations, or leave it out.",
        )
    legacy, *later = bundled.migrations
    moving = [one.version for one in folder.migrations if any(_same(one, ours) for ours in later)]
    if not moving:
        return Chosen(folder, folder.migrations[0].version, folder, folder.migrations[0])
    before = [one.version for one in folder.migrations if one.version < moving[0]]
    if not before:
        raise UsageError(
            f"{folder.path} begins with the migration; a rehearsal needs the legacy schema first.",
            "Keep the file that makes the tables of the system before it: `toolkit migrate eject` copies it too.",
        )
    applied = folder.only({one.version for one in folder.migrations if one.version <= moving[-1]})
    first = next((one for one in applied.migrations if one.version < moving[0] and _same(one, legacy)), None)
    return Chosen(
        applied,
        before[-1],
        applied.only({*moving, *([first.version] if first else [])}),
        first or legacy,
        tuple(one.label for one in folder.migrations if one.version > moving[-1]),
    )


def _same(one: Migration, ours: Migration) -> bool:
    return one.name == ours.name or plain_text(one.up.text) == plain_text(ours.up.text)
