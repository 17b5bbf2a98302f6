"""Finds what is wrong in a security matrix: by rules for any schema, and by comparison with the state before. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from toolkit.migrate.access.against_expectations import unlike
from toolkit.migrate.access.expectations import Allowance, Expectations, Rule
from toolkit.migrate.access.matrix import VERBS, Cell, Matrix, Verb, effective, same
from toolkit.migrate.access.ownership import snake
from toolkit.migrate.access.personas import (
    CLIENT_ROLES,
    EMPTY_SUB,
    MALFORMED,
    MEMBERS,
    MINE,
    MINE_TEXT,
    NOBODY,
    OTHERS,
    PEOPLES,
    SHARED,
    TEXT_ID,
    USERS,
    PersonaSession,
)
from toolkit.migrate.access.privileges import Relation, Routine

_BEYOND_RLS = ("TRUNCATE", "REFERENCES", "TRIGGER")
_RECURSION = ("42P17", "54001")  # 54001: a function recurses until the stack limit
_TEXT_SUBJECTS = (*OTHERS, *MEMBERS, str(USERS[MINE_TEXT]))
_DOING: Mapping[Verb, str] = {
    "select": "sees",
    "insert": "can insert",
    "update": "can update",
    "delete": "can delete",
    "give away": "can give away",
    "refer": "can refer to",
}
# What tells who works on a row, or lets one write for it: of a table that clients do not write, operators' business.
_OPERATORS = re.compile(
    r"(^|_)(claim|lock|lease|fencing)_?(token|key|id|owner)$|^(claimed|locked|leased)_by$|(^|_)host_?(name|ip)$"
    r"|(^|_)worker(_?(id|name|ip|host))?$|(^|_)(secret|password|passwd|private_key)(_|$)"
    r"|(^|_)(access|refresh|api|secret)_?(token|key)(_hash)?$"
)


@dataclass
class Rulings:
    """Violations by part (rows, claims, columns, views, functions, grants, expectations), and notes."""

    violations: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)


def judge(before: Matrix, after: Matrix, expectations: Expectations, renewed: frozenset[str] = frozenset()) -> Rulings:
    """New objects, and those that are `renewed`, by the rules; those that existed by comparison. What the expectations
    allow is excused, no more."""
    found = Rulings()
    _cells(before, after, expectations, renewed, found)
    _operators_columns(before, after, expectations, renewed, found)
    _guards(before, after, expectations, found)
    _privileges(before, after, expectations, found)
    _columns(before, after, expectations, found)
    _routines(before, after, expectations, found)
    return found


# -- cells --------------------------------------------------------------------------------------------------------


def _cells(before: Matrix, after: Matrix, expectations: Expectations, renewed: frozenset[str], found: Rulings) -> None:
    lines: dict[tuple[str, str, Verb, str], list[str]] = defaultdict(list)
    older: set[str] = set()
    for (name, session, verb), cell in after.cells.items():
        relation = after.catalog.relations[name]
        error = claims_trouble(after, name, session, cell)
        trouble = error or rows_trouble(after, relation, session, verb, cell)
        part = "claims" if error else "rows" if relation.is_table else "views"
        said = _said(expectations, session, name, verb)
        if said is not None and not error and unlike(session, cell, said[0]) is None:
            continue
        old = before.of(name, session, verb)
        if old is None or (trouble and name in renewed):
            if trouble and (name not in before.catalog.relations or name in renewed):
                lines[part, name, verb, trouble].append(str(session))
            continue
        if same(old, cell):
            older |= {name} if trouble else set()
            continue
        if session.shape in {MALFORMED, EMPTY_SUB} and not trouble and not cell.any:
            continue  # an error and an empty result both keep rows away
        previous = before.catalog.relations[name]
        healed = claims_trouble(before, name, session, old) or rows_trouble(before, previous, session, verb, old)
        if (healed and not trouble) or (not old.any and not cell.any and cell.kind == "denied"):
            note = f"{name}: {verb} is closed further for {session.persona}: was {old}, is {cell}"
            found.notes += [note] if note not in found.notes else []
            continue
        changed = f"{trouble or verb}: it was {old}, it is {cell}"
        lines[part, name, verb, changed].append(str(session))
    for (part, name, _, what), who in lines.items():
        found.violations[part].append(f"{name}: {_people(who)} {what}")
    if older:
        found.notes.append(f"wrong before this version already, and not changed by it: {', '.join(sorted(older))}")


def _said(expectations: Expectations, session: PersonaSession, name: str, verb: Verb) -> tuple[Allowance, Rule] | None:
    match verb:
        case "give away" | "refer":
            return None
        case _:
            return expectations.allowance(session.role, name, verb)


def _people(who: Iterable[str]) -> str:
    shapes: dict[str, list[str]] = defaultdict(list)
    for one in who:
        persona, _, shape = one.partition(" (")
        shapes[persona].append(shape.rstrip(")"))
    return ", ".join(f"{persona} ({', '.join(every)})" for persona, every in shapes.items())


def rows_trouble(matrix: Matrix, relation: Relation, session: PersonaSession, verb: Verb, cell: Cell) -> str:
    """What is wrong with what a session reached, whatever the state before; "" for nothing."""
    if session.role == "service_role":
        return ""
    if not relation.is_table:
        guarded = any(
            matrix.catalog.relations[name].row_security or name in matrix.ownership.owned for name in relation.reads
        )
        if verb == "select" and cell.beyond and guarded:
            reason = (
                "a materialized view keeps no policies"
                if relation.kind == "m"
                else "it runs with its owner's rights (security_invoker is off)"
            )
            return f"sees {cell.beyond} rows that its tables would not show: {reason}"
        foreign = cell.row_owners & {*PEOPLES} - session.entitled
        return f"{_DOING[verb]} rows of its tables that are {_named(foreign)}" if foreign and verb != "select" else ""
    if relation.name not in matrix.ownership.owned:
        if verb in {"update", "delete"} and session.role == "anon" and SHARED in cell.row_owners:
            return f"{_DOING[verb]} rows of everybody"
        return ""
    if verb == "give away":
        given = cell.row_owners & session.own
        return "can give own rows away to somebody else: no WITH CHECK holds the owner" if given else ""
    if verb == "refer":
        # Whatever acts on the reference with more rights takes one's row for the other one's own.
        what = "can make own rows refer to somebody else's rows, which it does not see"
        return f"{what}: no WITH CHECK ties {', '.join(sorted(cell.refers))}" if cell.refers else ""
    foreign = cell.row_owners & {*PEOPLES} - session.entitled
    if foreign:
        what = "a row in the name of others" if verb == "insert" else f"rows that are {_named(foreign)}"
        return f"{_DOING[verb]} {what}"
    if NOBODY in cell.row_owners and session.persona in {"anon", "signed-in"} and verb == "select":
        strangers = [matrix.of(relation.name, one, verb) for one in matrix.sessions if one.persona == "other"]
        if strangers and not any(NOBODY in one.row_owners for one in strangers if one is not None):
            return "sees rows without an owner, which who has an id does not: no id equals no owner"
    return ""


def _named(row_owners: Iterable[str]) -> str:
    return ", ".join(
        sorted({"other people's" if row_owner in {MINE, MINE_TEXT} else row_owner for row_owner in row_owners})
    )


def claims_trouble(matrix: Matrix, name: str, session: PersonaSession, cell: Cell) -> str:
    """An error that no claims should cause; "" for none. Malformed claims are expected to fail."""
    if cell.kind != "error":
        return ""
    if cell.code in _RECURSION or cell.code.startswith("42"):
        return f"fails with {cell.code}: {cell.said}"
    if not cell.code.startswith("22") or session.shape in {MALFORMED, EMPTY_SUB}:
        return ""
    if session.shape == TEXT_ID:
        # Where policies compare uuids, a text for a subject does not occur.
        if name in matrix.ownership.text_tables and any(subject in cell.said for subject in _TEXT_SUBJECTS):
            return f"fails with {cell.code}: {cell.said}; ids here are texts, which no cast to uuid takes"
        return ""
    if "uuid" in cell.said or "json" in cell.said:
        return f"fails with {cell.code}: {cell.said}"
    return ""


# -- what stands around the rows ----------------------------------------------------------------------------------


def _guards(before: Matrix, after: Matrix, expectations: Expectations, found: Rulings) -> None:
    wrong = found.violations["grants"]
    for relation in after.catalog.judged():
        if not relation.is_table:
            continue
        old = before.catalog.relations.get(relation.name)
        clients = [
            role
            for role in CLIENT_ROLES
            if any(relation.may(role, p) for p in ("SELECT", "INSERT", "UPDATE", "DELETE"))
        ]
        open_ = [role for role in clients if not expectations.allows(role, relation.name, "select")]
        if not relation.row_security and open_ and (old is None or old.row_security or _newly(old, open_)):
            wrong.append(f"{relation.name}: row level security is off, and {' and '.join(open_)} hold privileges on it")
        if old is not None:
            if old.forced and not relation.forced:
                wrong.append(
                    f"{relation.name}: row level security is no longer forced: its owner bypasses the policies"
                )
            lost = _restrictions(old) - _restrictions(relation)
            wrong += [
                f"{relation.name}: the RESTRICTIVE policy {name} is gone or says something else"
                for name in sorted(lost)
            ]
        _silence(before, after, relation, clients, found)


def _newly(old: Relation, roles: Iterable[str]) -> bool:
    return not any(old.may(role, p) for role in roles for p in ("SELECT", "INSERT", "UPDATE", "DELETE"))


def _restrictions(relation: Relation) -> set[str]:
    return {
        f"{p.name} ({p.command}, {' '.join(p.roles)}: {p.using} / {p.check})"
        for p in relation.policies
        if not p.permissive
    }


def _silence(before: Matrix, after: Matrix, relation: Relation, clients: list[str], found: Rulings) -> None:
    """Tables that look empty without an error: not even a row's owner sees it, or there is no policy."""
    if relation.name not in after.ownership.owned:
        return
    reads = [p for p in relation.policies if p.permissive and p.command in {"r", "*"}]
    owners = [
        cell
        for session in after.sessions
        if session.persona == "owner"
        and (cell := after.of(relation.name, session, "select")) is not None
        and any(cell.reached.get(row_owner, (0, 0))[1] for row_owner in session.own)
    ]
    invisible = bool(owners) and not any(cell.any for cell in owners)
    old = before.catalog.relations.get(relation.name)
    if relation.published and invisible and (old is None or not old.published):
        found.violations["rows"].append(
            f"{relation.name}: published in supabase_realtime, and its owner sees none of the rows: subscribers wait "
            "for events that never come"
        )
    elif old is None and relation.row_security and not reads and "authenticated" in clients:
        found.notes.append(f"{relation.name}: row level security without a policy: silently empty for everybody")


