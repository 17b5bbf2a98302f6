"""Tries every cell of the security matrix on a staged database: each statement is rolled back, and each session takes
one block."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from toolkit.migrate.access.matrix import Cell, Key, Verb
from toolkit.migrate.access.personas import NOBODY, PEOPLES, SHARED, THEIRS, USERS, PersonaSession, RowOwner
from toolkit.migrate.access.privileges import Column, Relation
from toolkit.migrate.access.references import StrangersRow, strangers_rows
from toolkit.migrate.access.staging import MOST_ROWS, Staging
from toolkit.postgres.connection import Connection
from toolkit.sql import prove_security as sql
from toolkit.sql.quoting import quote_identifier

_DEADLINE_S = 300
_CONSTRAINT = "23"
_MOST_COLUMNS = 3


@dataclass(frozen=True)
class StatementResult:
    """The server's answer to one statement. `places`: of a SELECT the rows seen, otherwise the rows still in their
    place."""

    touched: int | None
    places: frozenset[str] | None
    code: str
    said: str

    @property
    def privilege_lacks(self) -> bool:
        """Whether it was refused for a missing privilege, before any row was read."""
        return self.code == "42501" and "row-level security" not in self.said


@dataclass(frozen=True)
class _Question:
    """One statement of one cell. `row_owner`: whose row an INSERT or a targeted write is about, else "";
    `refers`: whose row it puts into a reference."""

    name: str
    verb: Verb
    sql: str
    present: str | None = None
    lend: str = ""
    row_owner: RowOwner = ""
    refers: StrangersRow | None = None

    def as_json(self) -> dict[str, str]:
        asked = {"sql": self.sql}
        if self.present is not None:
            asked["present"] = self.present
        if self.lend:
            asked["lend"] = self.lend
        return asked


async def try_cells(
    conn: Connection, staging: Staging, sessions: Sequence[PersonaSession], tell: Callable[[str], None]
) -> dict[Key, Cell]:
    """Try every cell of every session whose role the server has. No claims may ever have been set on `conn`."""
    cells: dict[Key, Cell] = {}
    for session in sessions:
        if session.role not in staging.catalog.roles:
            continue
        tell(f"looking as {session}")
        session_cells = _SessionCells(staging, session)
        questions = session_cells.questions()
        first = await run_as(conn, session, [question.as_json() for question in questions])
        found = dict(session_cells.certain)
        again: list[_Question] = []
        answers: dict[tuple[str, Verb], list[tuple[_Question, StatementResult]]] = {}
        for question, answer in zip(questions, first, strict=True):
            answers.setdefault((question.name, question.verb), []).append((question, answer))
        for (name, verb), pairs in answers.items():
            again += session_cells.targeted(name, verb, pairs)
        second = await run_as(conn, session, [question.as_json() for question in again]) if again else []
        for question, answer in zip(again, second, strict=True):
            answers[question.name, question.verb].append((question, answer))
        for (name, verb), pairs in answers.items():
            if verb != "refer":
                found[name, verb] = session_cells.cell(name, verb, pairs)
        for (name, verb), pairs in answers.items():
            if verb == "refer":
                found[name, verb] = _refer_cell(pairs, found)
        cells |= {(name, session, verb): cell for (name, verb), cell in found.items()}
    return cells


async def run_as(
    conn: Connection, session: PersonaSession, questions: Sequence[Mapping[str, str]]
) -> list[StatementResult]:
    """Run statements as the session and roll each back; returns the results in order."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        if session.claims is not None:
            await conn.execute(sql.CLAIMS, session.claims, True, timeout=_DEADLINE_S)
        await conn.execute(sql.ASK, json.dumps(list(questions)), session.role, timeout=_DEADLINE_S)
        await conn.execute(sql.RUN_CELLS, timeout=_DEADLINE_S)
        told = json.loads(await conn.fetchval(sql.ANSWERS, timeout=_DEADLINE_S))
    finally:
        await transaction.rollback()
    return [
        StatementResult(
            one["touched"],
            None if one["places"] is None else frozenset(one["places"]),
            one["code"] or "",
            (one["said"] or "").splitlines()[0] if one["said"] else "",
        )
        for one in told
    ]


