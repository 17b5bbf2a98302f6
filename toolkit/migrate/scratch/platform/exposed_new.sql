-- Projects made since 30 May 2026: what is new in `public`, the API roles may use when it is granted to them. They keep
-- what a hosted project leaves them. That anybody may execute a new function is Postgres' own default.

alter default privileges in schema public grant all on tables to current_user, anon, authenticated, service_role;
alter default privileges in schema public
  revoke select, insert, update, delete on tables from anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to current_user, anon, authenticated, service_role;
alter default privileges in schema public revoke usage, select on sequences from anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to current_user;
alter default privileges in schema public revoke execute on functions from anon, authenticated, service_role;
