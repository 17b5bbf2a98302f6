"""Inline SVG for the page: timelines and distributions. Text in, text out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from toolkit.report.record import Curve, Distribution, Lane, Timeline

WIDTH = 1000
LEFT = 210
RIGHT = 20
LANE = 26
CURVE = 80
# Labels above the picture: the height of a row, how many rows at most, and the width of a character at 10 px.
LABEL = 12
LABEL_ROWS = 6
CHARACTER = 5.6
TONES = {"plain": "#5b6b7f", "good": "#1f8a4c", "warn": "#d98e04", "bad": "#d3212d"}
# Beyond this a page grows heavy and a lane turns into a bar anyway.
MAX_TICKS = 600


def timeline(picture: Timeline) -> str:
    """Lanes with ticks, curves above them, bands behind both, seconds below."""
    end = max(_moments(picture), default=0.0) or 1.0

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(at, 0.0), end) / end

    rows = _label_rows([(x(band.start), band.label) for band in picture.bands])
    top = 10 + LABEL * (max((row for row in rows if row is not None), default=0) + 1)
    curves = len(picture.curves) * CURVE
    bottom = top + curves + len(picture.lanes) * LANE
    parts = [_open(bottom + 28, picture.title)]
    for band, row in zip(picture.bands, rows, strict=True):
        left, right = x(band.start), max(x(band.end), x(band.start) + 2)
        parts.append(
            f"<g><title>{_text(band.label)} ({band.start:.2f}–{band.end:.2f} s)</title>"
            f'<rect x="{left:.1f}" y="{top - 8}" width="{right - left:.1f}" height="{bottom - top + 8}" '
            f'fill="{TONES[band.tone]}" fill-opacity="0.18" stroke="{TONES[band.tone]}" stroke-opacity="0.6"/>'
            + ("" if row is None else _label(left, 10 + LABEL * row, band.label))
            + "</g>"
        )
    for number, curve in enumerate(picture.curves):
        parts.append(_curve(curve, top + number * CURVE, x))
    for number, lane in enumerate(picture.lanes):
        parts.append(_lane(lane, top + curves + number * LANE, x))
    for at in _scale(end):
        parts.append(
            f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{top - 8}" y2="{bottom}" class="grid"/>'
            f'<text x="{x(at):.1f}" y="{bottom + 18}" text-anchor="middle" class="small">{at:g} s</text>'
        )
    return "".join([*parts, "</svg>"])


def _label_rows(labels: Sequence[tuple[float, str]]) -> list[int | None]:
    """The row of each label, so that none covers another; None where there is no room (it shows on hover)."""
    ends = [-math.inf] * LABEL_ROWS
    placed: list[int | None] = [None] * len(labels)
    for number, (begin, label) in sorted(enumerate(labels), key=lambda item: item[1][0]):
        left, right = _span(begin, label)
        row = next((row for row, end in enumerate(ends) if end < left), None)
        if row is not None:
            ends[row] = right
            placed[number] = row
    return placed


def _span(left: float, label: str) -> tuple[float, float]:
    """Where a label lies: from its band's beginning on, or up to the picture's edge."""
    wide = len(label) * CHARACTER + 4
    left = min(left, max(0.0, WIDTH - wide))
    return left, left + wide


def _label(left: float, y: float, label: str) -> str:
    return f'<text x="{_span(left, label)[0]:.1f}" y="{y}" class="small">{_text(label)}</text>'


def distribution(picture: Distribution) -> str:
    """A histogram on a logarithmic axis with p50, p95 and p99 marked."""
    samples = sorted(value for value in picture.samples if math.isfinite(value))
    if not samples:
        return '<p class="detail">No samples.</p>'
    floor = max(min((v for v in samples if v > 0), default=0.001), 0.001)
    low, high = math.log10(floor), math.log10(max(samples[-1], floor * 1.01))
    bins = [0] * 40
    for value in samples:
        place = (math.log10(max(value, floor)) - low) / (high - low)
        bins[min(int(place * len(bins)), len(bins) - 1)] += 1
    height, base, left = 120, 140, 40
    span = (WIDTH - left - RIGHT) / len(bins)
    parts = [_open(base + 56, picture.title)]
    for number, count in enumerate(bins):
        if count:
            tall = max(2.0, height * count / max(bins))
            start = 10 ** (low + (high - low) * number / len(bins))
            parts.append(
                f'<rect x="{left + number * span:.1f}" y="{base - tall:.1f}" width="{span - 1:.1f}" '
                f'height="{tall:.1f}" fill="#3b74b9">'
                f"<title>{count} × from {start:.3g} {_text(picture.unit)}</title></rect>"
            )
    for edge, value, side in ((left, floor, "start"), (WIDTH - RIGHT, samples[-1], "end")):
        parts.append(
            f'<text x="{edge}" y="{base + 50}" text-anchor="{side}" class="small">'
            f"{value:.3g} {_text(picture.unit)}</text>"
        )
    for row, (name, share) in enumerate((("p50", 0.50), ("p95", 0.95), ("p99", 0.99))):
        value = percentile(samples, share)
        at = left + (WIDTH - left - RIGHT) * (math.log10(max(value, floor)) - low) / (high - low)
        side = "end" if at > WIDTH * 0.8 else "start"
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="14" y2="{base}" stroke="#d3212d" stroke-dasharray="3 3"/>'
            f'<text x="{at:.1f}" y="{base + 14 + row * 12}" text-anchor="{side}" class="small">'
            f"{name} {value:.3g} {_text(picture.unit)}</text>"
        )
    return "".join([*parts, "</svg>"])


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted `samples`; `share` between 0 and 1."""
    return samples[max(0, math.ceil(share * len(samples)) - 1)]


