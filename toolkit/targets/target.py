"""The target: addresses and keys of a system to work on, whoever runs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from toolkit.errors import UsageError
from toolkit.redact import redact
from toolkit.targets.settings import TargetSettings, require_values
from toolkit.tokens import mint

Kind = Literal["embedded", "external"]


@dataclass(frozen=True)
class Target:
    """`supabase_url` is the base under which `/realtime/v1` lies; `api_url` the one under which `/api/articles` lies.

    Secrets are kept out of `repr`.
    """

    kind: Kind
    database_url: str | None = field(default=None, repr=False)
    api_url: str | None = None
    supabase_url: str | None = None
    anon_key: str | None = field(default=None, repr=False)
    service_role_key: str | None = field(default=None, repr=False)
    jwt_secret: str | None = field(default=None, repr=False)
    jwks_url: str | None = None
    users_file: str | None = None

    @classmethod
    def from_settings(cls, settings: TargetSettings) -> Target:
        """The external target that the settings describe."""
        return cls(
            kind="external",
            database_url=settings.value("DATABASE_URL"),
            api_url=settings.value("API_URL"),
            supabase_url=settings.value("SUPABASE_URL"),
            anon_key=settings.value("SUPABASE_ANON_KEY"),
            service_role_key=settings.value("SUPABASE_SERVICE_ROLE_KEY"),
            jwt_secret=settings.value("SUPABASE_JWT_SECRET"),
            jwks_url=settings.value("SUPABASE_JWKS_URL"),
            users_file=settings.value("SUPABASE_USERS_FILE"),
        )

    def require(self, *names: str) -> Target:
        """The target itself, if it has every setting of `names` (`"DATABASE_URL"`, …).

        Raises UsageError naming what is missing and how to get it.
        """
        require_values(self._values(), *names)
        return self

    def get(self, name: str) -> str:
        """The setting called `name`. Raises UsageError when it is missing."""
        self.require(name)
        value = self._values()[name]
        assert value is not None
        return value

    def user_token(self, sub: str, role: str = "authenticated", ttl_s: int = 3600, **claims: object) -> str:
        """A token for user `sub` of this target, valid for `ttl_s` seconds. Raises UsageError without a JWT secret."""
        return mint(self.get("SUPABASE_JWT_SECRET"), sub=sub, role=role, ttl_s=ttl_s, **claims)

    def environment(self) -> dict[str, str]:
        """The settings that this target has, by the names of environment variables, keys and secrets included."""
        return {name: value for name, value in self._values().items() if value}

    def describe(self) -> str:
        """One line for reports and prompts; never a secret."""
        if self.kind == "embedded":
            return f"embedded ({self.api_url})" if self.api_url else "embedded"
        places = [redact(place) for place in (self.api_url, self.supabase_url, self.database_url) if place]
        return "external (" + ", ".join(dict.fromkeys(places)) + ")"

    def redact(self, text: str) -> str:
        """`text` without this target's secrets."""
        return redact(text, self.anon_key, self.service_role_key, self.jwt_secret)

    def _values(self) -> dict[str, str | None]:
        return {
            "DATABASE_URL": self.database_url,
            "API_URL": self.api_url,
            "SUPABASE_URL": self.supabase_url,
            "SUPABASE_ANON_KEY": self.anon_key,
            "SUPABASE_SERVICE_ROLE_KEY": self.service_role_key,
            "SUPABASE_JWT_SECRET": self.jwt_secret,
            "SUPABASE_JWKS_URL": self.jwks_url,
            "SUPABASE_USERS_FILE": self.users_file,
        }


def refuse_change(target: Target, what: str) -> UsageError:
    """The error for a change to a target that is not ours without confirmation."""
    return UsageError(
        f"{what} would change data on {target.describe()}, and nobody confirmed it.",
        "Run it again with --yes, or from a terminal where it can ask.",
    )
