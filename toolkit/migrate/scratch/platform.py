"""What a Supabase project owns itself, beside what its users make."""

from __future__ import annotations

from pathlib import Path

BOOTSTRAP = Path(__file__).with_name("bootstrap.sql")
"""What a bare database lacks of a Supabase project: its roles, `auth`, `storage`, `realtime`; can be run again."""
