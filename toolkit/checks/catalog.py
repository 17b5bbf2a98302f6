"""Checks of migrations, publication, row security, grants, triggers and functions."""

from __future__ import annotations

from toolkit.checks.absent import known
from toolkit.checks.facts import Facts, Schema
from toolkit.checks.named_check import check, failed, none_of, passed, unknown
from toolkit.report.record import Check

SCHEMA = "Schema"
STATE, EVENTS, TASKS = "generated_articles_state", "process_events", "background_tasks"
COUNTERS, DEPENDENCIES = "process_event_counters", "task_dependencies"
TABLES = (STATE, EVENTS, TASKS, COUNTERS, DEPENDENCIES)
PUBLISHED = (STATE, EVENTS, TASKS)
PUBLICATION = "supabase_realtime"
TRIGGERS = (
    (STATE, "trigger_publish_process_event"),
    (STATE, "trigger_set_realtime_channel"),
    (EVENTS, "trigger_guard_process_event"),
    (TASKS, "trigger_update_task_status"),
    (TASKS, "trigger_notify_background_task"),
)
# Functions that the server calls as service_role, and that clients must not call.
SERVER_FUNCTIONS = (
    "create_process_event",
    "acknowledge_process_event",
    "cleanup_old_events",
    "enqueue_background_task",
    "claim_background_task",
    "heartbeat_background_tasks",
    "complete_background_task",
    "fail_background_task",
    "release_background_task",
    "rescue_background_tasks",
    "checkpoint_task_step",
    "finish_task_step",
    "mark_process_waiting_for_input",
    "resolve_user_input",
)
# Functions that only those above call: no role needs to execute them directly.
INNER_FUNCTIONS = ("append_process_event", "append_process_events")
CLIENTS = ("anon", "authenticated")
_SERVERS_OWN = (EVENTS, TASKS, COUNTERS, DEPENDENCIES)
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE"})


def _of_all(schema: Schema, tables: tuple[str, ...], problems: list[str], wrong: str, fine: str) -> Check:
    """Like none_of, but unknown when a table is missing."""
    missing = [f"public.{name}" for name in tables if name not in schema.tables]
    if missing and not problems:
        raise unknown(f"missing: {', '.join(missing)}", "See SCH-1.")
    return none_of(problems, wrong, fine)


@check("MIG-1", "Every migration is applied", group=SCHEMA, remedy="toolkit migrate plan, then toolkit migrate up.")
def migrations_applied(facts: Facts) -> Check:
    states = known(facts.migrations).states
    open_ = [f"{version}: {state}" for version, state in states.items() if state in {"pending", "interrupted"}]
    return none_of(open_, f"{len(open_)} of {len(states)} are not applied", f"{len(states)} applied")


@check(
    "MIG-2",
    "No applied migration was edited, lost or skipped, and no index is a wreck",
    group=SCHEMA,
    remedy="toolkit migrate status says what to do about each.",
)
def migrations_unedited(facts: Facts) -> Check:
    found = known(facts.migrations)
    odd = [f"{v}: {s}" for v, s in found.states.items() if s in {"edited", "gap", "missing_locally", "refused"}]
    odd += [f"invalid index {name}" for name in found.invalid_indexes]
    return none_of(odd, "files and database disagree", "files and database agree")


@check("SCH-1", "The tables exist", group=SCHEMA, remedy="toolkit migrate up, then toolkit migrate verify.")
def tables_exist(facts: Facts) -> Check:
    there = known(facts.schema).tables
    return none_of([f"public.{t} is missing" for t in TABLES if t not in there], "tables are missing", "all there")


@check(
    "PUB-1",
    "The publication of Realtime exists and publishes inserts, updates and deletes",
    group=SCHEMA,
    remedy=f"create publication {PUBLICATION}; or alter publication {PUBLICATION} set (publish = "
    "'insert, update, delete, truncate').",
)
def publication_exists(facts: Facts) -> Check:
    publication = known(facts.schema).publication
    if publication is None:
        return failed(f"there is no publication {PUBLICATION}")
    lacking = sorted({"insert", "update", "delete"} - publication.operations)
    return none_of([f"{what}s are not published" for what in lacking], "changes never reach clients", "all published")


@check(
    "PUB-2",
    "The tables that clients subscribe to are in the publication",
    group=SCHEMA,
    remedy=f"alter publication {PUBLICATION} add table public.<table>; then let clients join again.",
)
def tables_published(facts: Facts) -> Check:
    publication = known(facts.schema).publication
    if publication is None:
        return failed(f"there is no publication {PUBLICATION}")
    if publication.all_tables:
        return passed(
            "every table",
            warning=f"{PUBLICATION} is FOR ALL TABLES: every write of every table goes "
            "through Realtime, and tables added later are published unasked",
        )
    missing = [f"public.{table}" for table in PUBLISHED if table not in publication.tables]
    return none_of(missing, "subscriptions succeed and stay silent", f"{len(PUBLISHED)} tables")


