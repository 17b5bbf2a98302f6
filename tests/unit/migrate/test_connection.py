"""Addresses in output: whatever the form, no password."""

from __future__ import annotations

import pytest

from toolkit.errors import UsageError
from toolkit.postgres.connection import connect, redact


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        (
            "postgresql://me:s3cret@db.example.org:5432/app?sslmode=require",
            "postgresql://me@db.example.org:5432/app?sslmode=require",
        ),
        ("postgres://me:s3%40cret@[::1]:5432/app", "postgres://me@[::1]:5432/app"),
        ("postgresql://me@/app?host=/run/pg&password=s3cret", "postgresql://me@/app?host=/run/pg"),
        ("postgresql://me:s3cret@db:notaport/app", "<unreadable address>"),
        ("host=db password=s3cret", "<unreadable address>"),
    ],
)
def test_redact(dsn: str, shown: str) -> None:
    assert redact(dsn) == shown


@pytest.mark.parametrize(
    ("dsn", "what"),
    [
        ("mysql://me:s3cret@db/app", "cannot be read"),
        ("postgresql://me:s3cret@db/app?sslmode=bogus", "sslmode.* parameter must be one of"),
    ],
)
async def test_addresses_that_cannot_serve_are_refused_before_connecting(dsn: str, what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        await connect(dsn)
    assert "s3cret" not in str(caught.value)
