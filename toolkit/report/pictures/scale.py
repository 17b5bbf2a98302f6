"""What the pictures share: sizes, colours, axes, and the formatting of figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH = 1000
RIGHT = 20
WIDEST = 6.6  # the width of a character at 12 px
TONES = {"plain": "#5b6b7f", "good": "#1f8a4c", "warn": "#d98e04", "bad": "#d3212d"}
# One colour a series, told apart in light and dark and by people who see no difference between red and green.
SERIES = ("#3b74b9", "#d98e04", "#7a5195", "#1f8a4c")
_NAMELESS_DECADES = (1, 2, 5)


def quantity(value: float, unit: str) -> str:
    """A figure with its unit, without exponents: `0.42 ms`, `176 ms`, `14.6 s`, `2.4 min`, `12,300 events`."""
    if unit == "ms" and abs(value) >= 120_000:
        return f"{_plain(value / 60_000)} min"
    if unit == "ms" and abs(value) >= 1000:
        return f"{_plain(value / 1000)} s"
    return f"{_plain(value)} {unit}".strip()


def _plain(value: float) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    shown = f"{value:,.{min(digits, 6)}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted `samples`; `share` between 0 and 1."""
    return samples[max(0, math.ceil(share * len(samples)) - 1)]


def linear_ticks(end: float) -> list[float]:
    """About eight round values from 0 to `end`."""
    rough = end / 8
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * n for n in (1, 2, 5, 10) if unit * n >= rough)
    return [round(step * n, 6) for n in range(int(end / step) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Round values between `low` and `high` for a logarithmic axis: each power of ten, and 2 and 5 where few are."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = _NAMELESS_DECADES if len(powers) <= 4 else (1,)
    return [value for power in powers for factor in factors if low <= (value := factor * 10.0**power) <= high]


def opening(height: float, title: str) -> str:
    """The SVG element's beginning; it is read aloud as `title`."""
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{safe(title)}">'


def safe(text: str) -> str:
    """Text for an element or an attribute."""
    return escape(text, quote=True)


def beside(left: float, y: float, name: str) -> str:
    """The name of a row, ending at `left`; a name without room there is shortened, with the whole name as a tooltip."""
    room = int(left / WIDEST)
    shown = name if len(name) <= room else f"{name[: room - 1]}…"
    whole = f"<title>{safe(name)}</title>" if shown != name else ""
    return f'<text x="{left:.0f}" y="{y:.1f}" text-anchor="end">{whole}{safe(shown)}</text>'


def series_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each series, in order of first appearance."""
    return {name: SERIES[number % len(SERIES)] for number, name in enumerate(dict.fromkeys(names))}
