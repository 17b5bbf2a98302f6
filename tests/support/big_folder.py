"""A generated folder of migrations, as large as a grown project's: tables, keys, policies, functions, rollbacks."""

from __future__ import annotations

from pathlib import Path


def write_big_folder(folder: Path, *, tables: int = 200, migrations: int = 30) -> Path:
    """`tables` tables spread over `migrations` migrations, each with its rollback; returns the folder."""
    (folder / "rollbacks").mkdir(parents=True, exist_ok=True)
    share = [tables // migrations + (number < tables % migrations) for number in range(migrations)]
    first = 0
    for number, count in enumerate(share):
        mine = list(range(first, first + count))
        first += count
        up = [statement for table in mine for statement in _table(table)]
        down = [f"drop table public.t{table:03}" for table in reversed(mine)]
        header = [f"-- destroys: table t{table:03}" for table in mine]
        up.append(_function(number, mine))
        down.insert(0, f"drop function public.count_{number}(uuid)")
        if number:
            up.append(f"alter table public.t{number - 1:03} add column added_{number} text")
            down.append(f"alter table public.t{number - 1:03} drop column added_{number}")
            header.append(f"-- destroys: columns t{number - 1:03} (added_{number})")
        name = f"202601{number + 1:02}000000_part_{number}.sql"
        (folder / name).write_text(";\n".join(up) + ";\n")
        (folder / "rollbacks" / name).write_text("\n".join(header) + "\n" + ";\n".join(down) + ";\n")
    return folder


def _table(number: int) -> list[str]:
    name = f"public.t{number:03}"
    parent = f"references public.t{number - 1:03} (id) on delete cascade" if number % 5 else ""
    return [
        f"create table {name} (id uuid primary key default gen_random_uuid(), parent uuid {parent},"
        " user_id uuid not null, title varchar(80) not null, body text, amount numeric(10,2) check (amount >= 0),"
        " kind text not null default 'a' check (kind in ('a', 'b', 'c')), tags text[], data jsonb,"
        " created_at timestamptz not null default now())",
        f"create index t{number:03}_by_user on {name} (user_id, created_at desc)",
        f"alter table {name} enable row level security",
        f"revoke all on {name} from anon",
        f"create policy own_{number} on {name} for select to authenticated using (user_id = (select auth.uid()))",
    ]


def _function(number: int, tables: list[int]) -> str:
    return (
        f"create function public.count_{number}(who uuid) returns bigint language sql stable security definer"
        f" set search_path = '' as $$ select count(*) from public.t{tables[0]:03} where user_id = who $$;\n"
        f"revoke all on function public.count_{number}(uuid) from public, anon, authenticated"
    )
