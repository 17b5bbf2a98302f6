-- Projects made before 30 May 2026, and those that keep the switch on: what is new in `public`, the API roles may use.

alter default privileges for role :migrator in schema public grant all on tables to :migrator, anon, authenticated, service_role;
alter default privileges for role :migrator in schema public grant all on sequences to :migrator, anon, authenticated, service_role;
alter default privileges for role :migrator in schema public grant all on functions to :migrator, anon, authenticated, service_role;
