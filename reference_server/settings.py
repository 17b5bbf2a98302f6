"""Settings of one server process, from the environment and the command line.

A wrong value is refused at start with one instruction for each variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from reference_server.realtime.protocol.limits import Limits
from toolkit.contract.prompts import PROMPT_TIMEOUT_MINUTES
from toolkit.contract.requests import Transport

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Rate = Annotated[float, Field(gt=0, le=1_000_000)]
Bytes = Annotated[int, Field(ge=1024, le=67_108_864)]
Share = Annotated[float, Field(gt=0, le=1)]
_LIMITS = Limits()
_ORIGIN = re.compile(r"https?://[^\s/?#@,]+")


class Role(StrEnum):
    """What a process does; `all` on the command line means every one of them."""

    API = "api"
    WORKER = "worker"
    REALTIME = "realtime"


class SettingsRefused(Exception):
    """The settings cannot be used; the message holds one instruction a line."""


class Settings(BaseSettings):
    """Names of the fields in upper case are the names of the variables."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    database_url: SecretStr
    database_pool_size: int = Field(10, ge=2, le=200)
    database_deadline_seconds: Seconds = 10.0

    supabase_jwt_secret: SecretStr | None = None
    supabase_jwks_url: str | None = None

    console_enabled: bool = True
    supabase_url: str | None = None
    supabase_anon_key: str | None = None

    generation_transport: Transport = Transport.REALTIME

    writer_seed: int = 0
    writer_step_latency_ms: float = Field(0.0, ge=0, le=600_000)
    writer_failure_rate: float = Field(0.0, ge=0, le=1)
    writer_sections: int | None = Field(None, ge=1, le=50)
    openai_base_url: str | None = None
    openai_api_key: SecretStr | None = None
    openai_model: str | None = None

    task_lease_seconds: Seconds = 30.0
    task_heartbeat_seconds: Seconds | None = None
    task_poll_seconds: Seconds = 5.0
    worker_concurrency: int = Field(4, ge=1, le=256)
    prompt_timeout_minutes: int = Field(PROMPT_TIMEOUT_MINUTES, ge=1, le=10_080)
    retry_base_seconds: int = Field(60, ge=0, le=3600)

    request_deadline_seconds: Seconds = 30.0
    request_max_bytes: int = Field(1_048_576, ge=1024, le=67_108_864)
    startup_deadline_seconds: Seconds = 30.0
    shutdown_grace_seconds: Seconds = 8.0
    schema_poll_seconds: Seconds = 2.0

    # Each bounds one server process; the defaults are Supabase's documented ones, see realtime/protocol/limits.py.
    realtime_max_users: Count = _LIMITS.users
    realtime_max_channels_per_socket: Count = _LIMITS.channels_per_socket
    realtime_max_bindings_per_channel: Count = _LIMITS.bindings_per_channel
    realtime_max_conditions_per_channel: Count = _LIMITS.conditions_per_channel
    realtime_max_conditions_per_socket: Count = _LIMITS.conditions_per_socket
    realtime_max_joins_per_second: Rate = _LIMITS.joins_per_second
    realtime_max_events_per_second: Rate = _LIMITS.events_per_second
    realtime_max_user_share: Share = _LIMITS.user_share
    realtime_max_address_share: Share = _LIMITS.address_share
    realtime_max_presence_calls: Count = _LIMITS.presence_calls
    realtime_max_broadcast_bytes: Bytes = _LIMITS.broadcast_bytes
    realtime_max_frame_bytes: Bytes = _LIMITS.frame_bytes
    realtime_max_queue_frames: Count = _LIMITS.queue_frames
    realtime_max_queue_bytes: Bytes = _LIMITS.queue_bytes

    realtime_further_roles: str = Field("", description="Comma list of roles that tokens may claim beside the three.")
    realtime_private_only: bool = False
    realtime_owner_database_url: SecretStr | None = None
    realtime_message_retention_hours: float = Field(72, ge=1, le=8_760)

    cors_origins: str = Field("", description="Comma list of origins whose pages may call the API; * for any.")

    legacy_heartbeat_seconds: Seconds = 30.0
    legacy_idle_seconds: Seconds = 600.0

    log_level: str = "INFO"

    @field_validator("database_url", "realtime_owner_database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError(
                "must start with postgresql:// , for example postgresql://user:password@host:5432/postgres"
            )
        return value

    @field_validator("supabase_jwks_url", "supabase_url", "openai_base_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must be an http:// or https:// address")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for origin in _listed(value):
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is not an origin; use scheme and host, for example https://app.example.com , or *"
                )
        return value

    @field_validator("log_level")
    @classmethod
    def _is_level(cls, value: str) -> str:
        level = value.upper()
        if level not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
            raise ValueError("must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL")
        return level

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.supabase_jwt_secret is None and self.supabase_jwks_url is None:
            raise ValueError(
                "SUPABASE_JWT_SECRET: not set, and SUPABASE_JWKS_URL neither; set one, or no token can be verified"
            )
        # A lease must survive two lost heartbeats, or a busy worker is presumed dead.
        if self.heartbeat_seconds > self.task_lease_seconds / 3 + 1e-9:
            raise ValueError(
                f"TASK_HEARTBEAT_SECONDS: {self.heartbeat_seconds:g} is more than a third of TASK_LEASE_SECONDS "
                f"({self.task_lease_seconds:g}); set it to {self.task_lease_seconds / 3:g} or less, or raise the lease"
            )
        if (self.openai_base_url is None) != (self.openai_model is None):
            raise ValueError(
                "OPENAI_BASE_URL: the LLM writer needs OPENAI_BASE_URL and OPENAI_MODEL; set both or neither"
            )
        return self

    @property
    def legacy_silence_seconds(self) -> float:
        """After so many seconds without a sign of life a legacy generation counts as ended with its server."""
        return self.legacy_heartbeat_seconds * 3

    @property
    def dsn(self) -> str:
        return self.database_url.get_secret_value()

    @property
    def realtime_owner_dsn(self) -> str | None:
        """A connection of the role that owns `realtime.messages`, where `dsn` is another's."""
        url = self.realtime_owner_database_url
        return None if url is None else url.get_secret_value()

    @property
    def jwt_secret(self) -> str | None:
        return None if self.supabase_jwt_secret is None else self.supabase_jwt_secret.get_secret_value()

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Origins whose pages may call the API; empty for none."""
        return _listed(self.cors_origins)

    @property
    def further_roles(self) -> tuple[str, ...]:
        """Roles that Realtime tokens may claim beside anon, authenticated and service_role."""
        return _listed(self.realtime_further_roles)

    @property
    def realtime_limits(self) -> Limits:
        prefix = "realtime_max_"
        names = [name for name in type(self).model_fields if name.startswith(prefix)]
        return Limits(**{name.removeprefix(prefix): getattr(self, name) for name in names})

    @property
    def heartbeat_seconds(self) -> float:
        """A third of the lease unless TASK_HEARTBEAT_SECONDS says otherwise."""
        return self.task_lease_seconds / 3 if self.task_heartbeat_seconds is None else self.task_heartbeat_seconds


def _listed(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def load_settings(values: Mapping[str, Any] | None = None) -> Settings:
    """Settings from the environment, `values` first. Raises SettingsRefused."""
    try:
        return Settings(**(values or {}))
    except ValidationError as error:
        raise SettingsRefused("\n".join(_instruction(problem) for problem in error.errors())) from None


def parse_roles(text: str) -> frozenset[Role]:
    """Roles of a comma list such as `api,worker`; `all` is every role. Raises SettingsRefused."""
    names = set(_listed(text))
    if "all" in names:
        return frozenset(Role)
    unknown = names - {role.value for role in Role}
    if unknown or not names:
        wrong = ", ".join(sorted(unknown)) or "nothing"
        raise SettingsRefused(
            f"--role: {wrong} is not a role; use all, or some of {', '.join(Role)}, separated by commas"
        )
    return frozenset(Role(name) for name in names)


def _instruction(problem: Any) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return str(message)
    variable = str(problem["loc"][0]).upper()
    if problem["type"] == "missing":
        return f"{variable}: not set; set it to {_EXAMPLES.get(variable, 'a value')}"
    return f"{variable}: {message[:1].lower()}{message[1:]}"


_EXAMPLES = {"DATABASE_URL": "the database, for example postgresql://user:password@host:5432/postgres"}
