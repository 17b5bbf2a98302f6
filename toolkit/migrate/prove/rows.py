"""Plausible rows for the tables of any schema: read its shapes, then insert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.migrate.ledger import Connection


@dataclass(frozen=True)
class Shape:
    """A table to insert into."""

    table: str


@dataclass(frozen=True)
class Seeded:
    """`rows`: table → how many rows were inserted; `refused`: table → why none could be; `notes`: anything else."""

    rows: Mapping[str, int]
    refused: Mapping[str, str]
    notes: tuple[str, ...] = ()


async def read_shapes(conn: Connection) -> Mapping[str, Shape]:
    """The shape of every user table."""
    raise NotImplementedError


async def seed(conn: Connection, shapes: Mapping[str, Shape], rows_each: int) -> Seeded:
    """Insert `rows_each` rows into each table, parents first."""
    raise NotImplementedError
