"""The database's clock, to compare with ours."""

from __future__ import annotations

NOW = "select extract(epoch from clock_timestamp())::float8"