def _privileges(before: Matrix, after: Matrix, expectations: Expectations, found: Rulings) -> None:
    wrong, by_default = found.violations["grants"], defaultdict[str, list[str]](list)
    for relation in after.catalog.judged():
        if not relation.is_table or relation.partition:
            continue
        old = before.catalog.relations.get(relation.name)
        schema = relation.name.partition(".")[0]
        for role in CLIENT_ROLES:
            for privilege in _BEYOND_RLS:
                if privilege not in relation.privileges.get(role, ()):
                    continue
                if privilege == "TRUNCATE" and expectations.allows(role, relation.name, "truncate"):
                    continue
                if old is not None and privilege in old.privileges.get(role, ()):
                    continue
                places = (f"schema {schema}", "every schema")
                if old is None and any((p, "tables", role, privilege) in before.catalog.defaults for p in places):
                    if privilege == "TRUNCATE":
                        by_default[role].append(relation.name)
                    continue
                wrong.append(f"{relation.name}: {role} holds {privilege}, which no policy limits")
    for role, names in by_default.items():
        found.notes.append(
            f"{role} holds TRUNCATE on {len(names)} new tables by the platform's default privileges; no policy limits "
            f"it, and the API has no verb for it: revoke truncate on {names[0]} … from {role}"
        )
    for place, objects, role, privilege in sorted(after.catalog.defaults - before.catalog.defaults):
        wrong.append(f"default privileges: {objects} made later in {place} will be given to {role} ({privilege})")


