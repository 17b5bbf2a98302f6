"""Timelines: lanes of moments, bands behind them, and curves, over one axis of seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from toolkit.report.pictures.scale import (
    RIGHT,
    TONES,
    WIDTH,
    beside,
    linear_ticks,
    opening,
    quantity,
    safe,
    series_colours,
)
from toolkit.report.record import Band, Curve, Lane, Timeline

LEFT = 210
LANE = 26
CURVE = 80
# Labels above the picture: the height of a row, how many rows at most, and the width of a character at 10 px.
LABEL = 12
LABEL_ROWS = 6
CHARACTER = 5.6
LONGEST_LABEL = 30
MOST_TOLD = 30
# With more ticks than this a page grows too large, and a lane looks like a bar anyway.
MAX_TICKS = 600


def timeline(picture: Timeline) -> str:
    """Lanes with ticks, curves above them, bands behind both, seconds below.

    A band whose label is too long to stand above it is numbered, and explained below the picture.
    """
    end = max(_moments(picture), default=0.0) or 1.0

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(at, 0.0), end) / end

    legend = [band for band in picture.bands if len(band.label) > LONGEST_LABEL]
    numbers = {id(band): str(number) for number, band in enumerate(legend, 1)}
    labels = [numbers.get(id(band), band.label) for band in picture.bands]
    rows = _label_rows([(x(band.start), label) for band, label in zip(picture.bands, labels, strict=True)])
    top = 10 + LABEL * (max((row for row in rows if row is not None), default=0) + 1)
    strips = _strips(picture.curves)
    curves = len(strips) * CURVE
    bottom = top + curves + len(picture.lanes) * LANE
    parts = [opening(bottom + 28, picture.title)]
    for band, label, row in zip(picture.bands, labels, rows, strict=True):
        left, right = x(band.start), max(x(band.end), x(band.start) + 2)
        parts.append(
            f"<g><title>{safe(band.label)} ({band.start:.2f}–{band.end:.2f} s)</title>"
            f'<rect x="{left:.1f}" y="{top - 8}" width="{right - left:.1f}" height="{bottom - top + 8}" '
            f'fill="{TONES[band.tone]}" fill-opacity="0.18" stroke="{TONES[band.tone]}" stroke-opacity="0.6"/>'
            + ("" if row is None else _label(left, 10 + LABEL * row, label))
            + "</g>"
        )
    colours = series_colours([curve.series for curve in picture.curves])
    for number, strip in enumerate(strips):
        parts.append(_strip(strip, top + number * CURVE, x, colours))
    for number, lane in enumerate(picture.lanes):
        parts.append(_lane(lane, top + curves + number * LANE, x))
    for at in linear_ticks(end):
        parts.append(
            f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{top - 8}" y2="{bottom}" class="grid"/>'
            f'<text x="{x(at):.1f}" y="{bottom + 18}" text-anchor="middle" class="small">{at:g} s</text>'
        )
    return "".join([*parts, "</svg>", _legend(legend)])


def _legend(bands: Sequence[Band]) -> str:
    """The labels of the numbered bands; of very many, the longest bands only."""
    if not bands:
        return ""
    told = set(sorted(range(len(bands)), key=lambda number: bands[number].start - bands[number].end)[:MOST_TOLD])
    lines = "".join(
        f'<li value="{number + 1}">{safe(band.label)} ({band.start:.2f}–{band.end:.2f} s)</li>'
        for number, band in enumerate(bands)
        if number in told
    )
    more = f"<p>… and {len(bands) - len(told)} shorter ones</p>" if len(bands) > len(told) else ""
    return f'<ol class="legend">{lines}</ol>{more}'


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
    """(left, right) of a label: from its band's beginning, or ending at the picture's edge."""
    wide = len(label) * CHARACTER + 4
    left = min(left, max(0.0, WIDTH - wide))
    return left, left + wide


def _label(left: float, y: float, label: str) -> str:
    return f'<text x="{_span(left, label)[0]:.1f}" y="{y}" class="small">{safe(label)}</text>'


def _moments(picture: Timeline) -> list[float]:
    return [
        *(tick.at for lane in picture.lanes for tick in lane.ticks),
        *(band.end for band in picture.bands),
        *(at for curve in picture.curves for at, _ in curve.points),
    ]


def _lane(lane: Lane, y: float, x: Callable[[float], float]) -> str:
    middle = y + LANE / 2
    parts = [
        beside(LEFT - 10, middle + 4, lane.name)
        + f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{middle}" y2="{middle}" class="lane"/>'
    ]
    shown = lane.ticks
    if len(shown) > MAX_TICKS:
        # Bad ticks are always drawn; of the others an even selection.
        every = math.ceil(len(shown) / MAX_TICKS)
        shown = tuple(tick for n, tick in enumerate(shown) if tick.tone == "bad" or n % every == 0)
    for tick in shown:
        tall = 10 if tick.tone == "bad" else 7
        parts.append(
            f"<g><title>{safe(tick.label)} at {tick.at:.3f} s</title>"
            f'<line x1="{x(tick.at):.1f}" x2="{x(tick.at):.1f}" y1="{middle - tall}" y2="{middle + tall}" '
            f'stroke="{TONES[tick.tone]}" stroke-width="{3 if tick.tone == "bad" else 1.6}"/></g>'
        )
    return "".join(parts)


def _strips(curves: Sequence[Curve]) -> list[list[Curve]]:
    """The curves by strip: those of one name share a strip and its axis, so that their series can be compared."""
    strips: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        strips.setdefault((curve.name, curve.unit), []).append(curve)
    return list(strips.values())


def _strip(strip: Sequence[Curve], y: float, x: Callable[[float], float], colours: Mapping[str, str]) -> str:
    peak = max((value for curve in strip for _, value in curve.points), default=0.0) or 1.0
    base, tall = y + CURVE - 12, CURVE - 20
    name, unit = strip[0].name, strip[0].unit
    parts = [
        beside(LEFT - 10, y + 20, name)
        + f'<text x="{LEFT - 10}" y="{y + 34}" text-anchor="end" class="small">0 to {safe(quantity(peak, unit))}</text>'
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}" class="lane"/>'
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base - tall}" y2="{base - tall}" class="grid"/>'
    ]
    for row, curve in enumerate(strip):
        path = " ".join(f"{x(at):.1f},{base - tall * value / peak:.1f}" for at, value in curve.points)
        colour = colours[curve.series]
        highest = max((value for _, value in curve.points), default=0.0)
        parts.append(
            f"<g><title>{safe(curve.series or name)}, at most {safe(quantity(highest, unit))}</title>"
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/></g>'
        )
        if curve.series:
            parts.append(
                f'<text x="{LEFT - 10}" y="{y + 48 + row * 12}" text-anchor="end" class="small" '
                f'style="fill:{colour}">{safe(curve.series)}</text>'
            )
    return "".join(parts)
