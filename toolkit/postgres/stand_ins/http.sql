-- http: the signatures. Nothing is sent; each call answers as a server that is not there.

create domain @extschema@.http_method as text;
create type @extschema@.http_header as (field varchar, value varchar);
create type @extschema@.http_request as (
  method @extschema@.http_method, uri varchar, headers @extschema@.http_header[], content_type varchar, content varchar
);
create type @extschema@.http_response as (
  status integer, content_type varchar, headers @extschema@.http_header[], content varchar
);
create function @extschema@.http_header(field varchar, value varchar) returns @extschema@.http_header
language sql immutable as $$ select row(field, value)::@extschema@.http_header $$;
create function @extschema@.http(request @extschema@.http_request) returns @extschema@.http_response
language plpgsql as $$
begin
  return row(503, null, null, 'not sent')::@extschema@.http_response;
end
$$;
create function @extschema@.http_get(uri varchar) returns @extschema@.http_response language sql
  as $$ select @extschema@.http(row('GET', uri, null, null, null)::@extschema@.http_request) $$;
create function @extschema@.http_get(uri varchar, data jsonb) returns @extschema@.http_response language sql
  as $$ select @extschema@.http(row('GET', uri, null, null, null)::@extschema@.http_request) $$;
create function @extschema@.http_head(uri varchar) returns @extschema@.http_response language sql
  as $$ select @extschema@.http(row('HEAD', uri, null, null, null)::@extschema@.http_request) $$;
create function @extschema@.http_post(uri varchar, content varchar, content_type varchar)
returns @extschema@.http_response language sql
  as $$ select @extschema@.http(row('POST', uri, null, content_type, content)::@extschema@.http_request) $$;
create function @extschema@.http_post(uri varchar, data jsonb) returns @extschema@.http_response language sql
  as $$ select @extschema@.http(row('POST', uri, null, null, data::text)::@extschema@.http_request) $$;
create function @extschema@.http_put(uri varchar, content varchar, content_type varchar)
returns @extschema@.http_response language sql
  as $$ select @extschema@.http(row('PUT', uri, null, content_type, content)::@extschema@.http_request) $$;
create function @extschema@.http_patch(uri varchar, content varchar, content_type varchar)
returns @extschema@.http_response language sql
  as $$ select @extschema@.http(row('PATCH', uri, null, content_type, content)::@extschema@.http_request) $$;
create function @extschema@.http_delete(uri varchar) returns @extschema@.http_response language sql
  as $$ select @extschema@.http(row('DELETE', uri, null, null, null)::@extschema@.http_request) $$;
create function @extschema@.http_delete(uri varchar, content varchar, content_type varchar)
returns @extschema@.http_response language sql
  as $$ select @extschema@.http(row('DELETE', uri, null, content_type, content)::@extschema@.http_request) $$;
create function @extschema@.http_set_curlopt(curlopt varchar, value varchar) returns boolean language sql
  as $$ select true $$;
create function @extschema@.http_reset_curlopt() returns boolean language sql as $$ select true $$;
create function @extschema@.urlencode(string varchar) returns text language sql immutable strict as $$
  select coalesce(string_agg(
    case when letter ~ '^[A-Za-z0-9_.~-]$' then letter
      else regexp_replace(upper(encode(convert_to(letter, 'utf8'), 'hex')), '(..)', '%\1', 'g') end,
    '' order by position), '')
  from regexp_split_to_table(string, '') with ordinality of (letter, position)
$$;