class _SessionCells:
    """The statements of one session, and the cells that their results make."""

    def __init__(self, staging: Staging, session: PersonaSession) -> None:
        self.staging, self.session = staging, session
        self.catalog, self.ownership = staging.catalog, staging.ownership
        self.certain: dict[tuple[str, Verb], Cell] = {}

    def questions(self) -> list[_Question]:
        found: list[_Question] = []
        for relation in self.catalog.judged():
            if relation.is_table:
                found += self._of_table(relation)
            else:
                found += self._of_view(relation)
        return found

    def _of_table(self, table: Relation) -> list[_Question]:
        role = self.session.role
        verbs: tuple[tuple[Verb, str], ...] = (
            ("select", "SELECT"),
            ("insert", "INSERT"),
            ("update", "UPDATE"),
            ("delete", "DELETE"),
        )
        found: list[_Question] = []
        for verb, privilege in verbs:
            if not table.may(role, privilege):
                self.certain[table.name, verb] = Cell("denied")
                continue
            match verb:
                case "select":
                    seen = sql.SEEN.format(table=table.quoted, most=MOST_ROWS)
                    found.append(_Question(table.name, verb, seen, lend=self._lend(table)))
                case "insert":
                    # Rows are inserted through a partition's root; the partition itself would refuse most of them.
                    found += [] if table.partition else self._inserts(table)
                case "update":
                    found += self._updates(table)
                case "delete":
                    present = sql.PRESENT.format(table=table.quoted)
                    found.append(_Question(table.name, verb, sql.DELETE.format(table=table.quoted), present))
        return found if table.partition else [*found, *self._references(table)]

    def _references(self, table: Relation) -> Iterator[_Question]:
        """Rows of one's own that name somebody else's row in a reference: inserted, and updated."""
        role = self.session.role
        inserted = {c.name for c in table.columns if "INSERT" in c.privileges.get(role, ())}
        for row_owner in sorted(self.session.own):
            fresh = self.staging.fresh.get(table.name, {}).get(row_owner)
            if fresh is None:
                continue
            places = [place for place, whose in self.staging.places[table.name].items() if whose == row_owner]
            for refers in strangers_rows(self.staging, table):
                statements: list[str | None] = []
                if refers.values.keys() <= inserted:
                    statements.append(self._insert(table, {**fresh, **refers.values}))
                if len(refers.values) == 1 and refers.values.keys() <= table.writable(role):
                    ((column, value),) = refers.values.items()
                    chosen = f"array[{', '.join(map(literal, places))}]::text[]"
                    statements.append(
                        sql.UPDATE_WHERE.format(
                            table=table.quoted, column=quote_identifier(column), value=literal(value), places=chosen
                        )
                    )
                lend = self._lend(table)
                for statement in filter(None, statements):
                    yield _Question(table.name, "refer", statement, "", lend, row_owner, refers)

    def _of_view(self, view: Relation) -> list[_Question]:
        if not view.may(self.session.role, "SELECT"):
            self.certain[view.name, "select"] = Cell("denied")
            return []
        definition = view.definition.rstrip().rstrip(";")
        found = [
            _Question(view.name, "select", sql.SEEN_IN_VIEW.format(view=view.quoted, most=MOST_ROWS)),
            _Question(
                view.name,
                "select",
                sql.SEEN_BY_DEFINITION.format(definition=definition, most=MOST_ROWS),
                row_owner=SHARED,
            ),
        ]
        tables = [self.catalog.relations[name] for name in view.reads if self.catalog.relations[name].is_table]
        if view.kind == "v" and tables and view.may(self.session.role, "DELETE"):
            base = tables[0]
            found.append(
                _Question(
                    view.name, "delete", sql.DELETE.format(table=view.quoted), sql.PRESENT.format(table=base.quoted)
                )
            )
        return found

    def _lend(self, table: Relation) -> str:
        """SQL that grants SELECT for this try alone: with a privilege on some columns only, a row's ctid cannot be
        read. Policies stay in force."""
        if "SELECT" in table.privileges.get(self.session.role, ()):
            return ""
        return sql.LEND_SELECT.format(table=table.quoted, role=quote_identifier(self.session.role))

    def _inserts(self, table: Relation) -> list[_Question]:
        fresh = self.staging.fresh.get(table.name, {})
        wanted: tuple[RowOwner, ...]
        if SHARED in fresh:
            wanted = (SHARED,)
        else:
            strangers = [
                row_owner
                for row_owner in (THEIRS, *PEOPLES)
                if row_owner in fresh and row_owner not in self.session.entitled
            ]
            wanted = (*(row_owner for row_owner in PEOPLES if row_owner in self.session.entitled), *strangers[:1])
        found = []
        for row_owner in wanted:
            if (statement := self._insert(table, fresh.get(row_owner))) is not None:
                found.append(_Question(table.name, "insert", statement, "", row_owner=row_owner))
        return found

    def _insert(self, table: Relation, values: Mapping[str, str | None] | None) -> str | None:
        """An INSERT of as few columns as possible; None when the role may not write a column that is needed."""
        if values is None:
            return None
        held = {c.name for c in table.columns if "INSERT" in c.privileges.get(self.session.role, ())}
        telling = set(self.ownership.owners.get(table.name, ())) | {c for r in table.references for c in r.columns}
        telling |= {membership.organisation for membership in self.ownership.memberships}
        needed = [c for c in table.columns if not c.computed and (c.not_null and c.default is None)]
        if any(column.name not in held for column in needed):
            self.certain[table.name, "insert"] = Cell("denied")
            return None
        given = [
            column.name
            for column in table.columns
            if not column.computed
            and column.name in values
            and column.name in held
            and (column in needed or (column.name in telling and values[column.name] is not None))
        ]
        if not given:
            return sql.INSERT_DEFAULTS.format(table=table.quoted)
        return sql.INSERT.format(
            table=table.quoted,
            columns=", ".join(map(quote_identifier, given)),
            values=", ".join(literal(values[name]) for name in given),
        )

    def _updates(self, table: Relation) -> list[_Question]:
        rows = self.staging.rows.get(table.name, {})
        sample = next((rows[row_owner] for row_owner in (THEIRS, *PEOPLES, SHARED) if row_owner in rows), None)
        columns = self._plainest(table)
        if sample is None or not columns:
            if not columns:
                self.certain[table.name, "update"] = Cell("denied")
            return []
        present = sql.PRESENT.format(table=table.quoted)
        found = [
            _Question(
                table.name,
                "update",
                sql.UPDATE.format(table=table.quoted, column=quote_identifier(name), value=literal(sample.get(name))),
                present,
            )
            for name in columns[:_MOST_COLUMNS]
        ]
        owner = self._givable(table)
        if owner and self.session.own:
            found.append(
                _Question(
                    table.name,
                    "give away",
                    sql.UPDATE.format(table=table.quoted, column=quote_identifier(owner), value=literal(USERS[THEIRS])),
                    present,
                )
            )
        return found

    def _plainest(self, table: Relation) -> list[str]:
        """The columns that the role may update, those first that are in no key."""
        special = {c for r in table.references for c in r.columns} | set(self.ownership.owners.get(table.name, ()))
        special |= {membership.organisation for membership in self.ownership.memberships}
        keyed = {name for key in table.keys for name in key}
        writable = [c for c in table.columns if c.name in table.writable(self.session.role) and not c.computed]

        def rank(column: Column) -> tuple[bool, bool]:
            return column.name in special, column.name in keyed

        return [column.name for column in sorted(writable, key=rank)]

    def _givable(self, table: Relation) -> str | None:
        writable = table.writable(self.session.role)
        return next((name for name in self.ownership.owners.get(table.name, ()) if name in writable), None)

    def targeted(self, name: str, verb: Verb, pairs: Sequence[tuple[_Question, StatementResult]]) -> list[_Question]:
        """After a write without a condition failed as a whole: the same write on each owner's rows alone, as the API
        would filter. That needs SELECT, without which a session cannot choose rows."""
        table = self.catalog.relations[name]
        question, answer = pairs[0]
        if verb in {"select", "insert", "refer"} or not table.is_table or not table.may(self.session.role, "SELECT"):
            return []
        if any(not one.code for _, one in pairs) or answer.privilege_lacks:
            return []
        found = []
        column = self._givable(table) if verb == "give away" else next(iter(self._plainest(table)), None)
        for row_owner in sorted(self.staging.of(name) & {*PEOPLES, NOBODY, SHARED}):
            if verb == "give away" and row_owner not in self.session.own:
                continue
            places = [place for place, whose in self.staging.places[name].items() if whose == row_owner]
            chosen = f"array[{', '.join(map(literal, places))}]"
            if verb == "delete":
                statement = sql.DELETE_WHERE.format(table=table.quoted, places=chosen)
            else:
                assert column is not None
                row = self.staging.rows[name].get(row_owner, {})
                value = USERS[THEIRS] if verb == "give away" else row.get(column)
                statement = sql.UPDATE_WHERE.format(
                    table=table.quoted, column=quote_identifier(column), value=literal(value), places=chosen
                )
            found.append(_Question(name, verb, statement, question.present, self._lend(table), row_owner))
        return found

    def cell(self, name: str, verb: Verb, pairs: Sequence[tuple[_Question, StatementResult]]) -> Cell:
        """The cell that the results of its statements make."""
        relation = self.catalog.relations[name]
        if not relation.is_table:
            return self._view_cell(relation, verb, pairs)
        places = self.staging.places.get(name, {})
        totals = {row_owner: self.staging.total(name, row_owner) for row_owner in self.staging.of(name)}
        reached = dict.fromkeys(totals, 0)
        troubles: list[StatementResult] = []
        ran = False
        for question, answer in pairs:
            passed = not answer.code or answer.code.startswith(_CONSTRAINT)
            ran = ran or not answer.code
            if verb == "insert":
                totals[question.row_owner] = max(1, totals.get(question.row_owner, 0))
                reached[question.row_owner] = max(reached.get(question.row_owner, 0), int(passed))
                ran = ran or passed
            elif verb == "select":
                seen = answer.places or frozenset()
                reached = {w: sum(p in seen for p, whose in places.items() if whose == w) for w in totals}
            elif answer.places is not None or (not answer.code and answer.touched):
                left = answer.places or frozenset()
                for row_owner in totals:
                    gone = sum(whose == row_owner and place not in left for place, whose in places.items())
                    reached[row_owner] = max(reached[row_owner], gone)
            elif question.row_owner and answer.code.startswith(_CONSTRAINT):
                # A constraint is checked after privileges and policies, so they had allowed the write.
                reached[question.row_owner] = totals[question.row_owner]
                ran = True
            if answer.code:
                troubles.append(answer)
        found = {row_owner: (rows, totals[row_owner]) for row_owner, rows in reached.items()}
        if any(reached.values()):
            return Cell("rows", found)
        return _trouble(troubles, found, ran)

    def _view_cell(self, view: Relation, verb: Verb, pairs: Sequence[tuple[_Question, StatementResult]]) -> Cell:
        shown = pairs[0][1]
        if verb == "delete":
            base = next(name for name in view.reads if self.catalog.relations[name].is_table)
            places = self.staging.places.get(base, {})
            if shown.code or not shown.touched:
                return _trouble([shown] if shown.code else [], {}, not shown.code)
            left = shown.places or frozenset()
            gone = {w: sum(whose == w and p not in left for p, whose in places.items()) for w in self.staging.of(base)}
            return Cell(
                "rows", {row_owner: (rows, self.staging.total(base, row_owner)) for row_owner, rows in gone.items()}
            )
        if shown.code:
            return _trouble([shown], {}, False)
        direct = pairs[1][1].places or frozenset()
        lines = shown.places or frozenset()
        return Cell("rows", lines=lines, beyond=len(lines - direct))


