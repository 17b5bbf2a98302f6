"""What differs between the catalogs of two major versions of Postgres although the schema is the same. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_NOT_NULL = "not-null constraint "
# A name followed by a dot and another name: `t.c`, `"T".c`. Not after FROM or JOIN, where it names a schema.
_QUALIFIER = re.compile(r'(?<![\w".])(?<!from )(?<!join )(?:[a-z_][\w$]*|"[^"]+")\.(?=[a-z_"])', re.IGNORECASE)


@dataclass(frozen=True)
class Aligned:
    """Both sides without what their versions alone account for, and sentences that say what was set aside."""

    before: Mapping[str, str]
    after: Mapping[str, str]
    notes: tuple[str, ...] = ()


def align(before: Mapping[str, str], after: Mapping[str, str], old: int, new: int) -> Aligned:
    """Two catalogs read from Postgres `old` and `new` (majors; 0: not known), made comparable.

    - 18 names every NOT NULL in a constraint of its own. That a column takes no null is said of the column.
    - 17 has the privilege MAINTAIN, which owners hold without being given it.
    - 16 leaves a column's table out of a view's text where there is only one table.
    """
    if old == new or not old or not new:
        return Aligned(before, after)
    first, second, notes = dict(before), dict(after), []
    low, high = sorted((old, new))
    if low < 18 <= high:
        named = _drop(first) + _drop(second)
        notes.append(
            f"{named} named NOT NULL constraints of Postgres 18 were not compared: Postgres {low} has none. That each "
            "column takes no null was."
        )
    if low < 17 <= high:
        changed = _rewrite(first, ("grant on ", "default privileges of "), _without_maintain)
        changed += _rewrite(second, ("grant on ", "default privileges of "), _without_maintain)
        notes.append(f"The privilege MAINTAIN (in {changed} facts) was not compared: Postgres {low} does not know it.")
    if low < 16 <= high and (views := _same_views(first, second)):
        notes.append(
            f"{views} views differ only in whether columns name their table, as Postgres {low} and {high} write them "
            "differently; they count as equal."
        )
    return Aligned(first, second, tuple(notes))


def _drop(facts: dict[str, str]) -> int:
    doomed = [key for key in facts if key.startswith(_NOT_NULL)]
    for key in doomed:
        del facts[key]
    return len(doomed)


def _rewrite(facts: dict[str, str], kinds: tuple[str, ...], change: Callable[[Any], Any]) -> int:
    """Apply `change` to facts of these kinds; a fact of which nothing stays is dropped. How many it changed."""
    count = 0
    for key in [key for key in facts if key.startswith(kinds) and "MAINTAIN" in facts[key]]:
        changed = change(json.loads(facts[key]))
        count += 1
        if changed:
            facts[key] = json.dumps(changed, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        else:
            del facts[key]
    return count


def _without_maintain(fact: Any) -> Any:
    if isinstance(fact, list):  # default privileges: [grantee, privilege, grantable]
        return [entry for entry in fact if entry[1] != "MAINTAIN"]
    kept = [text for text in fact["privileges"] if not text.startswith("MAINTAIN ")]
    return {"privileges": kept} if kept else None


def _same_views(first: dict[str, str], second: dict[str, str]) -> int:
    count = 0
    for key in first.keys() & second.keys():
        if first[key] == second[key] or not key.startswith(("view ", "materialized view ")):
            continue
        one, other = json.loads(first[key]), json.loads(second[key])
        texts = [_QUALIFIER.sub("", side.pop("definition", "")) for side in (one, other)]
        if one == other and texts[0] == texts[1]:
            second[key] = first[key]
            count += 1
    return count
