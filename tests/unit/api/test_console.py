"""What the console's page is told, and what it may reach."""

from __future__ import annotations

import jwt
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from reference_server.api import console
from reference_server.settings import Settings

SECRET = "a-secret-that-is-at-least-32-bytes-long"


def settings(**values: str) -> Settings:
    return Settings(database_url="postgresql://x", _env_file=None, **values)  # type: ignore[arg-type, call-arg]


def test_without_a_project_the_page_has_a_key_of_our_own_for_anon() -> None:
    key = console.anon_key(settings(supabase_jwt_secret=SECRET))
    assert key is not None
    assert jwt.decode(key, SECRET, algorithms=["HS256"])["role"] == "anon"


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"supabase_url": "https://p.supabase.co", "supabase_anon_key": "k", "supabase_jwt_secret": SECRET}, "k"),
        ({"supabase_url": "https://p.supabase.co", "supabase_jwt_secret": SECRET}, None),
        ({"supabase_jwks_url": "https://p.supabase.co/jwks"}, None),
    ],
)
def test_a_projects_key_is_never_made_here(values: dict[str, str], key: str | None) -> None:
    assert console.anon_key(settings(**values)) == key


def test_the_page_reaches_this_server_and_the_project_only() -> None:
    app = Starlette()
    app.mount("/console", console.files(settings(supabase_url="https://p.supabase.co", supabase_jwt_secret=SECRET)))
    with TestClient(app) as client:
        page = client.get("/console/")
    assert page.status_code == 200
    assert '<div id="root">' in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'; connect-src 'self' https://p.supabase.co wss://p.supabase.co;" in policy
    assert "unsafe-eval" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
