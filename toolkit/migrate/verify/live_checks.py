"""Read-only checks of a live database, for any folder: what its catalog says, and what each role's reads run into."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

from toolkit.migrate.access.matrix import Cell, Matrix
from toolkit.migrate.access.ownership import Ownership, ownership_of
from toolkit.migrate.access.personas import CLIENT_ROLES, SESSIONS, PersonaSession
from toolkit.migrate.access.privileges import AccessCatalog, Relation, read_access_catalog
from toolkit.migrate.access.rulings import claims_trouble
from toolkit.migrate.access.try_cells import run_as
from toolkit.migrate.folder.files import Folder
from toolkit.migrate.run.history import read_history
from toolkit.migrate.run.plan import VersionStatus, as_applied, statuses
from toolkit.migrate.verify.definers import body, limited, unqualified
from toolkit.migrate.verify.meant import left_unvalidated, named_members
from toolkit.migrate.verify.verify_file import UNDECIDED
from toolkit.postgres.connection import Connection, connected
from toolkit.report.record import Check, Verdict
from toolkit.sql import history as history_sql
from toolkit.sql import live_checks as sql
from toolkit.sql.openness import says_anybody

_DEADLINE_S = 30
_NEARLY = 0.8  # of a sequence's numbers
_ALWAYS = {"true", ""}


@dataclass
class LiveFacts:
    """What was read. `lines`: question → violations as the database words them; `absent`: question → why it could not
    be answered; `raised`: a line for each read that a policy made fail; `members`: publication → its tables; `limited`:
    functions of which a call by anybody gives little."""

    catalog: AccessCatalog
    ownership: Ownership
    versions: tuple[VersionStatus, ...] = ()
    lines: dict[str, tuple[str, ...]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    raised: tuple[str, ...] = ()
    members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    named: Mapping[str, frozenset[str]] = field(default_factory=dict)
    limited: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LiveCheck:
    """One check. `needs`: the questions it rests on; an absent one makes it unknown."""

    id: str
    title: str
    remedy: str
    judge: Callable[[LiveFacts], Sequence[str]]
    needs: tuple[str, ...] = ()

    def run(self, facts: LiveFacts) -> Check:
        """The verdict, with the violations as its witness."""
        for question in self.needs:
            if question in facts.absent:
                return Check(self.id, self.title, Verdict.UNKNOWN, facts.absent[question], UNDECIDED, "live")
        return Check.of_lines(self.id, self.title, self.judge(facts), remedy=self.remedy, group="live")


async def check_live(dsn: str, folder: Folder) -> list[Check]:
    """Every check, in order. Reads only: read-only transactions that are rolled back, bounded in time; a role's read
    of a table touches its first two blocks."""
    async with connected(dsn, "toolkit migrate verify: live") as conn:
        facts = await _gather(conn, folder)
    # Claims that were never set can only be seen from a connection that never set any.
    async with connected(dsn, "toolkit migrate verify: roles") as conn:
        await _read_as_roles(conn, facts)
    return [check.run(facts) for check in CHECKS]


async def _gather(conn: Connection, folder: Folder) -> LiveFacts:
    catalog = await read_access_catalog(conn)
    history = await read_history(conn)
    facts = LiveFacts(catalog, ownership_of(catalog), statuses(folder, history))
    applied = {row.version for row in history.rows}
    folder = as_applied(folder, history)
    statements = [s for m in folder.migrations if m.version in applied for s in m.up.statements]
    facts.named = named_members(statements)
    async with conn.transaction(readonly=True):
        await conn.execute(sql.BOUND, timeout=_DEADLINE_S)
        for question, query in (
            ("constraints", sql.NOT_VALID),
            ("triggers", sql.DISABLED_TRIGGERS),
            ("identities", sql.UNIDENTIFIED),
        ):
            rows = await _asked(conn, facts, question, query)
            meant = left_unvalidated(statements) if question == "constraints" else frozenset()
            facts.lines[question] = tuple(row["line"] for row in rows if row.get("name") not in meant)
        rows = await _asked(conn, facts, "indexes", history_sql.INVALID_INDEXES)
        facts.lines["indexes"] = tuple(f"{row['schema']}.{row['name']} on {row['on_table']}" for row in rows)
        members: dict[str, set[str]] = {}
        for row in await _asked(conn, facts, "members", sql.MEMBERS):
            members.setdefault(row["publication"], set()).add(row["table"])
        facts.members = {name: frozenset(tables) for name, tables in members.items()}
        await _sequences(conn, facts)
        await _functions(conn, facts)
    return facts


async def _asked(
    conn: Connection, facts: LiveFacts, question: str, query: str, *values: object
) -> list[asyncpg.Record]:
    """The rows, or none and the reason in `absent`."""
    try:
        async with conn.transaction():
            return await conn.fetch(query, *values, timeout=_DEADLINE_S)
    except (asyncpg.PostgresError, TimeoutError) as error:
        facts.absent[question] = f"could not be asked: {str(error) or 'no answer within its deadline'}"
        return []


async def _functions(conn: Connection, facts: LiveFacts) -> None:
    fired = ((row["name"], unqualified(row["text"])) for row in await _asked(conn, facts, "auth", sql.AUTH_TRIGGERS))
    facts.lines["auth"] = tuple(
        f"{name} means {', '.join(tables)} without a schema" for name, tables in fired if tables
    )
    oids = [one.oid for one in facts.catalog.routines.values() if one.definer and "anon" in one.executors]
    rows = await _asked(conn, facts, "bodies", sql.DEFINITIONS, oids)
    facts.limited = limited(facts.catalog, {row["oid"]: body(row["text"]) for row in rows})


async def _sequences(conn: Connection, facts: LiveFacts) -> None:
    nearly: list[str] = []
    behind: list[str] = []
    rows = await _asked(conn, facts, "sequences", sql.SEQUENCES)
    if "sequences" in facts.absent:
        facts.absent["highest"] = facts.absent["sequences"]
    for row in rows:
        last, place = (
            row["last_value"],
            f"{row['name']} ({row['table']}.{row['column']})" if row["table"] else row["name"],
        )
        if last is not None and row["grows"] and not row["cycles"] and last >= row["ends"] * _NEARLY:
            nearly.append(f"{place}: {last} of {row['ends']} numbers are used")
        if not (row["table"] and row["indexed"] and row["grows"]):
            continue
        try:
            async with conn.transaction():
                await conn.execute(sql.ALL_ROWS, timeout=_DEADLINE_S)
                query = sql.HIGHEST.format(column=row["column"], table=row["table"])
                highest = await conn.fetchval(query, timeout=_DEADLINE_S)
        except (asyncpg.PostgresError, TimeoutError) as error:
            facts.absent["highest"] = f"{row['table']} could not be read: {str(error) or 'no answer in time'}"
            continue
        if highest is not None and highest > (last or 0):
            behind.append(f"{place}: the next number is {(last or 0) + 1}, {highest} is taken")
    facts.lines["overflow"], facts.lines["behind"] = tuple(nearly), tuple(behind)
    if behind:
        # What was seen is a finding, whatever else could not be read.
        facts.absent.pop("highest", None)


async def _read_as_roles(conn: Connection, facts: LiveFacts) -> None:
    roles = await conn.fetch(sql.CHECK_ROLES, list(CLIENT_ROLES), timeout=_DEADLINE_S)
    may = {row["name"]: row["may"] for row in roles}
    sessions = [session for session in SESSIONS if may.get(session.role)]
    if not sessions:
        lacking = "there is no role anon or authenticated" if not may else "the login may not become one of them"
        facts.absent["roles"] = f"nothing was read as a client: {lacking}"
        return
    tables = [one for one in facts.catalog.judged() if one.is_table and one.row_security and one.policies]
    cells: dict[tuple[str, str], list[str]] = {}
    matrix = Matrix(facts.catalog, facts.ownership, {}, {}, {}, tuple(sessions))
    for session in sessions:
        asked = [one for one in tables if "SELECT" in one.privileges.get(session.role, ())]
        questions = [{"sql": sql.FIRST_ROWS.format(table=one.quoted)} for one in asked]
        try:
            answers = await _ask_bounded(conn, session, questions)
        except (asyncpg.PostgresError, TimeoutError) as error:
            facts.absent["roles"] = f"reading as {session}: {str(error) or 'no answer in time'}"
            continue
        for table, answer in zip(asked, answers, strict=True):
            trouble = _trouble(matrix, table.name, session, answer)
            if trouble:
                cells.setdefault((table.name, trouble), []).append(str(session))
    facts.raised = tuple(f"{name}: {', '.join(who)} {what}" for (name, what), who in cells.items())


def _trouble(matrix: Matrix, name: str, session: PersonaSession, answer: tuple[str, str]) -> str:
    code, said = answer
    return claims_trouble(matrix, name, session, Cell("error", {}, code, said)) if code else ""


async def _ask_bounded(
    conn: Connection, session: PersonaSession, questions: Sequence[Mapping[str, str]]
) -> list[tuple[str, str]]:
    if not questions:
        return []
    async with conn.transaction(readonly=True):
        await conn.execute(sql.BOUND, timeout=_DEADLINE_S)
        return [(answer.code, answer.said) for answer in await run_as(conn, session, questions)]


# -- judging; pure ------------------------------------------------------------------------------------------------


def _lost_members(facts: LiveFacts) -> list[str]:
    return [
        f"{table} is not in {publication} any more"
        for publication, tables in facts.named.items()
        for table in sorted(tables - facts.members.get(publication, frozenset()))
        if table in facts.catalog.relations
    ]


def _clients(relation: Relation) -> list[str]:
    verbs = ("SELECT", "INSERT", "UPDATE", "DELETE")
    return [role for role in CLIENT_ROLES if any(relation.may(role, verb) for verb in verbs)]


def _open_tables(facts: LiveFacts) -> list[str]:
    return [
        f"{one.name}: row level security is off, {' and '.join(clients)} hold privileges"
        for one in facts.catalog.judged()
        if one.is_table and not one.row_security and (clients := _clients(one))
    ]


def _anon_writes(facts: LiveFacts) -> list[str]:
    """Who names anon for an INSERT, or says `anyone`, means it; a policy without a role, or with UPDATE or DELETE
    of any row, forgot."""
    found = []
    for one in facts.catalog.judged():
        for policy in one.policies if one.is_table and one.row_security else ():
            named, everybody = "anon" in policy.roles, "public" in policy.roles
            if not policy.permissive or not (named or everybody):
                continue
            verbs = {"a": ("INSERT",), "w": ("UPDATE",), "d": ("DELETE",), "*": ("INSERT", "UPDATE", "DELETE")}
            for verb in verbs.get(policy.command, ()):
                limits = policy.using if verb == "DELETE" else policy.check or policy.using
                meant = verb == "INSERT" and (named or says_anybody(policy.name))
                if limits not in _ALWAYS or not one.may("anon", verb) or meant:
                    continue
                found.append(f"{one.name}: anon may {verb.lower()} any row by policy {policy.name}")
    return found


def _bypassing_views(facts: LiveFacts) -> list[str]:
    found = []
    for view in facts.catalog.judged():
        readers = [role for role in CLIENT_ROLES if view.may(role, "SELECT")]
        if view.is_table or view.invoker or not readers:
            continue
        hidden = [
            name
            for name in view.reads
            if (table := facts.catalog.relations[name]).row_security
            and not any(p.permissive and "public" in p.roles and p.using == "true" for p in table.policies)
            and (view.kind == "m" or view.owner_bypasses or (view.owner == table.owner and not table.forced))
        ]
        if hidden:
            why = "materialized" if view.kind == "m" else "without security_invoker"
            found.append(f"{view.name} ({why}): shows {' and '.join(readers)} rows of {', '.join(hidden)}")
    return found


def _unpinned(facts: LiveFacts) -> list[str]:
    """Only who can create an object in a schema of the path decides what a name means there."""
    if not (open_schemas := facts.catalog.creatable):
        return []
    found = []
    for one in facts.catalog.routines.values():
        if not one.definer or one.pinned:
            continue
        clients = sorted(one.executors & {*CLIENT_ROLES})
        if not one.callable:
            found.append(
                f"{one.name}: a trigger function with the rights of {one.owner}, by the search_path of who fires it"
            )
        elif clients:
            found.append(f"{one.name}: {' and '.join(clients)} may execute it with the rights of {one.owner}")
    return [f"{line}; {', '.join(open_schemas)}" for line in found]


def _missed_in_auth(facts: LiveFacts) -> list[str]:
    return [
        f"{line}: its search_path is that of supabase_auth_admin, which is auth alone"
        for line in facts.lines.get("auth", ())
    ]


def _for_anybody(facts: LiveFacts) -> list[str]:
    """A helper of policies has to be executable by whoever they apply to; others should ask who calls."""
    policies = " ".join(p.using + " " + p.check for one in facts.catalog.relations.values() for p in one.policies)
    return [
        f"{one.name}: anon may execute it with the rights of {one.owner}, and it does not ask who calls"
        for one in facts.catalog.routines.values()
        if one.definer
        and one.callable
        and "anon" in one.executors
        and not one.asks_caller
        and one.name not in facts.limited
        and not re.search(rf"\b{re.escape(one.bare.partition('.')[2])}\(", policies)
    ]


def _history(facts: LiveFacts) -> list[str]:
    return [
        f"{one.version} {one.name}: {one.state.replace('_', ' ')}{f': {one.detail}' if one.detail else ''}"
        for one in facts.versions
        if one.state in {"edited", "gap", "missing_locally", "interrupted"}
    ]


def _said(question: str) -> Callable[[LiveFacts], Sequence[str]]:
    return lambda facts: facts.lines.get(question, ())


CHECKS: tuple[LiveCheck, ...] = (
    LiveCheck("LIVE-1", "Folder and history agree", "toolkit migrate status says what to do about each.", _history),
    LiveCheck(
        "LIVE-2",
        "Every index is valid",
        "drop index concurrently <index>; then build it again. It costs every write and serves no read.",
        _said("indexes"),
        ("indexes",),
    ),
    LiveCheck(
        "LIVE-3",
        "Every constraint is validated, but for those that the files leave to new rows",
        "alter table <table> validate constraint <constraint>; rows that break it have to be put right first.",
        _said("constraints"),
        ("constraints",),
    ),
    LiveCheck(
        "LIVE-4",
        "Every trigger fires",
        "alter table <table> enable trigger <trigger>; what changed meanwhile it missed.",
        _said("triggers"),
        ("triggers",),
    ),
    LiveCheck(
        "LIVE-5",
        "Every published table has a usable replica identity",
        "Give the table a primary key, or alter table <table> replica identity full. Without one its updates and "
        "deletes fail.",
        _said("identities"),
        ("identities",),
    ),
    LiveCheck(
        "LIVE-6",
        "The publications hold every table that the applied files put into them",
        "alter publication <publication> add table <table>; subscribers have to join again.",
        _lost_members,
        ("members",),
    ),
    LiveCheck(
        "LIVE-7",
        "Row level security is on wherever clients hold privileges",
        "alter table <table> enable row level security; with it, policies for those who may read.",
        _open_tables,
    ),
    LiveCheck(
        "LIVE-8",
        "anon writes nothing that nobody meant it to write",
        "Name the roles in the policy (TO authenticated) and compare the owner in WITH CHECK.",
        _anon_writes,
    ),
    LiveCheck(
        "LIVE-9",
        "No view shows clients what row level security hides",
        "alter view <view> set (security_invoker = true); revoke a materialized view from anon and authenticated.",
        _bypassing_views,
    ),
    LiveCheck(
        "LIVE-10",
        "No client decides what a name means to a function with its owner's rights",
        "alter function <function> set search_path = '', with qualified names in its body; and revoke create on schema "
        "<schema> from anon, authenticated, public.",
        _unpinned,
    ),
    LiveCheck(
        "LIVE-11",
        "Functions with their owner's rights are closed to anon, or limit what a call gives",
        "revoke execute on function <function> from public, anon.",
        _for_anybody,
        ("bodies",),
    ),
    LiveCheck(
        "LIVE-12",
        "No claims make a policy fail",
        "Read the subject as nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub' and compare it "
        "as text; look memberships up in a SECURITY DEFINER function.",
        lambda facts: facts.raised,
        ("roles",),
    ),
    LiveCheck(
        "LIVE-13",
        "No sequence nears its end",
        "alter table <table> alter column <column> type bigint (it rewrites the table), and alter sequence <sequence> "
        "as bigint.",
        _said("overflow"),
        ("sequences",),
    ),
    LiveCheck(
        "LIVE-14",
        "No sequence is behind the rows it numbers",
        "select setval('<sequence>', (select max(<column>) from <table>)); the next inserts collide otherwise.",
        _said("behind"),
        ("highest",),
    ),
    LiveCheck(
        "LIVE-15",
        "Functions that Supabase Auth fires find their tables",
        "alter function <function> set search_path = '', with qualified names in its body: every sign-up fails with "
        "42P01 otherwise.",
        _missed_in_auth,
        ("auth",),
    ),
)
