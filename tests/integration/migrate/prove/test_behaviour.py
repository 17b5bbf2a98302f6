"""What a migration makes is used: code that cannot work is caught, rules that refuse are not mistaken for it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import pytest

from tests.integration.migrate.prove.conftest import SubjectOf, refuted, said
from toolkit.migrate.folder.files import read_file
from toolkit.migrate.prove.behaviour.behaviour_proof import PROOF
from toolkit.migrate.prove.subject.claims import Level, Outcome
from toolkit.migrate.verify.verify_file import parse_verify_file
from toolkit.probes.chosen import PROBES
from toolkit.resources import migrations_dir

START = (
    "create table t (id uuid primary key default gen_random_uuid(), note text not null, n int not null default 1, "
    "status text not null default 'new' check (status in ('new', 'done')), at timestamptz not null default now());"
    "create table log (id int generated always as identity primary key, t uuid references t on delete cascade, what text);"  # noqa: E501
)
PLPGSQL = "language plpgsql as $$"


@dataclass(frozen=True)
class Case:
    up: str
    says: str = ""
    claim: str = ""
    start: str = ""


def trigger(body: str, when: str = "before insert or update or delete", *, head: str = "") -> str:
    return (
        f"create function f() returns trigger language plpgsql {head} as $${body}$$; "
        f"create trigger g {when} on t for each row execute function f()"
    )


PLANTS = {
    "misspelt-column": Case(
        f"create function f(p_id uuid) returns text {PLPGSQL}begin return (select notes from t where id = p_id); end$$",
        'column "notes" does not exist [42703]',
        "functions",
    ),
    "ambiguous-column": Case(
        f"create function f(id uuid) returns text {PLPGSQL}begin return (select note from t where id = id); end$$",
        'column reference "id" is ambiguous [42702]',
        "functions",
    ),
    "misspelt-only-for-some-values": Case(
        f"create function f(p_status text) returns int {PLPGSQL}begin if p_status = 'done' then return (select x from t "  # noqa: E501
        "limit 1); end if; return 1; end$$",
        'column "x" does not exist',
        "functions",
    ),
    "missing-cast": Case(
        f"create function f(p_id text) returns int {PLPGSQL}begin return (select n from t where id = p_id); end$$",
        "operator does not exist: uuid = text",
        "functions",
    ),
    "casts-what-cannot-be-cast": Case(
        f"create function f() returns int {PLPGSQL}begin return (select max(note::int) from t); end$$",
        "it can handle none of",
        "functions",
    ),
    "builds-a-statement-about-a-missing-column": Case(
        f"create function f(p_note text) returns int {PLPGSQL}declare v int; begin "
        "execute 'select count(*) from t where notes = $1' into v using p_note; return v; end$$",
        'column "notes" does not exist',
        "functions",
    ),
    "builds-a-statement-that-cannot-be-read": Case(
        f"create function f(p_note text) returns int {PLPGSQL}declare v int; begin "
        "execute 'select count(*) fro t where note = $1' into v using p_note; return v; end$$",
        "it can handle none of",
        "functions",
    ),
    "calls-a-dropped-function": Case(
        "drop function helper(); ",
        "function helper() does not exist",
        "functions",
        f"create function helper() returns int language sql as 'select 1'; create function f() returns int {PLPGSQL}"
        "begin return helper(); end$$",
    ),
    "reads-a-dropped-column": Case(
        "alter table t drop column n",
        'column "n" does not exist',
        "functions",
        f"create function total() returns bigint {PLPGSQL}begin return (select sum(n) from t); end$$",
    ),
    "overload-made-ambiguous": Case(
        "create function f(p_id uuid, p_extra int default 1) returns int language sql as 'select 2'",
        "is not unique [42725]",
        "functions",
        "create function f(p_id uuid, p_note text default 'x') returns int language sql as 'select 1'",
    ),
    "definer-that-trusts-the-search-path": Case(
        f"create function f() returns bigint security definer {PLPGSQL}begin return (select count(*) from t); end$$",
        "finds what it needs by the caller's search_path",
        "functions",
    ),
    "recursion-without-end": Case(
        f"create function f(n int) returns int {PLPGSQL}begin return f(n + 1); end$$", "[54001]", "functions"
    ),
    "no-result": Case(
        f"create function f(p int) returns int {PLPGSQL}begin if p < -5 then return 1; end if; end$$",
        "control reached end of function without RETURN",
        "functions",
    ),
    "immutable-that-reads-a-table": Case(
        "create function f(p_id uuid) returns text immutable language plpgsql as $$begin return (select note from "
        "public.t where id = p_id); end$$",
        "declared IMMUTABLE, but reads tables",
        "functions",
    ),
    "immutable-that-follows-settings": Case(
        "create function f(p timestamptz) returns text immutable language plpgsql as $$begin return p::text; end$$",
        "declared IMMUTABLE, but gives another result",
        "functions",
    ),
    "procedure-with-a-missing-table": Case(
        f"create procedure f() {PLPGSQL}begin delete from nowhere; end$$",
        'relation "nowhere" does not exist',
        "functions",
    ),
    "two-rows-where-one-is-expected": Case(
        f"create function f() returns text {PLPGSQL}declare x text; begin x := (select note from t); return x; end$$",
        "more than one row",
        "functions",
    ),
    "conflict-target-without-a-constraint": Case(
        f"create function f(p_note text) returns void {PLPGSQL}begin insert into t (note) values (p_note) on conflict "
        "(note) do nothing; end$$",
        "no unique or exclusion constraint matching",
        "functions",
    ),
    "trigger-without-return": Case(
        trigger("begin new.note := upper(new.note); end", "before insert"),
        "control reached end of trigger procedure without RETURN",
        "writes",
    ),
    "trigger-with-a-misspelt-field": Case(
        trigger("begin new.noted := 'x'; return new; end", "before update"),
        'record "new" has no field "noted"',
        "writes",
    ),
    "trigger-that-reads-new-of-a-delete": Case(
        trigger("begin perform new.nothing; return old; end", "before delete"), "delete on public.t", "writes"
    ),
    "trigger-that-refuses-every-update": Case(
        trigger("begin raise exception 'never'; end", "before update"),
        "update on public.t worked before this version and is always refused now",
        "writes",
    ),
    "child-before-its-parent": Case(
        trigger("begin insert into log (t, what) values (new.id, 'made'); return new; end", "before insert"),
        "insert on public.t worked before this version and is always refused now",
        "writes",
    ),
    "trigger-of-one-column": Case(
        trigger("begin perform missing_function(); return new; end", "before update of status"),
        "function missing_function() does not exist",
        "writes",
    ),
    "trigger-that-fires-itself": Case(
        trigger("begin update t set n = n + 1 where id = new.id; return new; end", "after update"), "[54001]", "writes"
    ),
    "trigger-function-by-search-path": Case(
        trigger("begin insert into log (what) values ('x'); return new; end", "before insert", head="security definer"),
        "by the writer's search_path",
        "writes",
    ),
    "trigger-left-without-its-table": Case(
        "drop table log",
        'relation "log" does not exist',
        "writes",
        trigger("begin insert into log (what) values ('x'); return new; end", "after insert"),
    ),
    "deferred-trigger": Case(
        "create function f() returns trigger language plpgsql as $$begin perform nothing from log; return null; end$$; "
        "create constraint trigger g after insert on t deferrable initially deferred for each row execute function f()",
        'column "nothing" does not exist',
        "writes",
    ),
    "view-that-divides-by-zero": Case(
        "create view v as select id, 1 / (n - n) as share from t", "division by zero", "views"
    ),
    "view-that-casts-text": Case("create view v as select note::int as number from t", "invalid input syntax", "views"),
    "view-over-a-broken-function": Case(
        f"create function f(x text) returns text {PLPGSQL}begin return nothing; end$$; create view v as select f(note) from"  # noqa: E501
        " t",
        'column "nothing" does not exist',
        "views",
    ),
}

HEALTHY = {
    "function-that-works": Case(
        f"create function f(p_id uuid) returns text {PLPGSQL}begin return (select note from t where id = p_id); end$$"
    ),
    "function-that-refuses": Case(
        f"create function f(p_id uuid) returns void {PLPGSQL}begin raise exception 'no such thing' using errcode = "
        "'undefined_object'; end$$"
    ),
    "function-that-refuses-with-codes-of-its-own": Case(
        f"create function f(p_note text) returns text {PLPGSQL}begin if p_note is null then raise sqlstate '42703' "
        "using message = 'a note, please'; elsif p_note = '42' then raise 'no number' using errcode = 'PT422'; "
        "elsif p_note = 'true' then assert false, 'no flag'; end if; raise invalid_parameter_value; end$$"
    ),
    "function-that-takes-the-name-of-a-column": Case(
        f"create function f(p_field text) returns text {PLPGSQL}declare v text; begin "
        "execute format('select %I::text from t limit 1', p_field) into v; return v; end$$"
    ),
    "function-that-takes-a-table-and-a-condition": Case(
        f"create function f(p_table text, p_filter text) returns int {PLPGSQL}declare v int; begin "
        "execute format('select count(*) from %I where ', p_table) || p_filter into v; return v; end$$"
    ),
    "function-without-a-case-for-null": Case(
        f"create function f(p_n int) returns int {PLPGSQL}begin if p_n > 1 then return 1; elsif p_n <= 1 then "
        "return 2; end if; end$$"
    ),
    "function-that-needs-a-number-in-a-text": Case(
        f"create function f(p text) returns int {PLPGSQL}begin return p::int; end$$"
    ),
    "function-that-needs-a-document": Case(
        f"create function f(p text) returns jsonb {PLPGSQL}begin return p::jsonb -> 'n'; end$$"
    ),
    "definer-that-pins-its-path": Case(
        f"create function f() returns bigint security definer set search_path = '' {PLPGSQL}begin return (select count(*) "  # noqa: E501
        "from public.t); end$$"
    ),
    "overloads-that-are-told-apart": Case(
        "create function f(p uuid) returns int language sql as 'select 1'; create function f(p int) returns int language "  # noqa: E501
        "sql as 'select 2'"
    ),
    "immutable-that-is": Case(
        "create function f(a int, b text) returns text immutable language sql as $$select repeat(b, least(a, 3))$$"
    ),
    "procedure-that-commits": Case(f"create procedure f() {PLPGSQL}begin update t set n = n; commit; end$$"),
    "variadic-and-defaults": Case(
        "create function f(a int, b text default 'x', variadic c int[] default '{}') returns int language sql as "
        "'select a + cardinality(c)'"
    ),
    "out-arguments-and-tables": Case(
        "create function f(a int, out b int, out c text) language sql as $$select a, 'x'$$; create function g(p_n int) "
        "returns table (id uuid, note text) language sql as 'select id, note from t where n = p_n'"
    ),
    "polymorphic": Case(
        "create function f(a anyelement, b anyarray) returns anyarray language sql as 'select array_append(b, a)'"
    ),
    "trigger-that-works": Case(
        trigger("begin if tg_op = 'DELETE' then return old; end if; new.note := new.note || '.'; return new; end")
    ),
    "guard-that-refuses-some-columns": Case(
        trigger(
            "begin if new.note <> old.note then raise exception 'written once'; end if; return new; end",
            "before update",
        )
    ),
    "total-refusal-declared": Case(
        "-- changes: rows t\n" + trigger("begin raise exception 'frozen'; end", "before update")
    ),
    "trigger-that-stops-by-itself": Case(
        trigger(
            "begin if pg_trigger_depth() < 3 then update t set n = n + 1 where id = new.id; end if; return new; end",
            "after update",
        )
    ),
    "child-after-its-parent": Case(
        trigger("begin insert into log (t, what) values (new.id, 'made'); return null; end", "after insert")
    ),
    "child-that-keeps-its-parent": Case("create table c (t uuid not null references t)"),
    "view-that-works": Case(
        "create view v as select id, n / nullif(n - n, 0) as share from t; "
        "create materialized view m as select count(*) from t"
    ),
    "rule-that-is-hard-to-satisfy": Case("alter table t add constraint odd check (note <> '' or n > 7)"),
}


_NAMES = re.compile(r"\b(t|log|f|g|v|m|c|helper|total|odd)\b")
TOGETHER = {
    "functions": [name for name, case in PLANTS.items() if case.claim == "functions"][:8],
    "more functions": [name for name, case in PLANTS.items() if case.claim == "functions"][8:],
    "writes": [name for name, case in PLANTS.items() if case.claim == "writes"],
    "views": [name for name, case in PLANTS.items() if case.claim == "views"],
    "healthy": list(HEALTHY),
}
_outcomes: dict[str, Outcome] = {}


def own(text: str, number: int) -> str:
    """The case's own names, so that many cases fit into one database: databases are what takes time here."""
    return _NAMES.sub(rf"\1_{number}", text)


