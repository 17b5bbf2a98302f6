"""Compares a security matrix with the user's expectations. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from toolkit.migrate.access.expectations import Allowance, Expectations, ExpectedVerb, Rule
from toolkit.migrate.access.matrix import Cell, Matrix, effective
from toolkit.migrate.access.personas import PEOPLES, ROLES, PersonaSession
from toolkit.migrate.access.privileges import Relation

_RowVerb = Literal["select", "insert", "update", "delete"]
_ROW_VERBS: tuple[_RowVerb, ...] = ("select", "insert", "update", "delete")


@dataclass(frozen=True)
class _Told:
    """One expected cell, and its place in the file."""

    file: str
    role: str
    verb: ExpectedVerb
    allowance: Allowance
    rule: Rule

    def against(self, name: str, found: str, who: str = "") -> str:
        """The line of a report."""
        return (
            f"{self.file}:{self.rule.line}: {name}: expected {self.verb} {self.allowance} for {who or self.role}, "
            f"found: {found}"
        )


def broken(matrix: Matrix, expectations: Expectations) -> tuple[list[str], int]:
    """A line for each cell that is not as expected, with its place in the file; and how many cells were compared."""
    found: list[str] = []
    compared = 0
    for relation in matrix.catalog.judged():
        for role in ROLES:
            for verb in _ROW_VERBS if relation.is_table else _ROW_VERBS[:1]:
                said = expectations.allowance(role, relation.name, verb)
                if said is not None:
                    compared += 1
                    found += _rows(matrix, relation, verb, _Told(expectations.file, role, verb, *said))
            found += _truncate(relation, role, expectations)
            found += _columns(matrix, relation, role, expectations)
    for routine in matrix.catalog.routines.values():
        for role in ROLES:
            said = expectations.allowance(role, routine.name, "execute")
            if said is None:
                continue
            compared += 1
            may = role in routine.executors
            if may != (said[0] == "allow"):
                found.append(
                    _Told(expectations.file, role, "execute", *said).against(
                        routine.name, "may execute it" if may else "may not"
                    )
                )
    return found, compared


def _rows(matrix: Matrix, relation: Relation, verb: _RowVerb, told: _Told) -> Iterator[str]:
    cells = [
        (session, cell)
        for session in matrix.sessions
        if session.role == told.role and (cell := matrix.of(relation.name, session, verb)) is not None
    ]
    for session, cell in cells:
        if (wrong := unlike(session, cell, told.allowance)) is not None:
            yield told.against(relation.name, wrong, str(session))
    if told.allowance == "allow" and cells and not any(cell.any for _, cell in cells):
        # A cell without rows shows nothing unless the privilege itself is missing.
        there = any(total for _, cell in cells for _, total in cell.reached.values())
        if there or all(cell.kind == "denied" for _, cell in cells):
            yield told.against(relation.name, str(cells[-1][1]))


def unlike(session: PersonaSession, cell: Cell, allowance: Allowance) -> str | None:
    """What a cell allows that it should not, or does not allow that it should."""
    if allowance == "allow":
        return None
    if allowance == "deny":
        return str(cell) if cell.any else None
    entitled = session.own if allowance == "own" else session.entitled
    if cell.row_owners & {*PEOPLES} - entitled or (not entitled and cell.lines and cell.beyond):
        return str(cell)
    for row_owner in entitled & cell.reached.keys():
        rows, total = cell.reached[row_owner]
        if total and not rows:
            return f"reaches none of {total} rows: {cell}"
    if entitled and cell.kind != "rows" and any(cell.reached.get(row_owner, (0, 0))[1] for row_owner in entitled):
        return str(cell)
    return None


def _truncate(relation: Relation, role: str, expectations: Expectations) -> Iterator[str]:
    said = expectations.allowance(role, relation.name, "truncate")
    if said is None or not relation.is_table:
        return
    may = "TRUNCATE" in relation.privileges.get(role, ())
    if may != (said[0] == "allow"):
        yield _Told(expectations.file, role, "truncate", *said).against(
            relation.name, "holds the privilege" if may else "does not hold the privilege"
        )


def _columns(matrix: Matrix, relation: Relation, role: str, expectations: Expectations) -> Iterator[str]:
    yield from _readable(relation, role, expectations)
    said = expectations.columns(role, relation.name)
    if said is None or not relation.is_table:
        return
    allowed, rule = said
    if missing := allowed - {column.name for column in relation.columns}:
        yield f"{expectations.file}:{rule.line}: expected columns of {relation.name}, got {', '.join(sorted(missing))}"
    if more := effective(matrix, relation, role) - allowed:
        yield (
            f"{expectations.file}:{rule.line}: {relation.name}: {role} should write no columns but "
            f"{', '.join(sorted(allowed)) or 'none'}, and can write {', '.join(sorted(more))}"
        )


def _readable(relation: Relation, role: str, expectations: Expectations) -> Iterator[str]:
    said = expectations.readable(role, relation.name)
    if said is None:
        return
    allowed, rule = said
    at = f"{expectations.file}:{rule.line}"
    if missing := allowed - {column.name for column in relation.columns}:
        yield f"{at}: expected columns of {relation.name}, got {', '.join(sorted(missing))}"
    read = {column.name for column in relation.columns if "SELECT" in column.privileges.get(role, ())}
    if more := read - allowed:
        yield f"{at}: {relation.name}: {role} should not read {', '.join(sorted(more))}, and may"
    if less := allowed - read - missing:
        yield f"{at}: {relation.name}: {role} should read {', '.join(sorted(less))}, and may not"
