-- The event log. Events come into being in create_process_event() and the database's own functions only.

-- name: append
select public.create_process_event($1, $2, $3, $4, $5);

-- name: append_all
-- Several at once, in the given order.
select public.create_process_event($1, e.value ->> 'type', e.value -> 'data', e.value ->> 'category', $3)
from (select * from jsonb_array_elements($2) with ordinality order by ordinality) e;

-- name: page
-- One snapshot: the events after $2 and how far the log reaches, so that the two always agree.
select e.id, e.event_type, e.event_data, e.event_sequence, e.event_category, e.event_source, e.created_at,
       coalesce(c.last_sequence, 0) as last_sequence, coalesce(first.event_sequence, 0) as oldest_sequence
from public.generated_articles_state s
left join public.process_event_counters c on c.process_id = s.id
left join lateral (
  select o.event_sequence from public.process_events o where o.process_id = s.id order by o.event_sequence limit 1
) first on true
left join lateral (
  select * from public.process_events p
  where p.process_id = s.id and p.event_sequence > $2 and (cardinality($3::text[]) = 0 or p.event_type = any ($3::text[]))
  order by p.event_sequence
  limit $4
) e on true
where s.id = $1
order by e.event_sequence;

-- name: by_id
select e.id, e.event_type, e.event_data, e.event_sequence, e.event_category, e.event_source, e.created_at
from public.process_events e
where e.id = $1;

-- name: acknowledge
select public.acknowledge_process_event($1, $2, $3);