async def together(group: str, subject_of: SubjectOf) -> Outcome:
    if group not in _outcomes:
        cases = [(PLANTS | HEALTHY)[name] for name in TOGETHER[group]]
        start = "".join(own(START + case.start, number) + ";\n" for number, case in enumerate(cases))
        lines = [line for number, case in enumerate(cases) for line in (own(case.up, number) + ";").splitlines()]
        up = "\n".join(sorted(lines, key=lambda line: not line.startswith("--")))
        _outcomes[group] = await PROOF.run(await subject_of({"1_a.sql": up}, start=start), "1")
    return _outcomes[group]


@pytest.mark.parametrize("name", PLANTS)
async def test_what_cannot_work_is_caught(name: str, subject_of: SubjectOf) -> None:
    case = PLANTS[name]
    group = next(group for group, names in TOGETHER.items() if name in names)
    number = TOGETHER[group].index(name)
    outcome = await together(group, subject_of)
    lines = {line for claim in refuted(outcome) if claim.id == f"behaviour-1-{case.claim}" for line in claim.violations}
    mine = [line for line in lines if re.search(rf"_{number}\b", line)]
    assert any(own(case.says, number) in line for line in mine), "\n".join(mine)


async def test_what_works_or_refuses_by_rule_raises_nothing(subject_of: SubjectOf) -> None:
    outcome = await together("healthy", subject_of)
    assert said(outcome) == ""
    levels = {claim.id.removeprefix("behaviour-1-"): claim.level for claim in outcome.claims}
    assert levels == {"functions": Level.SAMPLED, "writes": Level.PROVED, "views": Level.SAMPLED}, outcome.claims


