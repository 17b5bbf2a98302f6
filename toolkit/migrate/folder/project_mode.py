"""Whether a project is older than 30 May 2026, as far as its files tell: new objects in `public` differ in who may use
them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

ProjectMode = Literal["old", "new"]
"""Whether new objects in `public` are open to the API roles ("old": projects made before 30 May 2026) or not."""


def mode_of_folder(folder: Path) -> ProjectMode | None:
    """What the Supabase CLI's `config.toml` beside a folder of migrations says, None where it says nothing."""
    try:
        found = tomllib.loads((folder.resolve().parent / "config.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    api = found.get("api")
    exposes = api.get("auto_expose_new_tables") if isinstance(api, dict) else None
    return ("old" if exposes else "new") if isinstance(exposes, bool) else None
