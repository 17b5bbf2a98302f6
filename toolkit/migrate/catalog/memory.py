"""Catalogs that were read already, known again by where their rows lie: a catalog that nobody touched is not read
twice.

A row of a system catalog that changes is written to another place, under the number of the transaction that wrote it.
Copies of a database have their rows in the same places, and a server gives no number twice. So equal places and
numbers are the same catalog, and any change, a rollback of a change included, is either undone or seen.
"""

from __future__ import annotations

from collections import OrderedDict

from toolkit.migrate.catalog.facts import Snapshot
from toolkit.postgres.connection import Connection
from toolkit.sql import catalog as sql

_MOST = 24
_DEADLINE_S = 60


class CatalogMemory:
    """The catalogs of one server's databases that were read last. `recognised` and `read` count the looks."""

    def __init__(self) -> None:
        self.recognised = self.read = 0
        self._known: OrderedDict[tuple[str, tuple[str, ...]], Snapshot] = OrderedDict()
        self._fingerprint = ""

    async def fingerprint(self, conn: Connection) -> str:
        """Where every row of the catalog lies and who wrote it, as this session sees it. Within the transaction in
        which the facts are read."""
        if not self._fingerprint:
            names = [row["name"] for row in await conn.fetch(sql.FINGERPRINTED, timeout=_DEADLINE_S)]
            self._fingerprint = sql.fingerprint(names)
        return str(await conn.fetchval(self._fingerprint, timeout=_DEADLINE_S))

    def find(self, fingerprint: str, left_out: tuple[str, ...]) -> Snapshot | None:
        """The facts of the catalog with this fingerprint, or None where they are to be read."""
        found = self._known.get((fingerprint, left_out))
        if found is None:
            self.read += 1
            return None
        self.recognised += 1
        self._known.move_to_end((fingerprint, left_out))
        return found

    def keep(self, fingerprint: str, left_out: tuple[str, ...], facts: Snapshot) -> None:
        """Remember what was read; the longest unused is forgotten."""
        self._known[fingerprint, left_out] = facts
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
