-- Removes the whole generation system; only an empty or test database should ever see this.
-- destroys: table public.image_placeholders
-- destroys: table public.articles
-- destroys: table public.generated_articles_state
-- destroys: table public.flow_steps
-- destroys: table public.article_generation_flows
-- destroys: table public.style_guide_templates
-- destroys: table public.organization_members
-- destroys: table public.organizations

alter publication supabase_realtime drop table public.articles, public.image_placeholders;

drop table public.image_placeholders;
drop table public.articles;
drop table public.generated_articles_state;
drop table public.flow_steps;
drop table public.article_generation_flows;
drop table public.style_guide_templates;

-- The policies of these two call the membership function; it goes between them and their tables.
drop policy organizations_read on public.organizations;
drop policy organization_members_read on public.organization_members;
drop function public.is_organization_member(uuid);
drop table public.organization_members;
drop table public.organizations;

drop function public.cleanup_old_processes(integer);
drop function public.get_process_recovery_info(uuid);
drop function public.add_step_to_history(uuid, text, text, jsonb);
drop function public.touch_process_activity();
drop function public.touch_updated_at();
drop type public.generation_status;
