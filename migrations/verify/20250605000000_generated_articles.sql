-- check: LEG-1 The legacy tables exist
-- remedy: toolkit migrate up
select t.name as missing_table
from unnest(array['organizations', 'organization_members', 'article_generation_flows', 'flow_steps',
  'style_guide_templates', 'generated_articles_state', 'articles', 'image_placeholders']) as t (name)
where to_regclass('public.' || t.name) is null;

-- check: LEG-2 Every legacy table has row level security and at least one policy
-- remedy: alter table … enable row level security, and restore its policies from the migration file.
select c.relname as table_name, c.relrowsecurity as row_security,
  (select count(*) from pg_policy p where p.polrelid = c.oid) as policies
from pg_class c
where c.oid = any (array['public.organizations', 'public.organization_members', 'public.article_generation_flows',
    'public.flow_steps', 'public.style_guide_templates', 'public.generated_articles_state', 'public.articles',
    'public.image_placeholders']::regclass[])
  and (not c.relrowsecurity or not exists (select from pg_policy p where p.polrelid = c.oid));

-- check: LEG-3 The statuses are those of the contract, in their order
-- remedy: compare the enum generation_status with toolkit/contract/statuses.py.
select enumlabel as status from pg_enum where enumtypid = 'public.generation_status'::regtype
  and enumlabel not in ('in_progress', 'user_input_required', 'paused', 'completed', 'error', 'cancelled',
    'resuming', 'auto_progressing')
union all
select 'expected 8 statuses, found ' || count(*) from pg_enum
where enumtypid = 'public.generation_status'::regtype having count(*) <> 8;

-- check: LEG-4 A process makes at most one article
-- remedy: restore the unique index articles_one_per_process.
select 'articles_one_per_process is missing or invalid' as problem
where not exists (
  select from pg_index i where i.indexrelid = to_regclass('public.articles_one_per_process')
    and i.indisunique and i.indisvalid);

-- check: LEG-5 The default flow is there with its nine steps
-- remedy: insert the template again; new processes refer to it.
select 'expected 9 steps of the default flow, found ' || count(*) as problem
from public.article_generation_flows f join public.flow_steps s on s.flow_id = f.id
where f.is_template and f.name = 'Default SEO Article Generation'
having count(*) <> 9;

-- check: LEG-6 Rows can be updated under the rules of the next migration
-- remedy: update public.generated_articles_state set progress_percentage = greatest(0, least(100, progress_percentage)) where progress_percentage not between 0 and 100;
select id, progress_percentage from public.generated_articles_state
where progress_percentage not between 0 and 100 order by id limit 20;

-- check: LEG-7 A clean-up removes processes that ended long ago without an article, and no others
-- remedy: compare cleanup_old_processes with the migration file.
do $$
declare
  probe uuid;
  each record;
begin
  -- Older than anything real, so that the clean-up below can reach nothing but these.
  for each in
    select s.status, q.quiet, a.article,
      s.status in ('completed', 'error', 'cancelled') and q.quiet and not a.article as goes
    from unnest(enum_range(null::public.generation_status)) s (status),
      (values (true), (false)) q (quiet), (values (true), (false)) a (article)
  loop
    insert into public.generated_articles_state (user_id, status, last_activity_at)
    values ('toolkit_verify', each.status, case when each.quiet then now() - interval '200 years' else now() end)
    returning id into probe;
    if each.article then
      insert into public.articles (user_id, generation_process_id, title, content) values ('toolkit_verify', probe, 't', 'c');
    end if;
    perform public.cleanup_old_processes(36500);
    if exists (select from public.generated_articles_state where id = probe) = each.goes then
      raise exception 'a process that is %, % and % an article was %', each.status,
        case when each.quiet then 'long quiet' else 'active' end, case when each.article then 'with' else 'without' end,
        case when each.goes then 'kept' else 'removed' end;
    end if;
  end loop;
end $$;
