"""What a version changes that all databases of a server share, so that its proofs must not run side by side. Pure."""

from __future__ import annotations

import re

from toolkit.migrate.folder.files import Migration

# By the text and not by the tree, since such statements stand in DO blocks, in texts that are executed there. A comment
# that reads like one costs time and nothing else.
_STATEMENTS = re.compile(
    r"\b(?:create|alter|drop|comment\s+on|reassign|security\s+label\s+on)\s+"
    r"(?P<what>roles?|users?|groups?|databases?|tablespaces?|subscriptions?|system|owned)\b",
    re.IGNORECASE,
)
_MEMBERSHIP = re.compile(r"\b(?:grant|revoke)\b(?:(?!\bon\b)[^;])*?\b(?:to|from)\b", re.IGNORECASE)
_NAMES = {
    "user": "roles",
    "group": "roles",
    "role": "roles",
    "owned": "roles",
    "system": "settings of the server",
}


def shared_objects(migration: Migration) -> str:
    """What the version or its rollback changes for all databases (`roles`), "" where that is nothing."""
    for script in (migration.up, migration.rollback):
        if script is None:
            continue
        if found := _STATEMENTS.search(script.text):
            word = found["what"].lower().removesuffix("s") if found["what"].lower() != "system" else "system"
            return _NAMES.get(word, f"{word}s")
        if _MEMBERSHIP.search(script.text):
            return "roles"
    return ""