def _columns(before: Matrix, after: Matrix, expectations: Expectations, found: Rulings) -> None:
    for relation in after.catalog.judged():
        old = before.catalog.relations.get(relation.name)
        if old is None or not relation.is_table:
            continue
        there = {column.name for column in old.columns} & {column.name for column in relation.columns}
        for role in (*CLIENT_ROLES, "service_role"):
            expected = expectations.columns(role, relation.name)
            was, now = old.writable(role) & there, relation.writable(role) & there
            if gained := now - was - (expected[0] if expected is not None else frozenset()):
                real = " (and an update of theirs goes through)" if effective(after, relation, role) else ""
                found.violations["columns"].append(
                    f"{relation.name}: {role} may now write {', '.join(sorted(gained))}{real}"
                )
            if (lost := was - now) and (now or role == "service_role") and expected is None:
                found.violations["columns"].append(
                    f"{relation.name}: {role} may no longer write {', '.join(sorted(lost))}"
                )


def _operators_columns(
    before: Matrix, after: Matrix, expectations: Expectations, renewed: frozenset[str], found: Rulings
) -> None:
    for relation in after.catalog.judged():
        old = before.catalog.relations.get(relation.name) if relation.name not in renewed else None
        for role in CLIENT_ROLES:
            said = expectations.readable(role, relation.name)
            reached = {
                verb
                for session in after.sessions
                for verb in VERBS
                if session.role == role and (cell := after.of(relation.name, session, verb)) is not None and cell.any
            }
            if "select" not in reached or reached & {"insert", "update"}:
                continue
            names = []
            for column in relation.columns:
                if "SELECT" not in column.privileges.get(role, ()) or not _OPERATORS.search(snake(column.name)):
                    continue
                was = old.column(column.name) if old is not None else None
                if (said is None or column.name not in said[0]) and not (
                    was is not None and "SELECT" in was.privileges.get(role, ())
                ):
                    names.append(column.name)
            if names:
                found.violations["columns"].append(
                    f"{relation.name}: {role} reads {', '.join(names)}, which only operators need: they tell who works "
                    "on a row, or let one write for it"
                )


