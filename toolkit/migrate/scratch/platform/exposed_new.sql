-- Projects made since 30 May 2026: what is new in `public`, the API roles may use when it is granted to them. They keep
-- what a hosted project leaves them. That anybody may execute a new function is Postgres' own default.

alter default privileges for role :migrator in schema public grant all on tables to :migrator, anon, authenticated, service_role;
alter default privileges for role :migrator in schema public
  revoke select, insert, update, delete on tables from anon, authenticated, service_role;
alter default privileges for role :migrator in schema public grant all on sequences to :migrator, anon, authenticated, service_role;
alter default privileges for role :migrator in schema public revoke usage, select on sequences from anon, authenticated, service_role;
alter default privileges for role :migrator in schema public grant all on functions to :migrator;
alter default privileges for role :migrator in schema public revoke execute on functions from anon, authenticated, service_role;
