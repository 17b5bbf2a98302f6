"""Inline SVG for the page: timelines and distributions. Records in, text out; nothing is loaded from anywhere."""

from toolkit.report.pictures.histograms import distributions
from toolkit.report.pictures.scale import percentile, quantity
from toolkit.report.pictures.timelines import timeline

__all__ = ["distributions", "percentile", "quantity", "timeline"]
