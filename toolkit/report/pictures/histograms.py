"""Histograms of figures of one unit, a row each, over one logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.report.pictures.scale import (
    RIGHT,
    WIDTH,
    beside,
    decades,
    opening,
    percentile,
    quantity,
    safe,
    series_colours,
)
from toolkit.report.record import Distribution

LEFT = 210
FIGURES = 250  # the room at the right for percentiles and counts
ROW = 46
BAR = 30
BINS = 60
TOP = 26
_LEAST = 0.001  # the smallest value shown, since a logarithmic axis has no zero


@dataclass(frozen=True)
class _Axis:
    """From a value to its place on the logarithmic axis."""

    low: float
    high: float

    def __call__(self, value: float) -> float:
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return LEFT + (WIDTH - LEFT - FIGURES - RIGHT) * share


def distributions(pictures: Sequence[Distribution]) -> str:
    """One picture for each unit. A row tells its number of samples, p50, p95 and p99; a bar, how many samples it
    holds."""
    units = dict.fromkeys(picture.unit for picture in pictures)
    return "".join(_of_one_unit([picture for picture in pictures if picture.unit == unit], unit) for unit in units)


def _of_one_unit(pictures: Sequence[Distribution], unit: str) -> str:
    # Rows of one figure stand together, so that its series can be compared.
    names = dict.fromkeys(picture.title for picture in pictures)
    rows = [(picture, _finite(picture)) for name in names for picture in pictures if picture.title == name]
    everything = [value for _, samples in rows for value in samples]
    if not everything:
        return '<p class="detail">No samples.</p>'
    everything = [max(value, _LEAST) for value in everything]
    low, high = min(everything) / 1.15, max(everything) * 1.15
    bottom = TOP + len(rows) * ROW

    x = _Axis(low, high)
    parts = [opening(bottom + 26, f"Distributions in {unit}")]
    last = -math.inf
    for value in decades(low, high):
        parts.append(f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP}" y2="{bottom}" class="grid"/>')
        if x(value) - last >= 46:  # labels keep apart
            last = x(value)
            parts.append(
                f'<text x="{last:.1f}" y="{bottom + 16}" text-anchor="middle" class="small">'
                f"{safe(quantity(value, unit))}</text>"
            )
    parts.append(
        f'<text x="{WIDTH - FIGURES}" y="16" class="small">samples · most in one bar · p50 · p95 · p99</text>'
        f'<text x="{LEFT - 10}" y="{bottom + 16}" text-anchor="end" class="small">logarithmic, {safe(unit)}</text>'
    )
    colours = series_colours([picture.series for picture in pictures])
    for number, (picture, samples) in enumerate(rows):
        parts.append(_row(picture, samples, TOP + number * ROW, colours[picture.series], _Axis(low, high)))
    return "".join([*parts, "</svg>"])


def _row(
    picture: Distribution,
    samples: list[float],
    top: float,
    colour: str,
    x: _Axis,
) -> str:
    base = top + ROW - 8
    name, _, meaning = picture.title.partition(": ")
    label = beside(LEFT - 10, base - 12, name)
    if picture.series:
        label += (
            f'<text x="{LEFT - 10}" y="{base + 1}" text-anchor="end" class="small" style="fill:{colour}">'
            f"{safe(picture.series)}</text>"
        )
    parts = [
        f"<g><title>{safe(meaning or name)}</title>{label}",
        f'<line x1="{LEFT}" x2="{WIDTH - FIGURES - RIGHT}" y1="{base}" y2="{base}" class="lane"/>',
    ]
    if not samples:
        return "".join([*parts, f'<text x="{LEFT + 8}" y="{base - 6}" class="small">no samples</text></g>'])
    ratio = math.log(x.high / x.low)
    bins = [0] * BINS
    for value in samples:
        place = int(BINS * math.log(max(value, x.low) / x.low) / ratio)
        bins[min(max(place, 0), BINS - 1)] += 1
    for number, count in enumerate(bins):
        if count:
            begin, end = (x.low * math.exp(ratio * edge / BINS) for edge in (number, number + 1))
            tall = max(2.0, BAR * count / max(bins))
            parts.append(
                f'<rect x="{x(begin):.1f}" y="{base - tall:.1f}" width="{x(end) - x(begin) - 0.5:.1f}" '
                f'height="{tall:.1f}" fill="{colour}"><title>{count} of {len(samples)} between '
                f"{safe(quantity(begin, picture.unit))} and {safe(quantity(end, picture.unit))}</title></rect>"
            )
    shown = []
    for share, dash in ((0.50, ""), (0.95, "4 2"), (0.99, "1 3")):
        value = percentile(samples, share)
        shown.append(quantity(value, picture.unit))
        parts.append(
            f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{base - BAR - 4}" y2="{base}" stroke="#d3212d" '
            f'stroke-dasharray="{dash}"><title>p{share * 100:g} {safe(shown[-1])}</title></line>'
        )
    figures = f"{len(samples):,} · {max(bins):,} · {' · '.join(shown)}"
    parts.append(f'<text x="{WIDTH - FIGURES}" y="{base - 6}" class="small">{safe(figures)}</text></g>')
    return "".join(parts)


def _finite(picture: Distribution) -> list[float]:
    return sorted(value for value in picture.samples if math.isfinite(value))