def _refer_cell(pairs: Sequence[tuple[_Question, StatementResult]], cells: Mapping[tuple[str, Verb], Cell]) -> Cell:
    """What took a reference to a row that the session does not see; who sees it may well refer to it."""
    took: dict[RowOwner, set[str]] = {question.row_owner: set() for question, _ in pairs}
    for question, answer in pairs:
        assert question.refers is not None
        seen = cells.get((question.refers.parent, "select"))
        visible = seen is not None and THEIRS in seen.row_owners
        # A constraint is checked after privileges and policies, so they had allowed the write.
        if not visible and (answer.code.startswith(_CONSTRAINT) or (not answer.code and answer.touched)):
            took[question.row_owner].add(question.refers.label)
    reached = {row_owner: (len(labels), len(pairs)) for row_owner, labels in took.items()}
    if any(took.values()):
        return Cell("rows", reached, refers=frozenset().union(*took.values()))
    return _trouble([answer for _, answer in pairs if answer.code], reached, any(not a.code for _, a in pairs))


def _trouble(troubles: Sequence[StatementResult], reached: Mapping[RowOwner, tuple[int, int]], ran: bool) -> Cell:
    """The cell when nothing was reached; an error takes precedence over a refusal."""
    for answer in troubles:
        if answer.code != "42501" and not answer.code.startswith(_CONSTRAINT):
            return Cell("error", reached, answer.code, answer.said)
    if ran or not troubles:
        return Cell("rows", reached)
    if all(answer.privilege_lacks for answer in troubles):
        return Cell("denied", reached, "42501", troubles[0].said)
    return Cell("refused", reached, troubles[0].code, troubles[0].said)


def literal(value: str | None) -> str:
    """A value as an SQL literal without a type, which it takes from the column."""
    if value is None:
        return "null"
    escaped = value.replace("'", "''")
    return f" E'{escaped.replace(chr(92), chr(92) * 2)}'" if "\\" in value else f"'{escaped}'"