async def test_what_failed_before_and_was_not_touched_is_a_note(subject_of: SubjectOf) -> None:
    broken = f"create function f() returns int {PLPGSQL}begin return nothing; end$$; create view v as select 1/(n-n) x from t"  # noqa: E501
    subject = await subject_of({"1_a.sql": "create table other (id int primary key)"}, start=START + broken)
    outcome = await PROOF.run(subject, "1")
    assert said(outcome) == ""
    assert 'as before this version: f(): column "nothing" does not exist' in "\n".join(outcome.notes)
    assert "division by zero" in "\n".join(outcome.notes)


async def test_what_was_not_reached_is_said(subject_of: SubjectOf) -> None:
    up = (
        "create function unused() returns trigger language plpgsql as $$begin return new; end$$;"
        "create function quiet() returns trigger language plpgsql as $$begin return new; end$$;"
        "create trigger g before update on t for each row when (new.note = 'never written') execute function quiet()"
    )
    outcome = await PROOF.run(await subject_of({"1_a.sql": up}, start=START), "1")
    writes = next(claim for claim in outcome.claims if claim.id == "behaviour-1-writes")
    assert writes.verdict == "pass"
    assert writes.level is Level.SAMPLED
    assert "0 of 2 trigger functions ran" in writes.basis
    assert "unused() (no trigger uses it)" in writes.basis
    assert "quiet() (nothing that was written to public.t called it)" in writes.basis


