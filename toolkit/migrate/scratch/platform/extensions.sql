-- The extensions of a new project, as far as this server has them or a stand-in; and who may use the vault.
-- Not as on a hosted project: their objects are of the superuser. A dump says no owner of an extension's objects, so
-- another one would be lost on the way to a scratch database.

do $$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('pg_stat_statements', 'extensions'), ('pgcrypto', 'extensions'), ('uuid-ossp', 'extensions'),
      ('supabase_vault', 'vault')
    ) of (name, home)
    where exists (select from pg_available_extensions a where a.name = of.name)
      and not exists (select from pg_extension e where e.extname = of.name)
  loop
    begin
      if ':migrator' = 'postgres' and wanted.home = 'extensions' then
        alter schema extensions owner to postgres;
        set local role postgres;
      end if;
      execute format('create extension %I with schema %I', wanted.name, wanted.home);
    exception when insufficient_privilege or duplicate_function or duplicate_table or duplicate_object then
      raise notice 'extension % is left out: %', wanted.name, sqlerrm;
    end;
    if ':migrator' = 'postgres' then
      reset role;
    end if;
  end loop;

  if to_regclass('vault.secrets') is not null and pg_temp.is_superuser() then
    grant select, delete, references, truncate on vault.secrets, vault.decrypted_secrets to service_role;
    grant execute on function vault.create_secret, vault.update_secret to service_role;
  end if;
end
$$;