def _let_go(routine: Routine, old: Routine | None) -> bool:
    """Whether it runs with its owner's rights by a path that is not pinned, and did not before."""
    return routine.definer and not routine.pinned and (old is None or old.pinned or not old.definer)


def _routines(before: Matrix, after: Matrix, expectations: Expectations, found: Rulings) -> None:
    wrong = found.violations["functions"]
    # Where no client may create anything, a path that is not pinned gives nobody more than he has.
    told = wrong if after.catalog.creatable else found.notes
    creators = f" ({'; '.join(after.catalog.creatable)})" if after.catalog.creatable else ""
    for routine in after.catalog.routines.values():
        old = before.catalog.routines.get(routine.name)
        clients = [role for role in CLIENT_ROLES if role in routine.executors]
        if not routine.callable:
            # Who fires a trigger needs no right to its function, and nobody can call it.
            if _let_go(routine, old):
                told.append(
                    f"{routine.name}: a trigger function with the rights of {routine.owner} whose search_path is not "
                    f"pinned: who can create objects decides what its names mean{creators}"
                )
            continue
        gained = [
            role
            for role in clients
            if old is not None and role not in old.executors and not expectations.allows(role, routine.name, "execute")
        ]
        if gained:
            wrong.append(f"{routine.name}: {' and '.join(gained)} may now execute it")
        lost = old is not None and "service_role" in old.executors and "service_role" not in routine.executors
        if lost and expectations.allowance("service_role", routine.name, "execute") is None:
            wrong.append(f"{routine.name}: service_role may no longer execute it")
        if clients and _let_go(routine, old):
            told.append(
                f"{routine.name}: runs with the rights of {routine.owner}, {' and '.join(clients)} may execute it, and "
                f"its search_path is not pinned: who can create objects decides what its names mean{creators}"
            )
        earlier = {leak for call in before.calls.get(routine.name, ()) for leak in call.leaks}
        leaks: dict[str, list[str]] = defaultdict(list)
        for call in after.calls.get(routine.name, ()):
            for leak in call.leaks:
                if leak not in earlier and not expectations.allows(call.session.role, routine.name, "execute"):
                    leaks[leak].append(str(call.session))
        wrong += [f"{routine.name}: called by {_people(dict.fromkeys(who))} it {leak}" for leak, who in leaks.items()]
