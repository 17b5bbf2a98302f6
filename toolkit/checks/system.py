"""Checks of settings, keys, the Postgres server, the connection to it, and clocks."""

from __future__ import annotations

from toolkit.checks.absent import known
from toolkit.checks.facts import Clock, Facts, Key
from toolkit.checks.named_check import check, failed, none_of, passed, unknown
from toolkit.report.record import Check

SETTINGS, DATABASE = "Settings", "Database"
OLDEST_VERSION = 150000  # the oldest Postgres for which this project is tested
MOST_SKEW_S = 5.0
# An abandoned slot keeps WAL until the disk is full.
MOST_RETAINED_BYTES = 1024**3
_MIB = 1024**2


@check("SET-1", "Everything needed to look at the system is set", group=SETTINGS, remedy="Set what is missing.")
def settings_complete(facts: Facts) -> Check:
    missing = known(facts.settings).missing
    if missing:
        where = "; ".join(f"{name}: {how}" for name, how in missing.items())
        raise unknown(f"not set: {', '.join(missing)}", f"Set it in the environment or in toolkit.toml. {where}")
    return passed("every address and key is set")


@check(
    "SET-2",
    "The anon key belongs to this project's JWT secret",
    group=SETTINGS,
    remedy="Copy SUPABASE_ANON_KEY and SUPABASE_JWT_SECRET again, both from the same project.",
)
def anon_key(facts: Facts) -> Check:
    return _key(known(facts.anon_key), "anon", facts.now)


@check(
    "SET-3",
    "The service_role key belongs to this project's JWT secret",
    group=SETTINGS,
    remedy="Copy SUPABASE_SERVICE_ROLE_KEY and SUPABASE_JWT_SECRET again, both from the same project.",
)
def service_key(facts: Facts) -> Check:
    return _key(known(facts.service_key), "service_role", facts.now)


def _key(key: Key, role: str, now: float) -> Check:
    if key.role != role:
        return failed(f"its role is {key.role}, not {role}")
    if key.expires_at is not None and key.expires_at <= now:
        return failed(f"it expired {(now - key.expires_at) / 86400:.1f} days ago")
    if not known(key.signed):
        return failed("the JWT secret did not sign it: tokens made with that secret are refused where this key is not")
    return passed("signed with the JWT secret")


@check(
    "DB-1", "The database answers and its version is known to work", group=DATABASE, remedy="Use Postgres 15 or later."
)
def database_answers(facts: Facts) -> Check:
    version = known(facts.server).version
    text = f"Postgres {version // 10000}.{version % 10000}"
    return passed(text) if version >= OLDEST_VERSION else failed(text)


@check(
    "DB-2",
    "The write-ahead log carries what Realtime reads",
    group=DATABASE,
    remedy="Set wal_level = logical and restart Postgres (a Supabase project has it so); add pgoutput to "
    "output_plugin_libraries and reload its configuration.",
)
def wal_is_logical(facts: Facts) -> Check:
    server = known(facts.server)
    if server.wal_level != "logical":
        return failed(f"wal_level is {server.wal_level}")
    allowed = server.output_plugins
    if allowed is not None and "pgoutput" not in {name.strip() for name in allowed.split(",")}:
        return failed(f"Realtime reads by pgoutput, and output_plugin_libraries names {allowed or 'nothing'}")
    return passed("wal_level is logical")


@check(
    "DB-3",
    "A replication slot and a WAL sender are free",
    group=DATABASE,
    remedy="Drop slots that nobody uses (select pg_drop_replication_slot('…')), or raise max_replication_slots and "
    "max_wal_senders.",
)
def replication_has_room(facts: Facts) -> Check:
    server = known(facts.server)
    seen = f"slots {server.slots_used} of {server.slots_max}, senders {server.senders_used} of {server.senders_max}"
    full = server.slots_used >= server.slots_max or server.senders_used >= server.senders_max
    return failed(f"{seen}: a restarted Realtime finds none") if full else passed(seen)


@check(
    "DB-4",
    "No replication slot keeps write-ahead log for nobody",
    group=DATABASE,
    remedy="Find out whose it is; when nobody's: select pg_drop_replication_slot('<name>').",
)
def no_abandoned_slot(facts: Facts) -> Check:
    slots = known(facts.slots)
    bad = [
        f"{slot.name}: {'active' if slot.active else 'inactive'}, keeps {slot.retained_bytes / _MIB:.0f} MiB, "
        f"WAL is {slot.wal_status or 'unknown'}"
        for slot in slots
        if slot.wal_status in {"lost", "unreserved"} or (not slot.active and slot.retained_bytes > MOST_RETAINED_BYTES)
    ]
    idle = [slot.name for slot in slots if not slot.active and not slot.temporary]
    if bad:
        return failed("WAL piles up behind a slot, or a slot has lost its WAL", bad)
    return passed(f"{len(slots)} slots", warning=f"inactive slots: {', '.join(idle)}" if idle else "")


@check(
    "DB-5",
    "DATABASE_URL gives a session, not a transaction pooler",
    group=DATABASE,
    remedy="Use the direct connection or the session pooler (port 5432): migrations and Realtime need a session. "
    "API and workers go on through a transaction pooler; workers poll for tasks there.",
)
def session_is_stable(facts: Facts) -> Check:
    session = known(facts.session)
    if not session.one_backend:
        return failed(f"port {session.port} is a transaction pooler: transactions run in different sessions")
    if not session.notified:
        return failed("LISTEN was accepted and a NOTIFY of our own never arrived")
    return passed("one server process, and notifications arrive")


@check(
    "DB-6",
    "The role of DATABASE_URL sees every row",
    group=DATABASE,
    remedy="Connect as the owner of the tables, or as a role with BYPASSRLS (postgres on Supabase): a worker that "
    "row security hides tasks from waits for ever.",
)
def role_sees_rows(facts: Facts) -> Check:
    session = known(facts.session)
    if known(session.sees_all_rows):
        return passed(f"role {session.role}")
    return failed(f"row security applies to role {session.role}")


@check(
    "DB-7",
    "Connections are left",
    group=DATABASE,
    remedy="Close idle programs, use a session pooler, or raise max_connections.",
)
def connections_left(facts: Facts) -> Check:
    server = known(facts.server)
    seen = f"{server.connections_used} of {server.connections_max} connections in use"
    return failed(seen) if server.connections_used > 0.9 * server.connections_max else passed(seen)


@check(
    "CLK-1",
    "The database's clock agrees with ours",
    group=DATABASE,
    remedy="Synchronise the clocks (NTP): tokens are refused as expired or not yet valid.",
)
def database_clock(facts: Facts) -> Check:
    return _clock(known(facts.database_clock), "the database")


@check(
    "CLK-2",
    "The API's clock agrees with ours",
    group=DATABASE,
    remedy="Synchronise the clocks (NTP): tokens are refused as expired or not yet valid.",
)
def api_clock(facts: Facts) -> Check:
    return _clock(known(facts.api.clock), "the API")


def _clock(clock: Clock, whose: str) -> Check:
    seen = f"{whose} is {clock.ahead_s:+.1f} s from us (± {clock.give_or_take_s:.1f} s)"
    problems = [seen] if abs(clock.ahead_s) - clock.give_or_take_s > MOST_SKEW_S else []
    return none_of(problems, f"more than {MOST_SKEW_S:g} s apart", seen)
