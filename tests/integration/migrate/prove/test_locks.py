"""The locks proof: planted stalls are found and named by file and line; careful statements raise nothing.

Plants that do not disturb each other share a run: each has a table of its own, and its statement a line of its own.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.integration.migrate.prove.conftest import SubjectOf, refuted, said
from toolkit.migrate.prove.locks import locks_proof as locks
from toolkit.migrate.prove.locks.statement_locks import works_under_lock
from toolkit.migrate.prove.subject.claims import Claim, Level, Outcome
from toolkit.report.record import Verdict
from toolkit.resources import migrations_dir

ALONE = "-- toolkit: transaction=false\n"
TABLE = "create table public.{0} (id int primary key, note varchar(40), code int check (coalesce(code, 0) <> -1));"
PARENT = TABLE.format("parents")
CHILD = "create table public.{0} (id int primary key, parent int references public.parents (id), note text);"
# Budgets are a third of what the plants hold, so that a slow machine changes nothing.
QUICK: dict[str, object] = {"stall_budget_ms": 250.0, "traffic_s": 0.1}
HELD = "select pg_sleep(0.8);"


def files(up: str, down: str = "select 1;") -> dict[str, str]:
    return {"1_change.sql": up, "rollbacks/1_change.sql": down}


def claim_of(outcome: Outcome, part: str) -> Claim:
    return next(claim for claim in outcome.claims if claim.id == f"locks-1-{part}")


def missing(claim: Claim, words: tuple[str, ...]) -> list[str]:
    text = "\n".join(claim.violations)
    return [word for word in words if word not in text]


# -- work that grows with a table, under a lock that stops somebody: judged by the locks alone, never by time ---------

# Table (and id) → a statement, and what must be said of its line. None: nothing; these are the healthy neighbours.
GROWING: dict[str, tuple[str, str | None]] = {
    "indexed": (
        "create index indexed_note on public.indexed (note);",
        "builds index public.indexed_note on public.indexed under SHARE;",
    ),
    "unique_added": (
        "alter table public.unique_added add unique (code);",
        "builds index public.unique_added_code_key on public.unique_added under ACCESS EXCLUSIVE",
    ),
    "reindexed": ("reindex table public.reindexed;", "rebuilds index public.reindexed_pkey of public.reindexed under"),
    "retyped": (
        "alter table public.retyped alter column code type bigint;",
        "rewrites public.retyped under ACCESS EXCLUSIVE",
    ),
    "volatile": (
        "alter table public.volatile add column extra uuid default gen_random_uuid();",
        "rewrites public.volatile under ACCESS EXCLUSIVE",
    ),
    "stored": (
        "alter table public.stored add column extra int generated always as (id + 1) stored;",
        "rewrites public.stored under ACCESS EXCLUSIVE",
    ),
    "clustered": ("cluster public.clustered using clustered_pkey;", "rewrites public.clustered under ACCESS EXCLUSIVE"),
    "required": (
        "alter table public.required alter column parent set not null;",
        "reads all of public.required under ACCESS EXCLUSIVE",
    ),
    "checked": (
        "alter table public.checked add check (coalesce(note, '') <> '-');",
        "reads all of public.checked under ACCESS EXCLUSIVE",
    ),
    "checked_new": (
        "alter table public.checked_new add column extra int default 5 check (extra > 0);",
        "reads all of public.checked_new under ACCESS EXCLUSIVE",
    ),
    "same_file": (
        "alter table public.same_file add constraint c check (coalesce(note, '') <> '-') not valid; "
        "alter table public.same_file validate constraint c;",
        "reads all of public.same_file under ACCESS EXCLUSIVE",
    ),
    "referring": (
        "alter table public.referring add constraint again foreign key (parent) references public.parents;",
        "reads all of public.referring under SHARE ROW EXCLUSIVE",
    ),
    "referring_by_index": (
        "alter table public.referring_by_index add constraint by_index foreign key (parent) references public.parents;",
        "checks foreign key by_index on every row of public.referring_by_index under SHARE ROW EXCLUSIVE",
    ),
    "backfilled": (
        "alter table public.backfilled add column extra text; update public.backfilled set extra = note;",
        "reads all of public.backfilled under ACCESS EXCLUSIVE",
    ),
    "Quoted, too": (
        'create index on public."Quoted, too" (note);',
        "builds index public.Quoted, too_note_idx on public.Quoted, too under SHARE",
    ),
    # Healthy neighbours.
    "nullable": ("alter table public.nullable add column extra text;", None),
    "constant": ("alter table public.constant add column extra int not null default 5;", None),
    "new_reference": ("alter table public.new_reference add column extra int references public.parents (id);", None),
    "wider": ("alter table public.wider alter column note type text;", None),
    "not_valid": ("alter table public.not_valid add check (coalesce(note, '') <> '-') not valid;", None),
    "reference_not_valid": (
        "alter table public.reference_not_valid add foreign key (parent) references public.parents not valid;",
        None,
    ),
    "validated": ("alter table public.validated validate constraint earlier;", None),
    "known_not_null": ("alter table public.known_not_null alter column note set not null;", None),
    "using_index": ("alter table public.using_index add constraint u unique using index using_index_ready;", None),
    "by_key": (
        "lock table public.by_key in share row exclusive mode; update public.by_key set note = note where id = 1;",
        None,
    ),
    "accepted": ("-- locks: accepted (forty rows for ever)\ncreate index on public.accepted (note);", None),
    "renamed": ("alter table public.renamed rename column note to remark;", None),
    "granted": ("grant select on public.granted to anon; comment on table public.granted is 'x';", None),
    "truncated": ("truncate public.truncated;", None),
    "brand_new": (
        "create table public.made (id int primary key, brand int references public.brand_new, note text);"
        " insert into public.made select g, null, 'x' from generate_series(1, 50) g;"
        " create index on public.made (note); alter table public.made alter column note set not null;",
        None,
    ),
}
CHILDREN = ("required", "referring", "referring_by_index", "reference_not_valid")
PREPARED = (
    PARENT
    + "".join((CHILD if name in CHILDREN else TABLE).format(f'"{name}"') for name in GROWING)
    + """
