"""A Postgres that is no Supabase project: what the generation system needs there, and what a folder would miss."""
