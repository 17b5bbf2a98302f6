-- Projects made before 30 May 2026, and those that keep the switch on: what is new in `public`, the API roles may use.

alter default privileges in schema public grant all on tables to current_user, anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to current_user, anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to current_user, anon, authenticated, service_role;
