-- pgcrypto: random bytes, digests and HMACs are right. crypt, pgp_* and encrypt have the right shape and can be
-- verified and read back with the same key here, and nowhere else: they protect nothing.

create function @extschema@.gen_random_uuid() returns uuid language sql volatile parallel safe
  as $$ select pg_catalog.gen_random_uuid() $$;

create function @extschema@.gen_random_bytes(count integer) returns bytea
language plpgsql volatile strict parallel safe as $$
declare
  made bytea := '';
begin
  if count not between 1 and 1024 then
    raise 'Length not in range' using errcode = '39000';
  end if;
  while length(made) < count loop
    made := made || sha256(
      uuid_send(pg_catalog.gen_random_uuid()) || uuid_send(pg_catalog.gen_random_uuid())
        || uuid_send(pg_catalog.gen_random_uuid())
    );
  end loop;
  return substr(made, 1, count);
end
$$;

create function @extschema@.toolkit_sha1(data bytea) returns bytea
language plpgsql immutable strict parallel safe as $$
:sha1_declarations
begin
  message := data;
:sha1_body
  return digest;
end
$$;

create function @extschema@.digest(data bytea, type text) returns bytea
language plpgsql immutable strict parallel safe as $$
begin
  return case lower(type)
    when 'md5' then decode(md5(data), 'hex')
    when 'sha1' then @extschema@.toolkit_sha1(data)
    when 'sha224' then sha224(data)
    when 'sha256' then sha256(data)
    when 'sha384' then sha384(data)
    when 'sha512' then sha512(data)
    else @extschema@.toolkit_refuse('Cannot use "' || type || '": No such hash algorithm')
  end;
end
$$;
create function @extschema@.toolkit_refuse(message text) returns bytea language plpgsql as $$
begin
  raise '%', message using errcode = '22023';
end
$$;
create function @extschema@.digest(data text, type text) returns bytea language sql immutable strict parallel safe
  as $$ select @extschema@.digest(convert_to(data, 'utf8'), type) $$;

create function @extschema@.hmac(data bytea, key bytea, type text) returns bytea
language plpgsql immutable strict parallel safe as $$
declare
  size constant integer := case when lower(type) in ('sha384', 'sha512') then 128 else 64 end;
  inner_key bytea;
  outer_key bytea;
begin
  if length(key) > size then
    key := @extschema@.digest(key, type);
  end if;
  inner_key := key || decode(repeat('00', size - length(key)), 'hex');
  outer_key := inner_key;
  for i in 0 .. size - 1 loop
    outer_key := set_byte(outer_key, i, get_byte(inner_key, i) # 92);
    inner_key := set_byte(inner_key, i, get_byte(inner_key, i) # 54);
  end loop;
  return @extschema@.digest(outer_key || @extschema@.digest(inner_key || data, type), type);
end
$$;
create function @extschema@.hmac(data text, key text, type text) returns bytea
language sql immutable strict parallel safe
  as $$ select @extschema@.hmac(convert_to(data, 'utf8'), convert_to(key, 'utf8'), type) $$;

create function @extschema@.gen_salt(type text, iterations integer) returns text
language plpgsql volatile strict parallel safe as $$
declare
  letters constant text := translate(encode(@extschema@.gen_random_bytes(24), 'base64'), '+', '.');
begin
  return case lower(type)
    when 'bf' then '$2a$' || lpad(iterations::text, 2, '0') || '$' || substr(letters, 1, 22)
    when 'md5' then '$1$' || substr(letters, 1, 8)
    when 'xdes' then '_' || substr(letters, 1, 8)
    when 'des' then substr(letters, 1, 2)
    else convert_from(@extschema@.toolkit_refuse('gen_salt: Unknown salt algorithm'), 'utf8')
  end;
end
$$;
create function @extschema@.gen_salt(type text) returns text language sql volatile strict parallel safe
  as $$ select @extschema@.gen_salt(type, 6) $$;
-- The salt stays in front, so that crypt(password, stored) = stored for the right password alone.
create function @extschema@.crypt(password text, salt text) returns text
language plpgsql immutable strict parallel safe as $$
declare
  kept constant text := case
    when salt like '$2_$__$%' then substr(salt, 1, 29)
    when salt like '$1$%' then substr(salt, 1, 11)
    when salt like '\_%' then substr(salt, 1, 9)
    else substr(salt, 1, 2)
  end;
  long constant integer := case when salt like '$2_$__$%' then 31 when salt like '$1$%' then 22 else 11 end;
begin
  if length(kept) < 2 then
    perform @extschema@.toolkit_refuse('invalid salt');
  end if;
  return kept || case when salt like '$1$%' then '$' else '' end
    || substr(translate(encode(sha256(convert_to(kept || password, 'utf8')), 'base64'), '+', '.'), 1, long);
end
$$;

create function @extschema@.toolkit_hide(data bytea, key bytea) returns bytea
language sql immutable strict parallel safe as $$ select sha256(key) || data $$;
create function @extschema@.toolkit_show(data bytea, key bytea) returns bytea
language plpgsql immutable strict parallel safe as $$
begin
  if substr(data, 1, 32) <> sha256(key) then
    raise 'Wrong key or corrupt data' using errcode = '39000';
  end if;
  return substr(data, 33);
end
$$;
create function @extschema@.encrypt(data bytea, key bytea, type text) returns bytea
language sql immutable strict parallel safe as $$ select @extschema@.toolkit_hide(data, key) $$;
create function @extschema@.decrypt(data bytea, key bytea, type text) returns bytea
language sql immutable strict parallel safe as $$ select @extschema@.toolkit_show(data, key) $$;
create function @extschema@.encrypt_iv(data bytea, key bytea, iv bytea, type text) returns bytea
language sql immutable strict parallel safe as $$ select @extschema@.toolkit_hide(data, key || iv) $$;
create function @extschema@.decrypt_iv(data bytea, key bytea, iv bytea, type text) returns bytea
language sql immutable strict parallel safe as $$ select @extschema@.toolkit_show(data, key || iv) $$;
create function @extschema@.pgp_sym_encrypt(data text, psw text, options text default '') returns bytea
language sql volatile strict parallel safe
  as $$ select @extschema@.toolkit_hide(convert_to(data, 'utf8'), convert_to(psw, 'utf8')) $$;
create function @extschema@.pgp_sym_decrypt(msg bytea, psw text, options text default '') returns text
language sql immutable strict parallel safe
  as $$ select convert_from(@extschema@.toolkit_show(msg, convert_to(psw, 'utf8')), 'utf8') $$;
create function @extschema@.pgp_sym_encrypt_bytea(data bytea, psw text, options text default '') returns bytea
language sql volatile strict parallel safe as $$ select @extschema@.toolkit_hide(data, convert_to(psw, 'utf8')) $$;
create function @extschema@.pgp_sym_decrypt_bytea(msg bytea, psw text, options text default '') returns bytea
language sql immutable strict parallel safe as $$ select @extschema@.toolkit_show(msg, convert_to(psw, 'utf8')) $$;
create function @extschema@.armor(data bytea) returns text language sql immutable strict parallel safe as $$
  select E'-----BEGIN PGP MESSAGE-----\n\n' || encode(data, 'base64') || E'\n-----END PGP MESSAGE-----\n'
$$;
create function @extschema@.dearmor(data text) returns bytea language sql immutable strict parallel safe as $$
  select decode(regexp_replace(data, '-----(BEGIN|END) PGP MESSAGE-----', '', 'g'), 'base64')
$$;
