"""Versions that no file has yet. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timedelta

_STAMP = "%Y%m%d%H%M%S"


def after(version: str) -> str:
    """The next version: a second later where it is a time, the next number of the same width otherwise.

    Versions apply in the order of their text, in which "10" comes before "9": there, a digit is put behind.
    """
    if re.fullmatch(r"\d{14}", version):
        try:
            return (datetime.strptime(version, _STAMP) + timedelta(seconds=1)).strftime(_STAMP)
        except (ValueError, OverflowError):
            pass
    following = str(int(version) + 1).zfill(len(version))
    return following if following > version else f"{version}1"


def fresh(taken: Collection[str], count: int, now: datetime) -> tuple[str, ...]:
    """`count` versions after every one that is `taken`: from `now` on, or directly behind the newest."""
    newest, stamp = max(taken, default=""), now.strftime(_STAMP)
    found = [stamp if stamp > newest else after(newest)]
    while len(found) < count:
        found.append(after(found[-1]))
    return tuple(found[:count])
