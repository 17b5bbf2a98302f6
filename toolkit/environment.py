"""The environment variables that say where a target is."""

from __future__ import annotations

# What each setting is for and where a person finds it; the words of every "missing" error.
HOW_TO_GET: dict[str, str] = {
    "DATABASE_URL": "Supabase dashboard → Connect → Session pooler or Direct connection (postgresql://…, port 5432)",
    "SUPABASE_URL": "Supabase dashboard → Project Settings → API → Project URL (https://<ref>.supabase.co)",
    "SUPABASE_ANON_KEY": "Supabase dashboard → Project Settings → API keys → anon (public)",
    "SUPABASE_SERVICE_ROLE_KEY": "Supabase dashboard → Project Settings → API keys → service_role (secret)",
    "SUPABASE_JWT_SECRET": "Supabase dashboard → Project Settings → JWT keys → legacy JWT secret",
    "SUPABASE_USERS_FILE": "a TOML file of yours that lists test users of the project ([[user]], email, password)",
    "SUPABASE_JWKS_URL": "https://<ref>.supabase.co/auth/v1/.well-known/jwks.json",
    "API_URL": "the address of the article generation API, without /api (https://api.example.org)",
}