def _moments(picture: Timeline) -> list[float]:
    return [
        *(tick.at for lane in picture.lanes for tick in lane.ticks),
        *(band.end for band in picture.bands),
        *(at for curve in picture.curves for at, _ in curve.points),
    ]


def _lane(lane: Lane, y: float, x: Callable[[float], float]) -> str:
    middle = y + LANE / 2
    parts = [
        f'<text x="{LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end">{_text(lane.name)}</text>'
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{middle}" y2="{middle}" class="lane"/>'
    ]
    shown = lane.ticks
    if len(shown) > MAX_TICKS:
        # What is wrong is always drawn; of the rest an even selection.
        every = math.ceil(len(shown) / MAX_TICKS)
        shown = tuple(tick for n, tick in enumerate(shown) if tick.tone == "bad" or n % every == 0)
    for tick in shown:
        tall = 10 if tick.tone == "bad" else 7
        parts.append(
            f"<g><title>{_text(tick.label)} at {tick.at:.3f} s</title>"
            f'<line x1="{x(tick.at):.1f}" x2="{x(tick.at):.1f}" y1="{middle - tall}" y2="{middle + tall}" '
            f'stroke="{TONES[tick.tone]}" stroke-width="{3 if tick.tone == "bad" else 1.6}"/></g>'
        )
    return "".join(parts)


def _curve(curve: Curve, y: float, x: Callable[[float], float]) -> str:
    peak = max((value for _, value in curve.points), default=0.0) or 1.0
    base, tall = y + CURVE - 12, CURVE - 20
    path = " ".join(f"{x(at):.1f},{base - tall * value / peak:.1f}" for at, value in curve.points)
    return (
        f'<text x="{LEFT - 10}" y="{y + 20}" text-anchor="end">{_text(curve.name)}</text>'
        f'<text x="{LEFT - 10}" y="{y + 34}" text-anchor="end" class="small">max {peak:.3g} {_text(curve.unit)}</text>'
        f'<polyline points="{path}" fill="none" stroke="#3b74b9" stroke-width="1.4"/>'
    )


def _scale(end: float) -> list[float]:
    rough = end / 8
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * n for n in (1, 2, 5, 10) if unit * n >= rough)
    return [round(step * n, 6) for n in range(int(end / step) + 1)]


def _open(height: float, title: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{_text(title)}">'


def _text(text: str) -> str:
    return escape(text, quote=True)
