"""What becomes of rows: each way of losing them is caught, and what merely looks like it is not."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.migrate.prove.conftest import SubjectOf, refuted, said
from toolkit.migrate.prove.data.data_proof import PROOF
from toolkit.migrate.prove.subject.claims import Level, Outcome
from toolkit.resources import migrations_dir

ROWS = "-- destroys: rows t\n"  # the runner cannot know that a table that is written anew keeps its values
T = "create table t (id int primary key, note text not null, n numeric(10,4), at timestamptz);"
TOUCH = (
    "create table t (id int primary key, note text, touched timestamptz not null default '2020-01-01');"
    "create function touch() returns trigger language plpgsql as $$begin new.touched := clock_timestamp(); "
    "return new; end$$; create trigger touch before update on t for each row execute function touch();"
)
TREE = "create table p (id int primary key, x text); create table c (id int primary key, p int not null references p on delete cascade);"  # noqa: E501


@dataclass(frozen=True)
class Case:
    start: str
    up: str
    down: str | None
    says: str = ""  # part of a violation
    claim: str = ""  # the end of the id of the claim that it refutes


PLANTS = {
    "column-dropped-and-added-again": Case(
        T,
        "alter table t drop column n",
        "alter table t add column n numeric(10,4)",
        "public.t.n: 4 values are not what they were",
        "down",
    ),
    "values-set-to-null-and-back-to-a-default": Case(
        T,
        "alter table t drop column note",
        "alter table t add column note text not null default ''",
        "public.t.note: 5 values",
        "down",
    ),
    "rollback-deletes-rows": Case(
        T,
        "alter table t add column extra text",
        "-- destroys: columns t (extra)\ndelete from t where id > 2; alter table t drop column extra",
        "the rollback fails on a database with rows",
        "down",
    ),
    "table-dropped-and-made-anew": Case(
        T,
        "drop table t",
        T,
        "public.t: 5 rows are lost",
        "down",
    ),
    "varchar-truncated": Case(
        "create table t (id int primary key, note varchar(40))",
        "alter table t alter note type varchar(5) using left(note, 5)",
        "alter table t alter note type varchar(40)",
        "public.t.note:",
        "up",
    ),
    "enum-values-mapped": Case(
        "create type s as enum ('new', 'open', 'done'); create table t (id int primary key, s s not null)",
        "alter type s rename to old; create type s as enum ('new', 'done'); alter table t alter s type s "
        "using (case when s = 'open' then 'new' else s::text end)::s; drop type old",
        "alter type s rename to old; create type s as enum ('new', 'open', 'done'); alter table t alter s type s "
        "using s::text::s; drop type old",
        "public.t.s:",
        "up",
    ),
    "backfill-overwrites": Case(
        T,
        "update t set note = coalesce(note, 'x') || '!'",
        "select 1",
        "public.t.note: 5 values",
        "up",
    ),
    "backfill-of-some-rows": Case(
        T,
        "update t set note = 'none' where id = 3",
        "select 1",
        "public.t.note: 1 value is not what it was (of row 3)",
        "up",
    ),
    "timestamps-shifted": Case(
        "create table t (id int primary key, at timestamp)",
        "alter table t alter at type timestamptz using at at time zone 'Asia/Tokyo'",
        "alter table t alter at type timestamp using at at time zone 'Asia/Tokyo'",
        "public.t.at:",
        "up",
    ),
    "timestamps-cut-to-seconds": Case(
        T,
        "alter table t alter at type timestamptz(0)",
        "alter table t alter at type timestamptz",
        "public.t.at:",
        "up",
    ),
    "timestamps-cut-to-days": Case(
        T,
        "alter table t alter at type date",
        "alter table t alter at type timestamptz",
        "public.t.at:",
        "up",
    ),
    "default-for-new-rows-only": Case(
        T,
        "alter table t add column state text; alter table t alter state set default 'open'",
        "-- destroys: columns t (state)\nalter table t drop column state",
        "new rows get 'open'::text, but all 5 rows from before have NULL",
        "up",
    ),
    "cascading-delete": Case(
        TREE,
        "delete from p where id = 1",
        "select 1",
        "public.c:",
        "up",
    ),
    "trigger-touches-rows-of-a-backfill": Case(
        TOUCH,
        "alter table t add column extra text; update t set extra = note",
        "-- destroys: columns t (extra)\nalter table t drop column extra",
        "public.t.touched: 5 values",
        "up",
    ),
    "precision-lost": Case(
        T,
        "alter table t alter n type numeric(10,2)",
        "alter table t alter n type numeric(10,4)",
        "public.t.n:",
        "up",
    ),
    "doubles-made-floats": Case(
        "create table t (id int primary key, v double precision not null)",
        "alter table t alter v type real",
        "alter table t alter v type double precision",
        "public.t.v:",
        "up",
    ),
    "key-of-a-document-lost": Case(
        "create table t (id int primary key, doc jsonb not null)",
        "update t set doc = doc - 'quote'",
        "select 1",
        "public.t.doc: 5 values",
        "up",
    ),
    "list-made-scalar": Case(
        "create table t (id int primary key, tags text[] not null)",
        "alter table t alter tags type text using tags[1]",
        "alter table t alter tags type text[] using array[tags]",
        "public.t.tags:",
        "up",
    ),
    "truncated": Case(T, "truncate t", "select 1", "public.t: 5 rows are lost", "up"),
    "rows-invented": Case(
        T,
        "insert into t select id + 100, note from t",
        "select 1",
        "once applied, public.t: 5 rows are new",
        "added",
    ),
    "rows-that-a-trigger-adds": Case(
        T + "create table log (id int generated always as identity primary key, t int);"
        "create function note() returns trigger language plpgsql as "
        "$$begin insert into log (t) values (new.id); return new; end$$;"
        "create trigger note after update on t for each row execute function note();",
        "-- changes: columns t (note)\nupdate t set note = note || '.'",
        "-- changes: columns t (note)\nselect 1",
        "once applied, public.log: 5 rows are new",
        "added",
    ),
    "rows-inserted-twice": Case(
        "create table k (name text not null)",
        "insert into k values ('v2')",
        "select 1",
        "the rollback leaves what it inserts, and applied again it inserts it twice",
        "added",
    ),
    "values-swapped-between-rows": Case(
        T,
        "update t set note = o.note from t o where o.id = 6 - t.id",
        "select 1",
        "public.t.note:",
        "up",
    ),
    "rows-without-a-key-rewritten": Case(
        "create table t (note text, n int)",
        "update t set n = n + 1",
        "select 1",
        "public.t.n:",
        "up",
    ),
    "column-forgotten-in-a-copied-table": Case(
        T,
        "create table t2 (id int primary key, note text not null, n numeric(10,4), at timestamptz); "
        "insert into t2 (id, note, n) select id, note, n from t; drop table t; alter table t2 rename to t; "
        "alter table t rename constraint t2_pkey to t_pkey",
        "select 1",
        "public.t.at:",
        "up",
    ),
    "sequence-reset": Case(
        "create table t (id serial primary key, note text)",
        "alter sequence t_id_seq restart",
        "select 1",
        "will give out 1, but the highest number in use is 5",
        "up",
    ),
    "sequence-made-anew-by-the-rollback": Case(
        "create table t (id serial primary key, note text)",
        "alter table t alter id drop default; drop sequence t_id_seq; alter table t alter id add generated by default "
        "as identity; select setval(pg_get_serial_sequence('t', 'id'), (select max(id) from t))",
        "alter table t alter id drop identity; create sequence t_id_seq as int owned by t.id; alter table t alter id "
        "set default nextval('t_id_seq')",
        "will give out 1",
        "down",
    ),
    "rows-that-break-a-new-rule": Case(
        T,
        "alter table t add column owner text not null",
        "-- destroys: columns t (owner)\nalter table t drop owner",
        "it does not apply to a database with rows",
        "up",
    ),
    "does-not-apply-twice-to-rows": Case(
        "create table k (name text primary key)",
        "insert into k values ('v2')",
        "select 1",
        "",
        "again",
    ),
    "rows-of-a-new-partition-lost": Case(
        "create table t (id int not null, r text not null) partition by list (r); "
        "create table t_eu partition of t for values in ('eu')",
        "create table t_us partition of t for values in ('us', 'ca', 'mx')",
        "alter table t detach partition t_us; alter table t_us rename to t_us_kept",
        "does not declare: table public.t_us",
        "down",
    ),
    "rollback-fails-on-new-values": Case(
        "create type s as enum ('new', 'done'); create table t (id int primary key, s s not null)",
        "create type s2 as enum ('new', 'done', 'odd', 'late'); alter table t alter s type s2 using s::text::s2; "
        "drop type s; alter type s2 rename to s",
        "-- destroys: rows t\ncreate type s2 as enum ('new', 'done'); alter table t alter s type s2 using s::text::s2; drop type s; "  # noqa: E501
        "alter type s2 rename to s",
        "the rollback fails once rows were written",
        "between",
    ),
    "rollback-removes-what-was-written-since": Case(
        T,
        "create table applied as select now() as at, max(id) as last from t",
        "-- destroys: table applied\ndelete from t where id > (select last from applied); drop table applied",
        "the rollback fails once rows were written",
        "between",
    ),
    "rollback-restores-a-stale-copy": Case(
        T,
        "create table keep as select * from t; alter table t alter note type varchar(100)",
        "-- destroys: table keep\ntruncate t; alter table t alter note type text; insert into t select * from keep; "
        "drop table keep",
        "the rollback fails",
        "down",
    ),
    "rollback-leaves-a-trigger": Case(
        T,
        "create table log (id int); create function f() returns trigger language plpgsql as $$begin insert into log "
        "values (new.id); return new; end$$; create trigger g after insert on t for each row execute function f()",
        "-- destroys: table log\ndrop table log",
        "after the rollback public.t takes no row",
        "between",
    ),
}

HEALTHY = {
    "column-with-a-default": Case(
        T,
        "alter table t add column extra text not null default 'x'",
        "-- destroys: columns t (extra)\nalter table t drop column extra",
    ),
    "column-backfilled": Case(
        T,
        "alter table t add column extra text; update t set extra = upper(note)",
        "-- destroys: columns t (extra)\nalter table t drop column extra",
    ),
    "default-that-is-computed": Case(
        T,
        "alter table t add column made timestamptz; alter table t alter made set default now()",
        "-- destroys: columns t (made)\nalter table t drop column made",
    ),
    "default-for-new-rows-declared": Case(
        T,
        "-- changes: columns t (state)\nalter table t add column state text; alter table t alter state set default 'x'",
        "-- destroys: columns t (state)\nalter table t drop column state",
    ),
    "new-table": Case(
        T, "create table u (id serial primary key, t int references t)", "-- destroys: table u\ndrop table u"
    ),
    "first-version": Case("", "create table u (id serial primary key)", "-- destroys: table u\ndrop table u"),
    "varchar-widened": Case(
        "create table t (id int primary key, note varchar(20))",
        "alter table t alter note type varchar(40)",
        ROWS + "alter table t alter note type varchar(20)",
    ),
    "number-widened": Case(
        "create table t (id int primary key, n numeric(10,2))",
        "alter table t alter id type bigint, alter n type numeric(12,4)",
        ROWS + "alter table t alter id type int, alter n type numeric(10,2)",
    ),
    "timestamps-read-as-utc": Case(
        "create table t (id int primary key, at timestamp)",
        "alter table t alter at type timestamptz using at at time zone 'UTC'",
        ROWS + "alter table t alter at type timestamp using at at time zone 'UTC'",
    ),
    "json-made-binary": Case(
        "create table t (id int primary key, doc json)",
        "alter table t alter doc type jsonb",
        ROWS + "alter table t alter doc type json",
    ),
    "flag-made-number": Case(
        "create table t (id int primary key, f boolean)",
        "alter table t alter f type int using f::int",
        ROWS + "alter table t alter f type boolean using f <> 0",
    ),
    "enum-made-anew": Case(
        "create type s as enum ('new', 'done'); create table t (id int primary key, s s not null)",
        "alter type s rename to old; create type s as enum ('done', 'new'); alter table t alter s type s using s::text::s;"  # noqa: E501
        " drop type old",
        ROWS
        + "alter type s rename to old; create type s as enum ('new', 'done'); alter table t alter s type s using s::text::s;"  # noqa: E501
        " drop type old",
    ),
    "column-renamed": Case(
        T, "alter table t rename note to body", "-- destroys: columns t (body)\nalter table t rename body to note"
    ),
    "table-renamed": Case(
        T, "alter table t rename to notes", "-- destroys: table notes\nalter table notes rename to t"
    ),
    "table-copied": Case(
        T,
        "-- changes: nothing\ncreate table t2 (like t including all); insert into t2 select * from t; drop table t; "
        "alter table t2 rename to t",
        "select 1",
    ),
    "change-declared": Case(T, "-- changes: columns t (note)\nupdate t set note = trim(note) || '.'", "select 1"),
    "column-dropped-for-good": Case(
        T, "-- changes: columns public.t (n)\nalter table t drop column n", "alter table t add column n numeric(10,4)"
    ),
    "rollback-that-declares": Case(
        T, "create index on t (note)", "-- destroys: rows t\ndelete from t where id > 2; drop index t_note_idx"
    ),
    "values-brought-back": Case(
        T,
        "create table kept as select id, n from t; alter table t drop column n",
        "-- destroys: table kept\n-- destroys: rows t\nalter table t add column n numeric(10,4); "
        "update t set n = k.n from kept k where k.id = t.id; drop table kept",
    ),
    "generated-column-computed-anew": Case(
        "create table t (id int primary key, g int generated always as (id * 2) stored)",
        "alter table t drop column g; alter table t add column g int generated always as (id * 3) stored",
        "-- destroys: rows t\n-- destroys: columns t (g)\n"
        "alter table t drop column g; alter table t add column g int generated always as (id * 2) stored",
    ),
    "seed-row-once": Case(
        "create table k (name text primary key)",
        "-- changes: rows k\ninsert into k values ('v2') on conflict do nothing",
        "select 1",
    ),
    "plans-added": Case(
        "create table k (name text primary key, price int)",
        "insert into k values ('free', 0), ('team', 9) on conflict (name) do nothing",
        "-- destroys: rows k\ndelete from k where name in ('free', 'team')",
    ),
    "plans-added-and-kept": Case(
        "create table k (name text primary key)",
        "insert into k select 'v2' where not exists (select from k where name = 'v2')",
        "select 1",
    ),
    "profiles-of-those-who-are-there": Case(
        T + "create table profiles (t int primary key references t); create table greetings (t int);"
        "create function greet() returns trigger language plpgsql set search_path from current as "
        "$$begin insert into greetings values (new.t); return new; end$$;"
        "create trigger greet after insert on profiles for each row execute function greet();",
        "do $$begin insert into profiles select id from t where id < 3 on conflict do nothing; end$$",
        "select 1",
    ),
    "plans-added-by-a-function": Case(
        "create table k (name text primary key); create function put(what text) returns void language sql as "
        "'insert into k values (what) on conflict do nothing'",
        "select put('v3')",
        "select 1",
    ),
    "partition-added": Case(
        "create table t (id int not null, r text not null) partition by list (r); "
        "create table t_eu partition of t for values in ('eu')",
        "create table t_us partition of t for values in ('us', 'ca')",
        "-- destroys: table t_us\ndrop table t_us",
    ),
    "no-rollback": Case(T, "alter table t add column extra text", None),
}


def files(case: Case) -> dict[str, str]:
    return {"1_a.sql": case.up} | ({"rollbacks/1_a.sql": case.down} if case.down is not None else {})


TOGETHER = {
    "up": [name for name, case in PLANTS.items() if case.claim == "up" and "does not apply" not in case.says],
    "down": [
        "column-dropped-and-added-again",
        "values-set-to-null-and-back-to-a-default",
        "table-dropped-and-made-anew",
        "sequence-made-anew-by-the-rollback",
    ],
    "healthy": [name for name, case in HEALTHY.items() if case.down is not None],
}
_outcomes: dict[str, Outcome] = {}


async def together(group: str, subject_of: SubjectOf) -> Outcome:
    """Many cases as one version, each in a schema of its own: databases are what takes time here."""
    if group not in _outcomes:
        cases = {f"s{number}": (PLANTS | HEALTHY)[name] for number, name in enumerate(TOGETHER[group])}
        start = "".join(
            f"create schema {schema}; set search_path = {schema}; {case.start};\n" for schema, case in cases.items()
        )
        made = {"1_a.sql": merged({schema: case.up for schema, case in cases.items()})}
        if group != "up":
            made["rollbacks/1_a.sql"] = merged({schema: case.down or "" for schema, case in cases.items()})
        _outcomes[group] = await PROOF.run(await subject_of(made, start=start), "1")
    return _outcomes[group]


def merged(scripts: dict[str, str]) -> str:
    headers, bodies = [], []
    for schema, script in scripts.items():
        lines = script.splitlines()
        headers += [
            re.sub(r"(table|rows|columns) (?:public\.)?(\w)", rf"\1 {schema}.\2", line)
            for line in lines
            if line.startswith("--")
        ]
        bodies.append(
            f"set local search_path = {schema};\n" + "\n".join(x for x in lines if not x.startswith("--")) + ";"
        )
    return "\n".join([*headers, *bodies]) + "\nset local search_path = public;\n"


@pytest.mark.parametrize("name", PLANTS)
async def test_a_loss_is_caught(name: str, subject_of: SubjectOf) -> None:
    case = PLANTS[name]
    group = next((group for group, names in TOGETHER.items() if name in names), None)
    if group is None:
        outcome = await PROOF.run(await subject_of(files(case), start=case.start), "1")
        words = case.says
    else:
        outcome = await together(group, subject_of)
        words = case.says.replace("public.", f"s{TOGETHER[group].index(name)}.")
    claims = {claim.id: claim for claim in refuted(outcome)}
    assert f"data-1-{case.claim}" in claims, said(outcome)
    assert words in "\n".join(claims[f"data-1-{case.claim}"].violations)


async def test_what_only_looks_like_a_loss_is_none(subject_of: SubjectOf) -> None:
    outcome = await together("healthy", subject_of)
    assert said(outcome) == ""
    assert {claim.level for claim in outcome.claims} == {Level.PROVED}, outcome.claims


async def test_without_a_rollback_only_the_migration_is_looked_at(subject_of: SubjectOf) -> None:
    case = HEALTHY["no-rollback"]
    outcome = await PROOF.run(await subject_of(files(case), start=case.start), "1")
    assert {claim.id.removeprefix("data-1-"): claim.level for claim in outcome.claims} == {
        "up": Level.PROVED,
        "added": Level.PROVED,
        **dict.fromkeys(("down", "again", "between"), Level.NOT_CHECKED),
    }


async def test_what_an_event_trigger_logs_is_no_change_of_rows(subject_of: SubjectOf) -> None:
    start = (
        T + "create table ddl (id int generated always as identity primary key, tag text);"
        "create function log_ddl() returns event_trigger language plpgsql as "
        "$$begin insert into public.ddl (tag) values (tg_tag); end$$;"
        "create event trigger log_ddl on ddl_command_end execute function log_ddl();"
    )
    case = Case(
        start, "alter table t add column extra text", "-- destroys: columns t (extra)\nalter table t drop extra"
    )
    outcome = await PROOF.run(await subject_of(files(case), start=case.start), "1")
    assert said(outcome) == ""
    assert any("public.ddl" in note for note in outcome.notes), outcome.notes


async def test_a_table_without_rows_is_said(subject_of: SubjectOf) -> None:
    start = (
        "create table t (id int primary key); create table full_of_rules (id int check (id > 1 and id < 0) not null)"
    )
    subject = await subject_of({"1_a.sql": "alter table t add column x int"}, start=start)
    up = (await PROOF.run(subject, "1")).claims[0]
    assert up.level is Level.SAMPLED
    assert "no row in 1 table: public.full_of_rules" in up.basis
    assert "violates check constraint" in up.basis


async def test_our_own_migrations_keep_every_row(subject_of: SubjectOf) -> None:
    subject = await subject_of(migrations_dir(), rows_each=20)
    for version in subject.versions:
        outcome = await PROOF.run(subject, version)
        assert said(outcome) == "", version
        assert {claim.level for claim in outcome.claims} <= {Level.PROVED, Level.SAMPLED}, outcome.claims


async def test_a_backfill_of_our_own_migration_would_touch_ended_processes(
    subject_of: SubjectOf, tmp_path: Path
) -> None:
    """Historic rows get a fresh time of last activity, although the backfill names another column."""
    folder = tmp_path / "copied"
    shutil.copytree(migrations_dir(), folder)
    file = next(folder.glob("20250727000000_*.sql"))
    file.write_text(file.read_text() + "\nupdate public.generated_articles_state set task_priority = 5;\n")
    outcome = await PROOF.run(await subject_of(folder), "20250727000000")
    assert "public.generated_articles_state.last_activity_at: 5 values are not what they were" in said(outcome)
    assert "public.generated_articles_state.updated_at: 5 values are not what they were" in said(outcome)