@check(
    "PUB-3",
    "Every published table has a usable replica identity",
    group=SCHEMA,
    remedy="alter table public.<table> replica identity default; it needs a primary key. Without one, updates and "
    "deletes of a published table fail.",
)
def replica_identity(facts: Facts) -> Check:
    schema = known(facts.schema)
    bad = [
        f"public.{name}: {table.identity_trouble}"
        for name, table in schema.tables.items()
        if name in PUBLISHED and table.identity_trouble
    ]
    return _of_all(schema, PUBLISHED, bad, "updates and deletes fail", "as it should be")


@check(
    "RLS-1",
    "Row level security is on",
    group=SCHEMA,
    remedy="alter table public.<table> enable row level security; everybody with the anon key can read it now.",
)
def row_security_on(facts: Facts) -> Check:
    schema = known(facts.schema)
    off = [f"public.{name}" for name, table in schema.tables.items() if not table.row_security]
    return _of_all(schema, TABLES, off, "row level security is off", "on everywhere")


@check(
    "RLS-2",
    "A policy lets signed-in users read what is theirs",
    group=SCHEMA,
    remedy="Create a SELECT policy for authenticated (see the migration's section 6). With row security on and no "
    "policy, Realtime delivers nothing and says nothing.",
)
def read_policies(facts: Facts) -> Check:
    tables = known(facts.schema).tables
    bad = [
        f"public.{name}: no SELECT policy for authenticated"
        for name in PUBLISHED
        if name in tables and tables[name].row_security and not tables[name].readers & {"authenticated", "public"}
    ]
    return _of_all(known(facts.schema), PUBLISHED, bad, "rows are hidden from their owners", "there")


@check(
    "GRT-1",
    "Signed-in users and the server's role may select",
    group=SCHEMA,
    remedy="grant select on public.<table> to authenticated, service_role. Without the grant a subscription is "
    "refused, or only DELETE arrives.",
)
def readers_granted(facts: Facts) -> Check:
    tables = known(facts.schema).tables
    bad = [
        f"{role} may not select public.{name}"
        for name in PUBLISHED
        if name in tables
        for role in ("authenticated", "service_role")
        if "SELECT" not in tables[name].grants.get(role, frozenset())
    ]
    return _of_all(known(facts.schema), PUBLISHED, bad, "grants are missing", "granted")


@check(
    "GRT-2",
    "Clients cannot write events, tasks or counters, and anon cannot read them",
    group=SCHEMA,
    remedy="revoke insert, update, delete on public.<table> from anon, authenticated; revoke select on "
    "public.<table> from anon. A table created on Supabase is granted to everybody at first.",
)
def clients_cannot_write(facts: Facts) -> Check:
    tables = known(facts.schema).tables
    bad = []
    for name in _SERVERS_OWN:
        if name in tables:
            for role in CLIENTS:
                held = tables[name].grants.get(role, frozenset()) & (
                    _WRITES | ({"SELECT"} if role == "anon" else set())
                )
                if held:
                    bad.append(f"{role} may {', '.join(sorted(held)).lower()} public.{name}")
    return _of_all(known(facts.schema), _SERVERS_OWN, bad, "clients hold privileges of the server", "they cannot")


@check(
    "TRG-1",
    "The triggers are there and enabled",
    group=SCHEMA,
    remedy="alter table public.<table> enable trigger <trigger>; or toolkit migrate verify when it is missing. What "
    "changed meanwhile is in no event.",
)
def triggers_enabled(facts: Facts) -> Check:
    triggers = known(facts.schema).triggers
    bad = [
        f"{name} on public.{table} is {why}"
        for table, name in TRIGGERS
        if (why := triggers.get((table, name), "missing"))
    ]
    return none_of(bad, "changes leave no events, or workers are not woken", f"{len(TRIGGERS)} enabled")


@check(
    "FUN-1",
    "The functions are there and the server may call them",
    group=SCHEMA,
    remedy="toolkit migrate verify; grant execute on function public.<function> to service_role.",
)
def functions_there(facts: Facts) -> Check:
    functions = known(facts.schema).functions
    bad = [f"public.{name} is missing" for name in (*SERVER_FUNCTIONS, *INNER_FUNCTIONS) if name not in functions]
    bad += [
        f"service_role may not execute public.{name}"
        for name in SERVER_FUNCTIONS
        if name in functions and "service_role" not in functions[name].executors
    ]
    return none_of(bad, "the server cannot do its work", f"{len(SERVER_FUNCTIONS)} functions")


@check(
    "FUN-2",
    "Clients cannot call the server's functions",
    group=SCHEMA,
    remedy="revoke execute on function public.<function> from public, anon, authenticated. They run with their "
    "owner's rights.",
)
def functions_closed(facts: Facts) -> Check:
    functions = known(facts.schema).functions
    bad = [
        f"{role} may execute public.{name}"
        for name in (*SERVER_FUNCTIONS, *INNER_FUNCTIONS)
        for role in CLIENTS
        if name in functions and role in functions[name].executors
    ]
    missing = [name for name in (*SERVER_FUNCTIONS, *INNER_FUNCTIONS) if name not in functions]
    if missing and not bad:
        raise unknown(f"missing: {', '.join(missing)}", "See FUN-1.")
    return none_of(bad, "anybody with the anon key can forge events or tasks", "they cannot")
