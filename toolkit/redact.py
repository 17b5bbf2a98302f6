"""Keeps secrets out of everything that is shown, logged or stored."""

from __future__ import annotations

import re

MASK = "***"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # postgresql://user:password@host and any other URL with a password; up to the last @, since people
    # forget to escape one in a password
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s'\"]+(@)", re.IGNORECASE), rf"\1{MASK}\2"),
    # what stands before the host of an address for HTTP is a secret also without a colon
    (re.compile(r"(\b(?:https?|wss?)://)[^\s/?#'\"]+(@)", re.IGNORECASE), rf"\1{MASK}\2"),
    # key=value connection strings and query strings
    (
        re.compile(
            r"\b((?:ssl)?password|passwd|apikey|api_key|access_token|token|jwt_secret|secret)=[^\s&;'\"]+",
            re.IGNORECASE,
        ),
        rf"\1={MASK}",
    ),
    # JWTs: the header and payload are harmless, but without them nobody is tempted to try the rest
    (re.compile(r"\beyJ[\w-]{4,}\.[\w-]+\.[\w-]*"), MASK),
    (re.compile(r"\bsb_(secret|publishable)_[\w-]+"), rf"sb_\1_{MASK}"),
    (re.compile(r"\b(bearer\s+)[\w.~+/-]{8,}=*", re.IGNORECASE), rf"\1{MASK}"),
)
# Every pattern needs one of these, and most texts have none.
_MAY_HOLD_A_SECRET = re.compile(r"://|=|eyJ|sb_|bearer", re.IGNORECASE)


def redact(text: str, *secrets: str | None) -> str:
    """`text` with passwords in URLs, tokens and keys masked, and each of `secrets` wherever it stands."""
    for secret in sorted({s for s in secrets if s and len(s) >= 4}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    if not _MAY_HOLD_A_SECRET.search(text):
        return text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