async def test_a_failed_check_of_a_verify_file_is_a_violation(subject_of: SubjectOf) -> None:
    checks = (
        "-- check: A-1 The table has a note\nselect 'none' where false;\n-- check: A-2 It has rows\nselect 'none';\n"
    )
    subject = await subject_of({"1_a.sql": "create index on t (note)", "verify/1_a.sql": checks}, start=START)
    claim = next(c for c in (await PROOF.run(subject, "1")).claims if c.id == "behaviour-1-verify")
    assert len(claim.violations) == 1
    assert "A-2 It has rows" in claim.violations[0]


# Each property of the event log, and the check or probe of our own schema that holds it to account.
PROPERTIES = {
    "order and gaps, one after the other": {"RT-20", "RT-21", "RT-22"},
    "order and gaps, concurrently": {"RT-50"},
    "no number is used again after a clean-up": {"RT-24"},
    "one claim a task, concurrently": {"RT-51"},
    "events cannot be forged": {"RT-11", "RT-12", "RT-53"},
    "events cannot be rewritten": {"RT-25"},
    "events stay small": {"RT-23"},
    "impossible numbers are refused": {"RT-31"},
    "who may see": {"RT-32", "RT-52"},
    "ended processes stay ended": {"RT-26"},
    "the server's role records": {"RT-54"},
}


