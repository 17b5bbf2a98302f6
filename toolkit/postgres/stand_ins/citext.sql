-- citext: the type, compared as lower-case text.

create type @extschema@.citext;
create function @extschema@.citextin(cstring) returns @extschema@.citext
language internal immutable strict parallel safe as 'textin';
create function @extschema@.citextout(@extschema@.citext) returns cstring
language internal immutable strict parallel safe as 'textout';
create function @extschema@.citextrecv(internal) returns @extschema@.citext
language internal stable strict parallel safe as 'textrecv';
create function @extschema@.citextsend(@extschema@.citext) returns bytea
language internal stable strict parallel safe as 'textsend';
create type @extschema@.citext (
  input = @extschema@.citextin, output = @extschema@.citextout, receive = @extschema@.citextrecv,
  send = @extschema@.citextsend, internallength = variable, storage = extended, category = 'S', preferred = false,
  collatable = true
);
create function @extschema@.citext(character) returns @extschema@.citext
language internal immutable strict parallel safe as 'rtrim1';
create function @extschema@.citext(boolean) returns @extschema@.citext
language internal immutable strict parallel safe as 'booltext';
create function @extschema@.citext(inet) returns @extschema@.citext
language internal immutable strict parallel safe as 'network_show';
create cast (@extschema@.citext as text) without function as implicit;
create cast (@extschema@.citext as varchar) without function as implicit;
create cast (@extschema@.citext as bpchar) without function as assignment;
create cast (text as @extschema@.citext) without function as assignment;
create cast (varchar as @extschema@.citext) without function as assignment;
create cast (bpchar as @extschema@.citext) with function @extschema@.citext(character) as assignment;
create cast (boolean as @extschema@.citext) with function @extschema@.citext(boolean) as assignment;
create cast (inet as @extschema@.citext) with function @extschema@.citext(inet) as assignment;

create function @extschema@.citext_cmp(@extschema@.citext, @extschema@.citext) returns integer
language sql immutable strict parallel safe as $$ select bttextcmp(lower($1::text), lower($2::text)) $$;
create function @extschema@.citext_hash(@extschema@.citext) returns integer
language sql immutable strict parallel safe as $$ select hashtext(lower($1::text)) $$;
create function @extschema@.citext_eq(@extschema@.citext, @extschema@.citext) returns boolean
language sql immutable strict parallel safe as $$ select lower($1::text) = lower($2::text) $$;
create function @extschema@.citext_ne(@extschema@.citext, @extschema@.citext) returns boolean
language sql immutable strict parallel safe as $$ select lower($1::text) <> lower($2::text) $$;
create function @extschema@.citext_lt(@extschema@.citext, @extschema@.citext) returns boolean
language sql immutable strict parallel safe as $$ select lower($1::text) < lower($2::text) $$;
create function @extschema@.citext_le(@extschema@.citext, @extschema@.citext) returns boolean
language sql immutable strict parallel safe as $$ select lower($1::text) <= lower($2::text) $$;
create function @extschema@.citext_gt(@extschema@.citext, @extschema@.citext) returns boolean
language sql immutable strict parallel safe as $$ select lower($1::text) > lower($2::text) $$;
create function @extschema@.citext_ge(@extschema@.citext, @extschema@.citext) returns boolean
language sql immutable strict parallel safe as $$ select lower($1::text) >= lower($2::text) $$;
create operator @extschema@.= (
  leftarg = @extschema@.citext, rightarg = @extschema@.citext, procedure = @extschema@.citext_eq,
  commutator = =, negator = <>, restrict = eqsel, join = eqjoinsel, hashes, merges
);
create operator @extschema@.<> (
  leftarg = @extschema@.citext, rightarg = @extschema@.citext, procedure = @extschema@.citext_ne,
  commutator = <>, negator = =, restrict = neqsel, join = neqjoinsel
);
create operator @extschema@.< (
  leftarg = @extschema@.citext, rightarg = @extschema@.citext, procedure = @extschema@.citext_lt,
  commutator = >, negator = >=, restrict = scalarltsel, join = scalarltjoinsel
);
create operator @extschema@.<= (
  leftarg = @extschema@.citext, rightarg = @extschema@.citext, procedure = @extschema@.citext_le,
  commutator = >=, negator = >, restrict = scalarlesel, join = scalarlejoinsel
);
create operator @extschema@.> (
  leftarg = @extschema@.citext, rightarg = @extschema@.citext, procedure = @extschema@.citext_gt,
  commutator = <, negator = <=, restrict = scalargtsel, join = scalargtjoinsel
);
create operator @extschema@.>= (
  leftarg = @extschema@.citext, rightarg = @extschema@.citext, procedure = @extschema@.citext_ge,
  commutator = <=, negator = <, restrict = scalargesel, join = scalargejoinsel
);
create operator class @extschema@.citext_ops default for type @extschema@.citext using btree as
  operator 1 @extschema@.< (@extschema@.citext, @extschema@.citext),
  operator 2 @extschema@.<= (@extschema@.citext, @extschema@.citext),
  operator 3 @extschema@.= (@extschema@.citext, @extschema@.citext),
  operator 4 @extschema@.>= (@extschema@.citext, @extschema@.citext),
  operator 5 @extschema@.> (@extschema@.citext, @extschema@.citext),
  function 1 @extschema@.citext_cmp(@extschema@.citext, @extschema@.citext);
create operator class @extschema@.citext_ops default for type @extschema@.citext using hash as
  operator 1 @extschema@.= (@extschema@.citext, @extschema@.citext),
  function 1 @extschema@.citext_hash(@extschema@.citext);
