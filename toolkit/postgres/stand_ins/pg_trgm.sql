-- pg_trgm: the functions and operators. Indexes with gin_trgm_ops or gist_trgm_ops cannot be made.

create function @extschema@.show_trgm(text) returns text[] language sql immutable strict parallel safe as $$
  select coalesce(array_agg(distinct substr(padded, at, 3)), '{}')
  from (select '  ' || word || ' ' from regexp_split_to_table(lower($1), '[^[:alnum:]]+') word where word <> '')
    of (padded), generate_series(1, length(padded) - 2) at
$$;
create function @extschema@.similarity(text, text) returns real language sql immutable strict parallel safe as $$
  select coalesce(
    (select count(*) from (select unnest(a) intersect select unnest(b)) shared)::real
    / nullif((select count(*) from (select unnest(a) union select unnest(b)) every), 0), 0)
  from (select @extschema@.show_trgm($1), @extschema@.show_trgm($2)) of (a, b)
$$;
create function @extschema@.word_similarity(text, text) returns real language sql immutable strict parallel safe as $$
  select coalesce(
    (select count(*) from (select unnest(a) intersect select unnest(b)) shared)::real / nullif(cardinality(a), 0), 0)
  from (select @extschema@.show_trgm($1), @extschema@.show_trgm($2)) of (a, b)
$$;
create function @extschema@.strict_word_similarity(text, text) returns real
language sql immutable strict parallel safe as $$ select @extschema@.word_similarity($1, $2) $$;
create function @extschema@.show_limit() returns real language sql stable as $$ select 0.3::real $$;
create function @extschema@.set_limit(real) returns real language sql stable as $$ select $1 $$;
create function @extschema@.similarity_op(text, text) returns boolean language sql stable strict parallel safe
  as $$ select @extschema@.similarity($1, $2) >= 0.3 $$;
create function @extschema@.similarity_dist(text, text) returns real language sql immutable strict parallel safe
  as $$ select (1 - @extschema@.similarity($1, $2))::real $$;
create function @extschema@.word_similarity_op(text, text) returns boolean language sql stable strict parallel safe
  as $$ select @extschema@.word_similarity($1, $2) >= 0.6 $$;
create function @extschema@.word_similarity_commutator_op(text, text) returns boolean
language sql stable strict parallel safe as $$ select @extschema@.word_similarity($2, $1) >= 0.6 $$;
create operator @extschema@.% (leftarg = text, rightarg = text, procedure = @extschema@.similarity_op, commutator = %);
create operator @extschema@.<-> (
  leftarg = text, rightarg = text, procedure = @extschema@.similarity_dist, commutator = <->
);
create operator @extschema@.<% (leftarg = text, rightarg = text, procedure = @extschema@.word_similarity_op);
create operator @extschema@.%> (
  leftarg = text, rightarg = text, procedure = @extschema@.word_similarity_commutator_op, commutator = <%
);
