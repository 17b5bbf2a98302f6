-- uuid-ossp: version 4 from Postgres, 3 and 5 by their definition, 1 and 1mc of the right shape.

create function @extschema@.uuid_generate_v4() returns uuid language sql volatile parallel safe
  as $$ select gen_random_uuid() $$;
create function @extschema@.uuid_nil() returns uuid language sql immutable parallel safe
  as $$ select '00000000-0000-0000-0000-000000000000'::uuid $$;
create function @extschema@.uuid_ns_dns() returns uuid language sql immutable parallel safe
  as $$ select '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid $$;
create function @extschema@.uuid_ns_url() returns uuid language sql immutable parallel safe
  as $$ select '6ba7b811-9dad-11d1-80b4-00c04fd430c8'::uuid $$;
create function @extschema@.uuid_ns_oid() returns uuid language sql immutable parallel safe
  as $$ select '6ba7b812-9dad-11d1-80b4-00c04fd430c8'::uuid $$;
create function @extschema@.uuid_ns_x500() returns uuid language sql immutable parallel safe
  as $$ select '6ba7b814-9dad-11d1-80b4-00c04fd430c8'::uuid $$;
create function @extschema@.uuid_generate_v3(namespace uuid, name text) returns uuid
language sql immutable strict parallel safe as $$
  select encode(set_byte(set_byte(hash, 6, get_byte(hash, 6) & 15 | 48), 8, get_byte(hash, 8) & 63 | 128), 'hex')::uuid
  from decode(md5(uuid_send(namespace) || convert_to(name, 'utf8')), 'hex') hash
$$;
create function @extschema@.uuid_generate_v1() returns uuid language sql volatile parallel safe as $$
  select encode(
    set_byte(set_byte(bytes, 6, get_byte(bytes, 6) & 15 | 16), 8, get_byte(bytes, 8) & 63 | 128), 'hex'
  )::uuid
  from (
    select substr(ticks, 5, 4) || substr(ticks, 3, 2) || substr(ticks, 1, 2)
      || substr(uuid_send(gen_random_uuid()), 9, 8) as bytes
    from int8send((extract(epoch from clock_timestamp()) * 10000000)::bigint + 122192928000000000) ticks
  ) of
$$;
create function @extschema@.uuid_generate_v1mc() returns uuid language sql volatile parallel safe
  as $$ select @extschema@.uuid_generate_v1() $$;

create function @extschema@.uuid_generate_v5(namespace uuid, name text) returns uuid
language plpgsql immutable strict parallel safe as $$
:sha1_declarations
  hash bytea;
begin
  message := uuid_send(namespace) || convert_to(name, 'utf8');
:sha1_body
  hash := substr(digest, 1, 16);
  return encode(
    set_byte(set_byte(hash, 6, get_byte(hash, 6) & 15 | 80), 8, get_byte(hash, 8) & 63 | 128), 'hex'
  )::uuid;
end
$$;
