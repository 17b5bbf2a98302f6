create table public.notes (
  id uuid primary key default gen_random_uuid(),
  user_id text not null,
  body text not null,
  written_at timestamptz not null default now()
);
create index notes_user_id on public.notes (user_id);
alter table public.notes enable row level security;
create policy own_notes on public.notes for all to authenticated
  using (user_id = (select auth.jwt() ->> 'sub')) with check (user_id = (select auth.jwt() ->> 'sub'));
