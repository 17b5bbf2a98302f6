-- What clients write is tied to what is theirs, what only operators need is read by operators only, and an event says
-- in words what it takes. No row is read or changed, and no lock is held for longer than a moment.

-- 1. Events ------------------------------------------------------------------------------------

-- Fired only for what is refused. A trigger and no constraint: an older event that is no object stays as it is, and
-- can still be acknowledged.
create function public.refuse_process_event() returns trigger
language plpgsql set search_path = '' as $$
begin
  if jsonb_typeof(new.event_data) <> 'object' then
    raise exception 'the data of event % of process % is a JSON %, and an event''s data is a JSON object',
      new.event_type, new.process_id, jsonb_typeof(new.event_data)
      using errcode = 'check_violation', constraint = 'process_events_object',
        hint = 'Give it a name, as in {"value": …}.';
  end if;
  raise exception 'the data of event % of process % takes % bytes, and an event holds at most 262144',
    new.event_type, new.process_id, octet_length(new.event_data::text)
    using errcode = 'check_violation', constraint = 'process_events_small',
      hint = 'Keep what is large in the process, and name it in the event.';
end
$$;
revoke execute on function public.refuse_process_event() from public, anon, authenticated;
grant execute on function public.refuse_process_event() to service_role;
create trigger trigger_refuse_process_event before insert on public.process_events for each row
  when (jsonb_typeof(new.event_data) <> 'object' or octet_length(new.event_data::text) > 262144)
  execute function public.refuse_process_event();

-- 2. What clients write ------------------------------------------------------------------------

-- An organisation is one of the caller's own, and so is the process that an article is made by: the server
-- takes the article of a process for its result.
alter policy articles_owner on public.articles
  with check (
    user_id = (select auth.jwt() ->> 'sub')
    and (organization_id is null or public.is_organization_member(organization_id))
    and (generation_process_id is null or exists (
      select from public.generated_articles_state s
      where s.id = generation_process_id and s.user_id = (select auth.jwt() ->> 'sub'))));
alter policy style_guide_templates_owner on public.style_guide_templates
  with check (
    user_id = (select auth.jwt() ->> 'sub')
    and (organization_id is null or public.is_organization_member(organization_id)));

-- 3. What only operators read ------------------------------------------------------------------

-- Not claim_token, worker_id, worker_hostname, created_by (a worker too) and error_details. A column that is added
-- later is for operators until it is granted.
revoke select on public.background_tasks from authenticated;
grant select (
  id, process_id, task_type, task_data, status, priority, scheduled_for, started_at, completed_at, error_message,
  retry_count, max_retries, retry_delay_seconds, rescue_count, heartbeat_at, pending_dependencies, created_at,
  updated_at, execution_time) on public.background_tasks to authenticated;
