"""Databases to try things on: like a new Supabase project, like a schema file, or copied from another database."""
