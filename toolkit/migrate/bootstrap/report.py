"""What a plain Postgres lacks and was given, as reports. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from toolkit.migrate.bootstrap.needs import Missing
from toolkit.migrate.bootstrap.parts import Part
from toolkit.migrate.bootstrap.run import Found, Server
from toolkit.report.frame import Frame
from toolkit.report.record import Check, Report, Table, Verdict, worst

_PREPARED = (
    "On a plain Postgres `toolkit bootstrap` makes it; see first what it would do: `toolkit bootstrap --dry-run`."
)
_SUPABASE = (
    "It is a part of Supabase that `toolkit bootstrap` does not make: make it in a migration before this one, or take "
    "out what names it."
)


def of_plan(frame: Frame, found: Found) -> Report:
    """What would be made. Only what the server's administrator has to change fails."""
    missing = [
        Check(part.id, part.title, Verdict.PASS, f"not yet: {_first_line(part.statement)}") for part in found.missing
    ]
    rows = tuple((str(number), part.statement) for number, part in enumerate(found.missing, start=1))
    tables = (Table("To run, in one transaction", ("", "statement"), rows),) if rows else ()
    title = f"Would make {len(rows)} of {len(rows) + len(found.there)}" if rows else "Nothing to do"
    return replace(_report(frame, title, [*missing, *_there(found.there)], found.server), tables=tables)


def of_prepared(frame: Frame, before: Found, after: Found) -> Report:
    """What was made, and what is there now."""
    failed = [Check(part.id, part.title, Verdict.FAIL, "still missing") for part in after.missing]
    made = len(before.missing) - len(after.missing)
    return _report(frame, f"{made} made" if made else "Nothing to do", [*failed, *_there(after.there)], after.server)


def checks_of(missing: tuple[Missing, ...]) -> tuple[Check, ...]:
    """What files name and the database lacks, as failures of a plan."""
    return tuple(
        Check(
            f"missing-{one.what.replace(' ', '-')}",
            f"The database has {one.what}",
            Verdict.FAIL,
            f"{one.where} names it",
            _PREPARED if one.made else _SUPABASE,
        )
        for one in missing
    )


def as_dict(before: Found, after: Found | None = None) -> dict[str, Any]:
    """For JSON: the statements that were missing, and whether they were run."""
    return {"missing": {part.id: part.statement for part in before.missing}, "applied": after is not None}


def _report(frame: Frame, title: str, checks: list[Check], server: Server) -> Report:
    every = [*checks, *_of_server(server)]
    return frame.report(title, worst(check.verdict for check in every), every)


def _there(found: tuple[Part, ...]) -> list[Check]:
    return [Check(part.id, part.title, Verdict.PASS) for part in found]


def _of_server(server: Server) -> list[Check]:
    return [
        _check(
            "wal-level",
            "The write-ahead log can be decoded",
            server.wal_level == "logical",
            f"wal_level is {server.wal_level}",
            "As a superuser: ALTER SYSTEM SET wal_level = 'logical'; then restart the server. Migrations do without; "
            "Realtime does not.",
        ),
        _check(
            "replication",
            "Who connects may read the write-ahead log",
            server.may_replicate,
            "the role has no REPLICATION",
            "As a superuser: ALTER ROLE … REPLICATION, for the role with which the Realtime endpoint connects.",
        ),
        _check(
            "slots",
            "A replication slot is free",
            server.free_slots > 0,
            "every one is taken",
            "Drop a slot that nobody reads (pg_replication_slots), or raise max_replication_slots and restart.",
        ),
    ]


def _check(id: str, title: str, fine: bool, otherwise: str, remedy: str) -> Check:
    return Check(id, title, Verdict.PASS) if fine else Check(id, title, Verdict.FAIL, otherwise, remedy)


def _first_line(statement: str) -> str:
    return statement.strip().splitlines()[0]
