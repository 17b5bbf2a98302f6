"""Where the SQL and YAML that ship with the toolkit lie, in a clone and in an installed wheel."""

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