@pytest.mark.parametrize("property_", PROPERTIES)
def test_each_property_of_events_has_a_check(property_: str) -> None:
    version = "20250727000000"
    file = parse_verify_file(read_file(next((migrations_dir() / "verify").glob(f"{version}_*.sql"))))
    there = {check.id for check in file.checks} | {probe.id for probe in PROBES}
    assert PROPERTIES[property_] <= there


async def test_the_last_number_of_a_process_is_refused_loudly_and_whole(
    migrated_db: str, connect: Callable[[str], Awaitable[asyncpg.Connection]]
) -> None:
    """Overflow: nobody but the owner can bring it about, and a state change that cannot be recorded does not happen."""
    conn = await connect(migrated_db)
    process = await conn.fetchval("insert into generated_articles_state (user_id) values ('u') returning id")
    for role in ("anon", "authenticated", "service_role"):
        for statement in (
            "insert into process_events (process_id, event_type, event_sequence) values ($1, 'x', 2147483647)",
            "update process_event_counters set last_sequence = 2147483647 where process_id = $1",
        ):
            async with conn.transaction():
                await conn.execute("select set_config('role', $1, true)", role)
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    async with conn.transaction():
                        await conn.execute(statement, process)
    await conn.execute("update process_event_counters set last_sequence = 2147483647 where process_id = $1", process)
    with pytest.raises(asyncpg.NumericValueOutOfRangeError):
        await conn.execute("update generated_articles_state set status = 'paused' where id = $1", process)
    assert (
        await conn.fetchval("select status::text from generated_articles_state where id = $1", process) == "in_progress"
    )
    assert await conn.fetchval("select count(*) from process_events where process_id = $1", process) == 1


async def test_our_own_migrations_behave(subject_of: SubjectOf) -> None:
    subject = await subject_of(migrations_dir())
    for version in subject.versions:
        outcome = await PROOF.run(subject, version)
        assert said(outcome) == "", version
        assert f"behaviour-{version}-verify" in {claim.id for claim in outcome.claims}
        assert not any(claim.level is Level.NOT_CHECKED for claim in outcome.claims), outcome.claims
