-- check: OWN-1 An owner's articles and style guides are tied to processes and organisations of the owner's own
-- remedy: compare the policies articles_owner and style_guide_templates_owner with the migration file.
do $$
declare
  mine uuid;
  colleagues uuid;
  strangers uuid;
  my_organization uuid;
  their_organization uuid;
  my_article uuid;
  my_template uuid;
  attempt record;
  went_through boolean;
begin
  insert into public.organizations (name, owner_user_id) values ('toolkit_verify', 'user_verify_1')
  returning id into my_organization;
  insert into public.organizations (name, owner_user_id) values ('toolkit_verify', 'user_verify_2')
  returning id into their_organization;
  insert into public.organization_members (organization_id, user_id)
  values (my_organization, 'user_verify_1'), (their_organization, 'user_verify_2');
  insert into public.generated_articles_state (user_id) values ('user_verify_1') returning id into mine;
  insert into public.generated_articles_state (user_id, organization_id) values ('user_verify_2', my_organization)
  returning id into colleagues;
  insert into public.generated_articles_state (user_id) values ('user_verify_2') returning id into strangers;
  insert into public.articles (user_id, title) values ('user_verify_1', 'toolkit_verify') returning id into my_article;
  insert into public.style_guide_templates (user_id, name) values ('user_verify_1', 'toolkit_verify')
  returning id into my_template;
  perform set_config('request.jwt.claims', '{"role": "authenticated", "sub": "user_verify_1"}', true);
  for attempt in select * from (values
    ('user_verify_1', null, null, true), ('user_verify_1', my_organization, null, true),
    ('user_verify_1', null, mine, true), ('user_verify_1', my_organization, mine, true),
    ('user_verify_2', null, null, false), ('user_verify_2', my_organization, mine, false),
    ('user_verify_1', their_organization, null, false), ('user_verify_1', their_organization, mine, false),
    ('user_verify_1', null, strangers, false), ('user_verify_1', my_organization, strangers, false),
    ('user_verify_1', null, colleagues, false), ('user_verify_1', null, gen_random_uuid(), false)
  ) as v (owner, organization, process, may)
  cross join unnest(array[
    format('insert into public.articles (user_id, organization_id, generation_process_id, title)
      values ($1, $2, $3, %L)', 'toolkit_verify'),
    format('update public.articles set user_id = $1, organization_id = $2, generation_process_id = $3 where id = %L',
      my_article),
    format('insert into public.style_guide_templates (user_id, organization_id, name)
      values ($1, $2, %L)', 'toolkit_verify'),
    format('update public.style_guide_templates set user_id = $1, organization_id = $2 where id = %L', my_template)
  ]) as w (write)
  where v.process is null or w.write not like '%style_guide_templates%'
  loop
    begin
      perform set_config('role', 'authenticated', true);
      execute attempt.write using attempt.owner, attempt.organization, attempt.process;
      -- Taken back, since a process makes one article.
      raise exception 'it went through' using errcode = 'TKEND';
    exception
      when sqlstate 'TKEND' then went_through := true;
      when insufficient_privilege then went_through := false;
    end;
    if went_through <> attempt.may then
      raise exception '% % as user_verify_1, with the owner %, the organisation % and the process %',
        attempt.write, case when attempt.may then 'is refused' else 'goes through' end, attempt.owner,
        case attempt.organization when my_organization then 'of oneself' when their_organization then 'of another'
          else 'none' end,
        case attempt.process when mine then 'of oneself' when colleagues then 'of a colleague'
          when strangers then 'of another' else 'none' end;
    end if;
  end loop;
end $$;

-- check: OWN-2 Which worker holds a task, and with what token, is read by operators only
-- remedy: revoke select on public.background_tasks from authenticated, and grant the columns of the migration file.
select a.attname::text as column_name, has_column_privilege('authenticated', a.attrelid, a.attnum, 'select') as readable
from pg_attribute a
where a.attrelid = 'public.background_tasks'::regclass and a.attnum > 0 and not a.attisdropped
  and has_column_privilege('authenticated', a.attrelid, a.attnum, 'select') <> (a.attname = any (array[
    'id', 'process_id', 'task_type', 'task_data', 'status', 'priority', 'scheduled_for', 'started_at', 'completed_at',
    'error_message', 'retry_count', 'max_retries', 'retry_delay_seconds', 'rescue_count', 'heartbeat_at',
    'pending_dependencies', 'created_at', 'updated_at', 'execution_time']))
union all
select a.attname::text, false from pg_attribute a
where a.attrelid = 'public.background_tasks'::regclass and a.attnum > 0 and not a.attisdropped
  and not has_column_privilege('service_role', a.attrelid, a.attnum, 'select');

-- check: OWN-3 The data of a new event is a JSON object within the limit, and what is refused is told in words
-- remedy: compare refuse_process_event and its trigger with the migration file.
do $$
declare
  probe uuid;
  attempt record;
begin
  insert into public.generated_articles_state (user_id) values ('toolkit_verify') returning id into probe;
  for attempt in select * from (values
    ('{}'::jsonb, null), (jsonb_build_object('a', repeat('a', 262135)), null),
    (jsonb_build_object('a', repeat('a', 262136)), '%takes 262145 bytes%at most 262144'),
    ('"x"', '%is a JSON string%JSON object'), ('[]', '%is a JSON array%JSON object'),
    ('null', '%is a JSON null%JSON object'), ('1', '%is a JSON number%JSON object'),
    ('true', '%is a JSON boolean%JSON object')) as v (data, refusal)
  loop
    begin
      perform public.create_process_event(probe, 'toolkit_verify', attempt.data);
      if attempt.refusal is not null then
        raise exception 'an event was appended with %', left(attempt.data::text, 50) using errcode = 'assert_failure';
      end if;
    exception when check_violation then
      if attempt.refusal is null or sqlerrm not like attempt.refusal then
        raise exception 'an event with % is refused with: %', left(attempt.data::text, 50), sqlerrm;
      end if;
    end;
  end loop;
end $$;

-- check: OWN-4 No client may call the function of the trigger
-- remedy: revoke execute on function public.refuse_process_event() from public, anon, authenticated;
select r.role_name
from unnest(array['anon', 'authenticated']) as r (role_name)
where has_function_privilege(r.role_name, 'public.refuse_process_event()', 'execute')
union all
select 'service_role' where not has_function_privilege('service_role', 'public.refuse_process_event()', 'execute');
