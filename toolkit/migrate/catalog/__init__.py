"""The database's catalog as facts keyed by names, so that two states can be compared and their difference read."""

from toolkit.migrate.catalog.facts import Difference, Kind, Snapshot, Unmodelled, diff
from toolkit.migrate.catalog.memory import CatalogMemory
from toolkit.migrate.catalog.take import NOT_MODELLED, reading, take_snapshot

__all__ = [
    "NOT_MODELLED",
    "CatalogMemory",
    "Difference",
    "Kind",
    "Snapshot",
    "Unmodelled",
    "diff",
    "reading",
    "take_snapshot",
]
