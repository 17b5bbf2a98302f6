-- unaccent: the marks of letters go; there is no dictionary to change.

create function @extschema@.unaccent(text) returns text language sql stable strict parallel safe as $$
  select regexp_replace(
    translate(normalize($1, nfd), 'ßøØłŁđĐæÆœŒı', 'soOlLdDaAoOi'), '[\u0300-\u036f]', '', 'g')
$$;
