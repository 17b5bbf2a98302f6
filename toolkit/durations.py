"""Durations as people write them, on the command line and in scenario files: `500ms`, `10s`, `5m`, `1h`, `7d`."""

from __future__ import annotations

import re

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
FORM = "a number with its unit, such as 500ms, 10s, 5m, 1h or 7d"
PATTERN = r"^\d{1,12}(\.\d{1,12})?\s*(ms|s|m|h|d)$"
_DURATION = re.compile(rf"([0-9]{{1,12}}(?:\.[0-9]{{1,12}})?)\s*({'|'.join(UNITS)})")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def parse_duration(text: str) -> float:
    """`text` in seconds.

    Raises ValueError with a sentence that says what to write. A number without a unit is refused: the same 500 would
    be half a second to one reader and eight minutes to another.
    """
    written = text.strip()
    if match := _DURATION.fullmatch(written):
        return float(match[1]) * UNITS[match[2]]
    if _NUMBER.fullmatch(written) and len(written) <= 12:
        raise ValueError(
            f"{written!r} is not a duration, it has no unit: write {written}s for seconds or {written}ms for "
            "milliseconds."
        )
    raise ValueError(f"{text[:40]!r} is not a duration: write {FORM}.")


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as `seconds`, to the millisecond: 0.5 is `500ms`, 3600 is `1h`."""
    milliseconds = round(seconds * 1000)
    for unit, size in reversed(UNITS.items()):
        if milliseconds and milliseconds % round(size * 1000) == 0:
            return f"{milliseconds // round(size * 1000)}{unit}"
    return "0s"