create function @extschema@.citext_regexeq(@extschema@.citext, @extschema@.citext) returns boolean
language sql immutable strict parallel safe as $$ select $1::text ~* $2::text $$;
create operator @extschema@.~ (leftarg = @extschema@.citext, rightarg = @extschema@.citext, procedure = @extschema@.citext_regexeq);
create function @extschema@.citext_regexeq(@extschema@.citext, text) returns boolean
language sql immutable strict parallel safe as $$ select $1::text ~* $2::text $$;
create operator @extschema@.~ (leftarg = @extschema@.citext, rightarg = text, procedure = @extschema@.citext_regexeq);
create function @extschema@.citext_iregexeq(@extschema@.citext, @extschema@.citext) returns boolean
language sql immutable strict parallel safe as $$ select $1::text ~* $2::text $$;
create operator @extschema@.~* (leftarg = @extschema@.citext, rightarg = @extschema@.citext, procedure = @extschema@.citext_iregexeq);
create function @extschema@.citext_iregexeq(@extschema@.citext, text) returns boolean
language sql immutable strict parallel safe as $$ select $1::text ~* $2::text $$;
create operator @extschema@.~* (leftarg = @extschema@.citext, rightarg = text, procedure = @extschema@.citext_iregexeq);
create function @extschema@.citext_regexne(@extschema@.citext, @extschema@.citext) returns boolean
language sql immutable strict parallel safe as $$ select $1::text !~* $2::text $$;
create operator @extschema@.!~ (leftarg = @extschema@.citext, rightarg = @extschema@.citext, procedure = @extschema@.citext_regexne);
create function @extschema@.citext_regexne(@extschema@.citext, text) returns boolean
language sql immutable strict parallel safe as $$ select $1::text !~* $2::text $$;
create operator @extschema@.!~ (leftarg = @extschema@.citext, rightarg = text, procedure = @extschema@.citext_regexne);
create function @extschema@.citext_iregexne(@extschema@.citext, @extschema@.citext) returns boolean
language sql immutable strict parallel safe as $$ select $1::text !~* $2::text $$;
create operator @extschema@.!~* (leftarg = @extschema@.citext, rightarg = @extschema@.citext, procedure = @extschema@.citext_iregexne);
create function @extschema@.citext_iregexne(@extschema@.citext, text) returns boolean
language sql immutable strict parallel safe as $$ select $1::text !~* $2::text $$;
create operator @extschema@.!~* (leftarg = @extschema@.citext, rightarg = text, procedure = @extschema@.citext_iregexne);
create function @extschema@.citext_like(@extschema@.citext, @extschema@.citext) returns boolean
language sql immutable strict parallel safe as $$ select $1::text ilike $2::text $$;
create operator @extschema@.~~ (leftarg = @extschema@.citext, rightarg = @extschema@.citext, procedure = @extschema@.citext_like);
create function @extschema@.citext_like(@extschema@.citext, text) returns boolean
language sql immutable strict parallel safe as $$ select $1::text ilike $2::text $$;
create operator @extschema@.~~ (leftarg = @extschema@.citext, rightarg = text, procedure = @extschema@.citext_like);
create function @extschema@.citext_ilike(@extschema@.citext, @extschema@.citext) returns boolean
language sql immutable strict parallel safe as $$ select $1::text ilike $2::text $$;
create operator @extschema@.~~* (leftarg = @extschema@.citext, rightarg = @extschema@.citext, procedure = @extschema@.citext_ilike);
create function @extschema@.citext_ilike(@extschema@.citext, text) returns boolean
language sql immutable strict parallel safe as $$ select $1::text ilike $2::text $$;
create operator @extschema@.~~* (leftarg = @extschema@.citext, rightarg = text, procedure = @extschema@.citext_ilike);
create function @extschema@.citext_nlike(@extschema@.citext, @extschema@.citext) returns boolean
language sql immutable strict parallel safe as $$ select $1::text not ilike $2::text $$;
create operator @extschema@.!~~ (leftarg = @extschema@.citext, rightarg = @extschema@.citext, procedure = @extschema@.citext_nlike);
create function @extschema@.citext_nlike(@extschema@.citext, text) returns boolean
language sql immutable strict parallel safe as $$ select $1::text not ilike $2::text $$;
create operator @extschema@.!~~ (leftarg = @extschema@.citext, rightarg = text, procedure = @extschema@.citext_nlike);
create function @extschema@.citext_nilike(@extschema@.citext, @extschema@.citext) returns boolean
language sql immutable strict parallel safe as $$ select $1::text not ilike $2::text $$;
create operator @extschema@.!~~* (leftarg = @extschema@.citext, rightarg = @extschema@.citext, procedure = @extschema@.citext_nilike);
create function @extschema@.citext_nilike(@extschema@.citext, text) returns boolean
language sql immutable strict parallel safe as $$ select $1::text not ilike $2::text $$;
create operator @extschema@.!~~* (leftarg = @extschema@.citext, rightarg = text, procedure = @extschema@.citext_nilike);
create function @extschema@.citext_smaller(@extschema@.citext, @extschema@.citext) returns @extschema@.citext
language sql immutable strict parallel safe as $$
  select case when lower($1::text) <= lower($2::text) then $1 else $2 end
$$;
create function @extschema@.citext_larger(@extschema@.citext, @extschema@.citext) returns @extschema@.citext
language sql immutable strict parallel safe as $$
  select case when lower($1::text) >= lower($2::text) then $1 else $2 end
$$;
create aggregate @extschema@.min(@extschema@.citext) (
  sfunc = @extschema@.citext_smaller, stype = @extschema@.citext, sortop = operator(@extschema@.<), parallel = safe
);
create aggregate @extschema@.max(@extschema@.citext) (
  sfunc = @extschema@.citext_larger, stype = @extschema@.citext, sortop = operator(@extschema@.>), parallel = safe
);
