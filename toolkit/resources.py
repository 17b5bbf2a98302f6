"""Where the SQL, YAML and documentation that ship with the toolkit lie, in a clone and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _shipped(name: str) -> Path:
    packaged = _PACKAGE / "data" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name


def migrations_dir() -> Path:
    """Folder of `<version>_<name>.sql` with `rollbacks/` and `verify/` beneath it."""
    return _shipped("migrations")


def scenarios_dir() -> Path:
    """Folder of scenario YAML files."""
    return _shipped("scenarios")


def docs_dir() -> Path:
    """Folder of the documentation's Markdown pages."""
    return _shipped("docs")


def doc(page: str) -> str:
    """The path of a page of the documentation (`lint.md`) for a remedy: a file that its reader can open from here."""
    path = docs_dir() / page
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
