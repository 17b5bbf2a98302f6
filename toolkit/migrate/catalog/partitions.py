"""Partitions made at run time, by a job or an extension: they belong to their parent, not to the files. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RunTimePartitions:
    """`tables` and their `indexes`, as keys of facts name them."""

    tables: frozenset[str] = frozenset()
    indexes: frozenset[str] = frozenset()

    def has(self, key: str) -> bool:
        """Whether a fact is about one of them."""
        return _mentions(key, self.tables) or key.removeprefix("index ") in self.indexes

    def has_entry(self, title: str) -> bool:
        """Whether an entry of pg_dump is about one of them; its titles name schema and name apart."""
        return _mentions(title, {name.rpartition(".")[2].strip('"') for name in self.tables | self.indexes})


def made_at_run_time(expected: Mapping[str, str], live: Mapping[str, str]) -> RunTimePartitions:
    """The partitions of `live` that `expected` lacks, of parents that it has. Both map keys to facts in JSON."""
    tables: set[str] = set()
    candidates = {
        key.removeprefix("table "): json.loads(fact)
        for key, fact in live.items()
        if key.startswith("table ") and key not in expected
    }
    while True:
        found = {
            name
            for name, fact in candidates.items()
            if fact.get("partition_bound")
            and any(f"table {parent}" in expected or parent in tables for parent in fact.get("inherits", ()))
        }
        if found <= tables:
            break
        tables |= found
    indexes = {
        key.removeprefix("index ")
        for key, fact in live.items()
        if key.startswith("index ") and _mentions(json.loads(fact).get("definition", "").partition(" ON ")[2], tables)
    }
    return RunTimePartitions(frozenset(tables), frozenset(indexes))


def _mentions(text: str, names: Iterable[str]) -> bool:
    return any(re.search(rf'(?<![\w."]){re.escape(name)}(?![\w"])', text) for name in names)
