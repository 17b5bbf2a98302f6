"""A target's settings: URLs and keys from options, the environment and `toolkit.toml`, in that order.

# toolkit.toml
migrations = "supabase/migrations"   # which folder `toolkit migrate` works with

[target]
supabase_url = "https://abc.supabase.co"
api_url = "https://api.example.org"
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from toolkit.environment import HOW_TO_GET
from toolkit.errors import UsageError

CONFIG_FILE = Path("toolkit.toml")

_OUTSIDE = frozenset({"target", "migrations"})


class TargetSettings(BaseSettings):
    """Every setting is optional here; a command states what it needs with `require_values`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_ignore_empty=True, hide_input_in_errors=True)

    database_url: SecretStr | None = None
    supabase_url: str | None = None
    supabase_anon_key: SecretStr | None = None
    supabase_service_role_key: SecretStr | None = None
    supabase_jwt_secret: SecretStr | None = None
    supabase_users_file: str | None = None
    supabase_jwks_url: str | None = None
    api_url: str | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The order of precedence: options, then the environment, then the file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, _from_file(CONFIG_FILE))

    @field_validator("supabase_url", "supabase_jwks_url", "api_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        try:
            _ = parts.port
        except ValueError:
            # Not urllib's words: what it takes for the port may be a piece of a password.
            raise ValueError("must have a port between 0 and 65535, or none") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http:// or https:// URL with a host")
        return value.rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value and urlsplit(value.get_secret_value()).scheme not in {"postgres", "postgresql"}:
            raise ValueError("must be a postgresql:// URL")
        return value

    @property
    def any_given(self) -> bool:
        """Whether any URL of a target of the user's own is set."""
        return any(getattr(self, name) is not None for name in ("database_url", "supabase_url", "api_url"))

    def value(self, name: str) -> str | None:
        """The value of a setting by its upper-case name, secrets in clear."""
        found = getattr(self, name.lower())
        return found.get_secret_value() if isinstance(found, SecretStr) else found


def load_settings(**options: str | None) -> TargetSettings:
    """Settings from `options` (lower-case names; None means not given), the environment and `toolkit.toml`.

    Raises UsageError naming the setting that is wrong, never its value.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return TargetSettings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper() if first["loc"] else "a setting"
        reason = str(first["msg"]).removeprefix("Value error, ")
        raise UsageError(
            f"{name}: {reason}.", f"Where to find it: {HOW_TO_GET.get(name, 'see toolkit --help')}"
        ) from None


def require_values(values: dict[str, str | None], *names: str) -> None:
    """Raises UsageError listing each of `names` that `values` lacks, and how to get it."""
    missing = [name for name in names if not values.get(name)]
    if not missing:
        return
    lines = "\n    ".join(f"{name}: {HOW_TO_GET[name]}" for name in missing)
    raise UsageError(
        f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set.",
        f"Set it in the environment or in {CONFIG_FILE} under [target], or leave every URL out to use --target "
        f"embedded.\n    {lines}",
    )


def read_config(path: Path) -> dict[str, Any]:
    """Everything the file says; nothing where there is none. Raises UsageError when it cannot be read."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", "Correct the file; it must be TOML in UTF-8.") from None
    known = {name.lower() for name in HOW_TO_GET}
    for key in found:
        if key not in _OUTSIDE:
            belongs = f"Write {key} under the line [target]." if key.lower() in known else "Correct or remove it."
            raise UsageError(
                f"{path}: unknown setting {key!r} outside of [target].",
                f"{belongs} Outside of [target] stand: {', '.join(sorted(_OUTSIDE - {'target'}))}.",
            )
    return found


def _from_file(path: Path) -> dict[str, Any]:
    table = read_config(path).get("target", {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: `target` is not a table.", "Write the settings under the line [target].")
    known = {name.lower() for name in HOW_TO_GET}
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key.lower() not in known:
            raise UsageError(f"{path}: unknown setting {key!r} under [target].", f"Known: {', '.join(sorted(known))}.")
        if not isinstance(value, str):
            raise UsageError(f"{path}: {key} is not a text.", "Put the value in quotes.")
        if value:
            found[key.lower()] = value
    return found
