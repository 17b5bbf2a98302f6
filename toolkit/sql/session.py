"""What a session of the tools needs, whatever the database or the role has as its defaults.

What changes the meaning of a migration is left as it is there: search_path, time zone, forms of values. Statements
whose answers depend on those set them for themselves.

Deadlines are the caller's, who also says what ended. The lexer reads strings as the standard has them. Read only is
overridden as a default of the database or the role, and stands as one of the whole server: it is how an operator, or
Supabase when the disk is nearly full, stops all writing.
"""

from __future__ import annotations

SET_UP = """
    set default_transaction_isolation = 'read committed';
    set statement_timeout = 0;
    set lock_timeout = 0;
    set idle_in_transaction_session_timeout = 0;
    set idle_session_timeout = 0;
    set standard_conforming_strings = on;
    select pg_catalog.set_config('transaction_timeout', '0', false)
    where pg_catalog.current_setting('transaction_timeout', true) <> '0';
    select pg_catalog.set_config('default_transaction_read_only', 'off', false)
    where pg_catalog.current_setting('default_transaction_read_only') = 'on'
      and exists (select from pg_catalog.pg_settings where name = 'default_transaction_read_only'
                  and source in ('database', 'user', 'database user'));
"""