alter table public.validated add constraint earlier check (coalesce(note, '') <> '-') not valid;
alter table public.known_not_null alter column note set default 'x', add check (note is not null);
create unique index using_index_ready on public.using_index (id);
create index on public.referring_by_index (parent);
insert into public.parents values (1, 'a', 1);
"""
)


async def test_work_that_grows_under_a_lock_is_named_by_its_line_and_nothing_else_is(subject_of: SubjectOf) -> None:
    up = "\n".join(statement for statement, _ in GROWING.values())
    down = "alter table public.retyped alter column code type int;\ntruncate public.truncated;"
    subject = await subject_of(files(up, "-- destroys: rows truncated\n" + down), start=PREPARED, traffic_s=0.1)
    outcome = (await locks.quietly(subject, "1")).outcome()
    # All lines, not only those that a report shows.
    found = await locks.quietly(subject, "1")
    lines = [line for taken in found.inspection.looks[0].statements for line in works_under_lock(taken)]
    unfound = [words for _, words in GROWING.values() if words and not any(words in line for line in lines)]
    assert unfound == [], "\n".join(lines)
    numbers = {words: up[: up.index(statement)].count("\n") + 1 for statement, words in GROWING.values() if words}
    for words, number in numbers.items():
        assert any(line.startswith(f"1_change.sql:{number}: ") and words in line for line in lines), (number, words)
    assert len(lines) == len(numbers), "\n".join(lines)
    size = claim_of(outcome, "up-size")
    assert size.verdict is Verdict.FAIL
    assert "CONCURRENTLY" in size.remedy
    assert size.violations == tuple(lines)
    assert (
        missing(claim_of(outcome, "down-size"), ("1_change.sql:2: rewrites public.retyped under ACCESS EXCLUSIVE",))
        == []
    )


# -- stalls: seen by pg_blocking_pids, held three times as long as the budget -----------------------------------------

STALLING = {
    "altered": ("alter table public.altered add column extra text;", "ACCESS EXCLUSIVE on public.altered", "reader"),
    "locked": ("lock table public.locked;", "ACCESS EXCLUSIVE on public.locked", "reader"),
    "half_locked": (
        "lock table public.half_locked in share row exclusive mode;",
        "SHARE ROW EXCLUSIVE on public.half_locked",
        "writer",
    ),
    "guarded": ("create policy p on public.guarded using (true);", "ACCESS EXCLUSIVE on public.guarded", "reader"),
    "rows_held": ("update public.rows_held set note = 'x';", "rows of public.rows_held", "writer"),
}


async def test_stalls_are_named_with_their_statement_lock_and_relation(subject_of: SubjectOf) -> None:
    up = "\n".join(statement for statement, *_ in STALLING.values()) + "\n" + HELD
    down = (
        "-- destroys: columns altered (extra)\n-- destroys: rows rows_held\n"
        "alter table public.altered drop column extra;\ndrop policy p on public.guarded;\n" + HELD
    )
    start = "".join(TABLE.format(name) for name in ("free", *STALLING))
    outcome = await locks.run(await subject_of(files(up, down), start=start, **QUICK), "1")
    stall = claim_of(outcome, "up-stall")
    for number, (table, (statement, lock, role)) in enumerate(STALLING.items(), start=1):
        words = f"1_change.sql:{number} ({statement[:-1]}), {lock}: a {role} of public.{table} waited "
        line = next((line for line in stall.violations if words in line), "")
        assert line, (words, stall.violations)
        assert "; meanwhile 1_change.sql:6 ran (select pg_sleep(0.8))" in line
        assert line.endswith("the budget is 250 ms")
        waited = re.search(r"waited (\d+) ms", line)
        assert waited is not None
        assert int(waited[1]) > 250
    assert not any("public.free" in line or "reader of public.half_locked" in line for line in stall.violations)
    assert stall.level is Level.SAMPLED
    assert (
        missing(
            claim_of(outcome, "down-stall"),
            (
                "1_change.sql:4 (drop policy p on public.guarded), ACCESS EXCLUSIVE on public.guarded",
                "the runner's export of what the file declares that it destroys), ACCESS EXCLUSIVE on public.",
                "meanwhile 1_change.sql:5 ran",
            ),
        )
        == []
    )
    # What is over the budget already is not tried behind a transaction, and that is said.
    assert claim_of(outcome, "up-ahead").level is Level.NOT_CHECKED
    assert_shown(outcome)


def assert_shown(outcome: Outcome) -> None:
    """Figures, tables and the timeline of the same run."""
    figures = {one.name: one.value for one in outcome.measurements}
    assert figures["up, reader worst"] > 250
    assert figures["up, reader p50"] <= figures["up, reader p99"] <= figures["up, reader worst"]
    waited = next(table for table in outcome.tables if table.title.endswith("who waited for whom"))
    assert any(row[2] == "ACCESS SHARE on public.locked" and row[3] == "the migration" for row in waited.rows)
    taken = next(table for table in outcome.tables if table.title.endswith("locks by statement"))
    held = {row[1]: float(row[6]) for row in taken.rows if row[0] == "up"}
    assert held["1_change.sql:2"] > 800
    (timeline,) = outcome.timelines
    assert [lane.name for lane in timeline.lanes] == ["statements", "readers refused", "writers refused"]
    assert any(band.tone == "bad" and band.end - band.start > 0.25 for band in timeline.bands)
    assert max(value for curve in timeline.curves for _, value in curve.points) > 250


async def test_locks_taken_against_the_traffics_order_are_a_deadlock(subject_of: SubjectOf) -> None:
    """An insert locks the child and then looks at its parent; the file does it the other way round."""
    up = (
        "alter table public.parents enable row level security;\nselect pg_sleep(0.4);\n"
        "alter table public.children enable row level security;"
    )
    start = PARENT + CHILD.format("children").replace("parent int", "parent int not null")
    changes = files(up, "alter table public.children disable row level security;")
    subject = await subject_of(changes, start=start, stall_budget_ms=5000.0, traffic_s=0.1)
    options = subject.states.options
    subject.states.options = replace(options, locks=replace(options.locks, deadline_s=1.0))
    outcome = await locks.run(subject, "1")
    stall = claim_of(outcome, "up-stall")
    words = ("under traffic it did not get through", "a deadlock: the migration waits for a writer of public.children")
    assert missing(stall, words) == [], said(outcome)
    assert claim_of(outcome, "down-stall").level is Level.NOT_CHECKED


async def test_a_statement_without_lock_timeout_makes_others_queue_behind_a_long_transaction(
    subject_of: SubjectOf,
) -> None:
    changes = {"1_change.sql": ALONE + "vacuum full public.parents;", "rollbacks/1_change.sql": "select 1;"}
    outcome = await locks.run(await subject_of(changes, start=PARENT, **QUICK), "1")
    size = claim_of(outcome, "up-size")
    assert (
        missing(size, ("1_change.sql:2: rewrites public.parents under ACCESS EXCLUSIVE", "readers and writers")) == []
    )
    assert size.level is Level.SAMPLED
    assert claim_of(outcome, "up-stall").violations == ()
    words = ("a reader of public.parents waited", "with a transaction open on public.parents for 0.8 s")
    assert missing(claim_of(outcome, "up-ahead"), words) == [], said(outcome)
    assert any("waits for the migration waits for the transaction that is open" in note for note in outcome.notes)


async def test_a_state_between_two_statements_that_old_clients_cannot_bear_is_seen(subject_of: SubjectOf) -> None:
    there_and_back = (
        ALONE + "alter table public.parents rename column note to remark;\nselect pg_sleep(0.4);\n"
        "alter table public.parents rename column remark to note;"
    )
    changes = {"1_change.sql": there_and_back, "rollbacks/1_change.sql": "select 1;"}
    outcome = await locks.run(await subject_of(changes, start=PARENT, stall_budget_ms=300.0, traffic_s=0.1), "1")
    words = ("while it ran, select on public.parents failed for a reader", 'column "note" does not exist [42703]')
    assert missing(claim_of(outcome, "up-stall"), words) == [], said(outcome)
    assert claim_of(outcome, "up-old").violations == ()
    errors = next(table for table in outcome.tables if table.title.endswith("errors of the traffic"))
    assert any(row[:3] == ("during up", "42703", "reader") for row in errors.rows)


# -- old clients: each statement once, quietly ------------------------------------------------------------------------

FAILING = "create function public.{0}_f() returns trigger language plpgsql as $$ begin {1} end $$;"
BREAKING: dict[str, tuple[str, tuple[str, ...]]] = {
    "renamed": (
        "alter table public.renamed rename column note to remark;",
        (
            'select on public.renamed as before fails: column "note" does not exist [42703]',
            "insert on public.renamed",
            "update on public.renamed",
        ),
    ),
    "dropped": (
        "alter table public.dropped drop column code;",
        ('insert on public.dropped as before fails: column "code" of relation "dropped" does not exist',),
    ),
    "moved": ("alter table public.moved rename to elsewhere;", ('relation "public.moved" does not exist [42P01]',)),
    "demanding": (
        "alter table public.demanding add column extra text; update public.demanding set extra = 'x';"
        " alter table public.demanding alter column extra set not null;",
        ('insert on public.demanding as before fails: null value in column "extra"', "[23502]"),
    ),
    "narrowed": (
        "alter table public.narrowed alter column note type char(1) using left(note, 1);",
        ("insert on public.narrowed as before fails: value too long for type character(1) [22001]",),
    ),
    "triggered": (
        FAILING.format("triggered", "new.gone := 1; return new;")
        + " create trigger t before insert on public.triggered for each row"
        " execute function public.triggered_f();",
        ("insert on public.triggered as before fails", "[42703]"),
    ),
    "deferred": (
        FAILING.format("deferred", "perform gone(); return null;")
        + " create constraint trigger t after update on public.deferred deferrable initially deferred"
        " for each row execute function public.deferred_f();",
        ("the commit of writes on public.deferred as before fails", "[42883]"),
    ),
    "undeletable": (
        FAILING.format("undeletable", "raise 'kept for ever'; return old;")
        + " create trigger t before delete on public.undeletable for each row"
        " execute function public.undeletable_f();",
        ("delete on public.undeletable as before fails: kept for ever [P0001]",),
    ),
    "unreplicated": (
        "create publication everything for table public.unreplicated;"
        " alter table public.unreplicated replica identity nothing;",
        ("update on public.unreplicated as before fails", "[55000]"),
    ),
}


async def test_old_statements_that_fail_afterwards_are_told(subject_of: SubjectOf) -> None:
    up = "\n".join(statement for statement, _ in BREAKING.values())
    # The rollback leaves the trigger, and breaks its function in another way.
    down = FAILING.format("triggered", "return gone();").replace("create function", "create or replace function")
    up += "\nalter table public.free add column extra text;"
    start = "".join(TABLE.format(name) for name in ("free", *BREAKING))
    start = start.replace(
        "narrowed (id int primary key, note varchar(40)", "narrowed (id int primary key, note varchar(40) not null"
    )
    subject = await subject_of(files(up, down), start=start, rows_each=3)
    found = await locks.quietly(subject, "1")
    broken = "\n".join(
        f"{refusal.said.verb} on {refusal.said.table}: {refusal.message} [{refusal.sqlstate}]"
        for refusal in found.inspection.looks[0].refused
    )
    texts = [word.replace(" as before fails", "") for _, words in BREAKING.values() for word in words]
    texts = [word.replace("the commit of writes", "commit") for word in texts]
    assert [text for text in texts if text not in broken] == [], broken
    assert "public.free" not in broken
    old = claim_of(found.outcome(), "up-old")
    assert missing(old, (*BREAKING["demanding"][1], *BREAKING["dropped"][1])) == []
    assert "later version" in old.remedy
    assert claim_of(found.outcome(), "down-old").violations[0].startswith("after the rollback, ")
    assert any(refusal.said.table == "public.triggered" for refusal in found.inspection.looks[1].refused)


async def test_a_file_that_fails_on_rows_is_said_to_before_any_traffic(subject_of: SubjectOf) -> None:
    up = "alter table public.parents add column extra text not null;"
    outcome = await locks.run(await subject_of(files(up), start=PARENT, **QUICK), "1")
    words = (
        "on a database with rows and without any traffic it fails",
        'column "extra" of relation "parents" contains',
    )
    assert missing(claim_of(outcome, "up-stall"), words) == []
    assert claim_of(outcome, "down").level is Level.NOT_CHECKED


# -- healthy neighbours ------------------------------------------------------------------------------------------------

CAREFUL = {
    "transaction": files(
        "create table public.log (id int primary key, t text);\ncreate index on public.log (t);\n"
        "grant select on public.log to anon;\ncreate function public.f() returns int language sql as 'select 1';\n"
        "alter table public.parents add column extra text;",
        "-- destroys: table log\n-- destroys: columns parents (extra)\n"
        "drop function public.f();\ndrop table public.log;\nalter table public.parents drop column extra;",
    ),
    "beside-readers-and-writers": {
        "1_change.sql": ALONE + "alter table public.children validate constraint earlier;\n"
        "create index concurrently i on public.children (note);",
        "rollbacks/1_change.sql": ALONE + "drop index concurrently public.i;",
    },
}

COUNTED = {
    "series": "serial",
    "small": "smallserial",
    "given": "bigint generated by default as identity",
    "always": "int generated always as identity",
    "named": "bigint default nextval('public.numbers')",
}


async def test_a_migration_that_lets_a_counter_number_its_rows_meets_no_row_of_the_traffic(
    subject_of: SubjectOf,
) -> None:
    start = "create sequence public.numbers;" + "".join(
        f"create table public.{name} (id {type_} primary key, note text);" for name, type_ in COUNTED.items()
    )
    insert = "".join(f"insert into public.{name} (note) values ('ours'), ('too');\n" for name in COUNTED)
    changes = files(insert + "select pg_sleep(0.1);\n" + insert, "select pg_sleep(0.1);\n" + insert)
    outcome = await locks.run(await subject_of(changes, start=start, **QUICK), "1")
    assert refuted(outcome) == [], said(outcome)
    assert all("was refused" not in note and "takes no synthetic row" not in note for note in outcome.notes)


@pytest.mark.parametrize("changes", CAREFUL.values(), ids=CAREFUL)
async def test_a_careful_file_raises_nothing(changes: dict[str, str], subject_of: SubjectOf) -> None:
    start = PARENT + CHILD.format("children")
    start += "alter table public.children add constraint earlier check (coalesce(note, '') <> '-') not valid;"
    outcome = await locks.run(await subject_of(changes, start=start, traffic_s=0.1), "1")
    assert refuted(outcome) == [], said(outcome)
    assert {claim.id for claim in outcome.claims} == {
        f"locks-1-{direction}-{part}" for direction in ("up", "down") for part in ("size", "stall", "ahead", "old")
    }
    assert all(claim.verdict is Verdict.PASS for claim in outcome.claims)
    requests = int(claim_of(outcome, "up-stall").basis.split()[0])
    assert requests > 0, "a stall claim that rests on no request is none"


async def test_what_cannot_be_looked_at_is_not_claimed(subject_of: SubjectOf) -> None:
    files = {"1_change.sql": "create table public.first (id int primary key);"}
    subject = await subject_of(files, start="create table public.older (id int primary key)")
    found = await locks.quietly(subject, "1")
    assert refuted(found.outcome()) == []
    assert claim_of(found.outcome(), "down").basis == "there is no rollback file"
    assert claim_of(found.outcome(), "up-stall").level is Level.NOT_CHECKED
    # Where no table is older than the file there is nobody to hold up.
    nobody = replace(found, inspection=replace(found.inspection, clients=()))
    assert {(claim.id, claim.level) for claim in nobody.outcome().claims} == {
        ("locks-1-up-size", Level.PROVED),
        ("locks-1-down", Level.NOT_CHECKED),
    }


async def test_a_table_that_takes_no_row_is_only_read_and_named(subject_of: SubjectOf) -> None:
    start = (
        FAILING.format("shut", "raise 'nobody writes here';")
        + TABLE.format("shut")
        + "create trigger t before insert on public.shut for each row execute function public.shut_f();"
    )
    found = await locks.quietly(await subject_of(files("select 1;"), start=start), "1")
    outcome = found.outcome()
    assert "public.shut only read" in claim_of(outcome, "up-old").basis
    assert any("public.shut takes no synthetic row" in note and "nobody writes here" in note for note in outcome.notes)


async def test_our_own_migrations_hold_nobody_up(subject_of: SubjectOf) -> None:
    # A budget that a busy machine keeps; the figures are those of the benchmark.
    subject = await subject_of(migrations_dir(), rows_each=5, traffic_s=0.1, stall_budget_ms=800.0)
    for version in subject.versions[1:]:  # the first makes tables, which nobody uses yet
        outcome = await locks.run(subject, version)
        assert refuted(outcome) == [], said(outcome)
