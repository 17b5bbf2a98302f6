-- The generation system before Realtime: one state row per process, read and written by the
-- WebSocket server. User ids are the text `sub` of the JWT, never uuids.

create type public.generation_status as enum (
  'in_progress', 'user_input_required', 'paused', 'completed', 'error', 'cancelled', 'resuming', 'auto_progressing'
);

create table public.organizations (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  owner_user_id text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table public.organization_members (
  organization_id uuid not null references public.organizations (id) on delete cascade,
  user_id text not null,
  role text not null default 'member' check (role in ('owner', 'admin', 'member')),
  joined_at timestamptz not null default now(),
  primary key (organization_id, user_id)
);
create index idx_organization_members_user on public.organization_members (user_id);

create table public.style_guide_templates (
  id uuid primary key default gen_random_uuid(),
  user_id text not null,
  organization_id uuid references public.organizations (id) on delete cascade,
  name text not null,
  settings jsonb not null default '{}'::jsonb,
  created_at timestamptz not null default now()
);

create table public.article_generation_flows (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid references public.organizations (id) on delete cascade,
  user_id text,
  name text not null,
  is_template boolean not null default false,
  created_at timestamptz not null default now()
);

create table public.flow_steps (
  id uuid primary key default gen_random_uuid(),
  flow_id uuid not null references public.article_generation_flows (id) on delete cascade,
  step_order integer not null,
  step_type text not null,
  is_interactive boolean not null default false,
  unique (flow_id, step_order)
);

create table public.generated_articles_state (
  id uuid primary key default gen_random_uuid(),
  flow_id uuid references public.article_generation_flows (id) on delete set null,
  user_id text not null,
  organization_id uuid references public.organizations (id) on delete set null,
  current_step_id uuid references public.flow_steps (id) on delete set null,
  status public.generation_status not null default 'in_progress',
  article_context jsonb not null default '{}'::jsonb,
  generated_content jsonb,
  article_id uuid,
  error_message text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  current_step_name text default 'start',
  progress_percentage integer not null default 0,
  is_waiting_for_input boolean not null default false,
  input_type text,
  last_activity_at timestamptz not null default now(),
  auto_resume_eligible boolean not null default false,
  resume_from_step text,
  step_history jsonb not null default '[]'::jsonb,
  process_metadata jsonb not null default '{}'::jsonb,
  image_mode boolean not null default false,
  image_settings jsonb not null default '{}'::jsonb,
  style_template_id uuid references public.style_guide_templates (id) on delete set null
);
create index idx_generated_articles_state_user on public.generated_articles_state (user_id, created_at desc);
create index idx_generated_articles_state_organization on public.generated_articles_state (organization_id)
  where organization_id is not null;

create table public.articles (
  id uuid primary key default gen_random_uuid(),
  user_id text not null,
  organization_id uuid references public.organizations (id) on delete set null,
  generation_process_id uuid references public.generated_articles_state (id),
  title text not null,
  content text not null default '',
  keywords text[] not null default '{}',
  target_audience text,
  status text not null default 'draft' check (status in ('draft', 'published', 'archived')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
-- One process makes one article, whoever retries.
create unique index articles_one_per_process on public.articles (generation_process_id)
  where generation_process_id is not null;
create index idx_articles_user on public.articles (user_id, created_at desc);

create table public.image_placeholders (
  id uuid primary key default gen_random_uuid(),
  article_id uuid references public.articles (id) on delete cascade,
  generation_process_id uuid references public.generated_articles_state (id) on delete cascade,
  placeholder_id text not null,
  description_jp text not null,
  prompt_en text not null,
  alt_text text,
  status text not null default 'pending' check (status in ('pending', 'uploaded', 'generated', 'replaced')),
  created_at timestamptz not null default now(),
  unique (generation_process_id, placeholder_id)
);

-- Functions ------------------------------------------------------------------------------------

create function public.touch_updated_at() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.updated_at := now();
  return new;
end
$$;

create function public.touch_process_activity() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.updated_at := now();
  new.last_activity_at := now();
  return new;
end
$$;

-- Membership is looked up with the owner's rights, so that policies of the tables it reads are not
-- evaluated inside policies (which would recurse without end).
create function public.is_organization_member(p_organization_id uuid) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from public.organization_members m
    where m.organization_id = p_organization_id and m.user_id = (auth.jwt() ->> 'sub')
  )
$$;

create function public.add_step_to_history(
  p_process_id uuid, p_step_name text, p_step_status text, p_step_data jsonb default '{}'::jsonb
) returns void
language sql set search_path = '' as $$
  update public.generated_articles_state
  set step_history = step_history || jsonb_build_array(jsonb_build_object(
        'step_name', p_step_name, 'status', p_step_status, 'timestamp', clock_timestamp(), 'data', p_step_data))
  where id = p_process_id
$$;

create function public.get_process_recovery_info(p_process_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'process_id', s.id, 'status', s.status, 'current_step', s.current_step_name,
    'resume_from_step', s.resume_from_step, 'auto_resume_eligible', s.auto_resume_eligible,
    'is_waiting_for_input', s.is_waiting_for_input, 'input_type', s.input_type,
    'last_activity_at', s.last_activity_at)
  from public.generated_articles_state s
  where s.id = p_process_id
$$;

-- Removes processes that ended without an article and have been quiet for p_days_old days.
create function public.cleanup_old_processes(p_days_old integer default 30) returns integer
language plpgsql set search_path = '' as $$
declare
  removed integer;
begin
  delete from public.generated_articles_state s
  where s.status in ('completed', 'error', 'cancelled')
    and s.last_activity_at < now() - make_interval(days => p_days_old)
    and not exists (select from public.articles a where a.generation_process_id = s.id);
  get diagnostics removed = row_count;
  return removed;
end
$$;

revoke execute on function
  public.is_organization_member(uuid),
  public.add_step_to_history(uuid, text, text, jsonb),
  public.get_process_recovery_info(uuid),
  public.cleanup_old_processes(integer)
from public, anon, authenticated;
grant execute on function public.is_organization_member(uuid) to authenticated, service_role;
grant execute on function
  public.add_step_to_history(uuid, text, text, jsonb),
  public.get_process_recovery_info(uuid),
  public.cleanup_old_processes(integer)
to service_role;

create trigger trigger_process_activity before update on public.generated_articles_state
  for each row execute function public.touch_process_activity();
create trigger trigger_articles_updated_at before update on public.articles
  for each row execute function public.touch_updated_at();
create trigger trigger_organizations_updated_at before update on public.organizations
  for each row execute function public.touch_updated_at();

-- Row level security ---------------------------------------------------------------------------

alter table public.organizations enable row level security;
alter table public.organization_members enable row level security;
alter table public.style_guide_templates enable row level security;
alter table public.article_generation_flows enable row level security;
alter table public.flow_steps enable row level security;
alter table public.generated_articles_state enable row level security;
alter table public.articles enable row level security;
alter table public.image_placeholders enable row level security;

create policy organizations_read on public.organizations for select to authenticated
  using (owner_user_id = (select auth.jwt() ->> 'sub') or public.is_organization_member(id));
create policy organization_members_read on public.organization_members for select to authenticated
  using (user_id = (select auth.jwt() ->> 'sub') or public.is_organization_member(organization_id));
create policy style_guide_templates_owner on public.style_guide_templates for all to authenticated
  using (user_id = (select auth.jwt() ->> 'sub')) with check (user_id = (select auth.jwt() ->> 'sub'));
create policy article_generation_flows_read on public.article_generation_flows for select to authenticated
  using (is_template or user_id = (select auth.jwt() ->> 'sub') or public.is_organization_member(organization_id));
create policy flow_steps_read on public.flow_steps for select to authenticated
  using (exists (select from public.article_generation_flows f where f.id = flow_id));
create policy generated_articles_state_owner on public.generated_articles_state for select to authenticated
  using (user_id = (select auth.jwt() ->> 'sub'));
create policy generated_articles_state_members on public.generated_articles_state for select to authenticated
  using (organization_id is not null and public.is_organization_member(organization_id));
create policy articles_owner on public.articles for all to authenticated
  using (user_id = (select auth.jwt() ->> 'sub')) with check (user_id = (select auth.jwt() ->> 'sub'));
create policy articles_members on public.articles for select to authenticated
  using (organization_id is not null and public.is_organization_member(organization_id));
create policy image_placeholders_read on public.image_placeholders for select to authenticated
  using (exists (select from public.articles a where a.id = article_id));

alter publication supabase_realtime add table public.articles, public.image_placeholders;

-- The nine steps every new process follows unless its organisation defined its own.
with flow as (
  insert into public.article_generation_flows (name, is_template)
  values ('Default SEO Article Generation', true)
  returning id
)
insert into public.flow_steps (flow_id, step_order, step_type, is_interactive)
select flow.id, s.step_order, s.step_type, s.is_interactive
from flow, (values
  (1, 'keyword_analysis', false), (2, 'persona_generation', true), (3, 'theme_proposal', true),
  (4, 'research_planning', true), (5, 'research_execution', false), (6, 'research_synthesis', false),
  (7, 'outline_generation', true), (8, 'section_writing', false), (9, 'editing', false)
) as s (step_order, step_type, is_interactive);
