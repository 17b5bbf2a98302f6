-- Whom a new cluster of ours has from the start; a statement a line, for a server that runs alone with its data.
create role postgres login createdb createrole replication bypassrls password ':password';
alter role supabase_admin set search_path = "$user", public, auth, extensions;
alter role supabase_admin set log_statement = 'none';
alter database postgres owner to postgres;
