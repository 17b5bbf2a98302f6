"""What a Supabase project owns itself, beside what its users make."""

from __future__ import annotations

from pathlib import Path

BOOTSTRAP = Path(__file__).with_name("bootstrap.sql")
"""What a bare database lacks of a Supabase project: its roles, `auth`, `storage`, `realtime`; can be run again."""

PLATFORM_SCHEMAS = (
    "_analytics",
    "_realtime",
    "auth",
    "cron",
    "extensions",
    "graphql",
    "graphql_public",
    "net",
    "pgbouncer",
    "pgmq",
    "pgmq_public",
    "pgsodium",
    "pgsodium_masks",
    "realtime",
    "repack",
    "storage",
    "supabase_functions",
    "tiger",
    "topology",
    "vault",
)
