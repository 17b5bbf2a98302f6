-- Finished articles. These statements work on the legacy schema too.

-- name: save
-- One article a process: saving again returns the one that is there, and whether it is the process's owner's.
with added as (
  insert into public.articles (user_id, organization_id, generation_process_id, title, content, keywords, target_audience)
  select s.user_id, s.organization_id, s.id, $2, $3, $4, $5
  from public.generated_articles_state s where s.id = $1
  on conflict (generation_process_id) where generation_process_id is not null do nothing
  returning id
)
select id, true as own from added
union all
select a.id, a.user_id = s.user_id
from public.articles a join public.generated_articles_state s on s.id = a.generation_process_id
where a.generation_process_id = $1
limit 1;

-- name: save_placeholders
insert into public.image_placeholders (
  article_id, generation_process_id, placeholder_id, description_jp, prompt_en, alt_text)
select $1, $2, p.placeholder_id, p.description_jp, p.prompt_en, p.alt_text
from unnest($3::text[], $4::text[], $5::text[], $6::text[]) p (placeholder_id, description_jp, prompt_en, alt_text)
on conflict (generation_process_id, placeholder_id) do update
set article_id = excluded.article_id, description_jp = excluded.description_jp, prompt_en = excluded.prompt_en,
    alt_text = excluded.alt_text;

-- name: view
select a.id, a.user_id, a.organization_id, a.generation_process_id, a.title, a.content, a.keywords,
       a.target_audience, a.status, a.created_at, a.updated_at,
       exists (
         select from public.organization_members m where m.organization_id = a.organization_id and m.user_id = $2
       ) as is_member
from public.articles a
where a.id = $1;

-- name: placeholders
select p.placeholder_id, p.description_jp, p.prompt_en, p.alt_text, p.status
from public.image_placeholders p
where p.article_id = $1
order by p.created_at, p.placeholder_id;

-- name: list
select a.id, a.user_id, a.organization_id, a.generation_process_id, a.title, '' as content, a.keywords,
       a.target_audience, a.status, a.created_at, a.updated_at, false as is_member
from public.articles a
where a.user_id = $1 and ($2::timestamptz is null or (a.created_at, a.id) < ($2::timestamptz, $3::uuid))
order by a.created_at desc, a.id desc
limit $4;
