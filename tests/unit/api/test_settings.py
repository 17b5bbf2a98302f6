"""Settings: what is accepted, and that each refusal names its variable and says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reference_server.__main__ import main
from reference_server.realtime.protocol.limits import Limits
from reference_server.settings import Role, SettingsRefused, load_settings, parse_roles

GOOD = {"database_url": "postgresql://u:p@h:1/d", "supabase_jwt_secret": "hunter2"}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "SUPABASE_JWT_SECRET", "SUPABASE_JWKS_URL", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)


def test_defaults_fit_together() -> None:
    settings = load_settings(GOOD)
    assert settings.heartbeat_seconds == pytest.approx(settings.task_lease_seconds / 3)
    assert settings.generation_transport == "realtime"
    assert "hunter2" not in repr(settings)
    assert "u:p" not in repr(settings)


def test_variables_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://h/d")
    monkeypatch.setenv("SUPABASE_JWKS_URL", "https://h/jwks")
    monkeypatch.setenv("GENERATION_TRANSPORT", "both")
    monkeypatch.setenv("WRITER_SECTIONS", "")
    settings = load_settings()
    assert (settings.generation_transport, settings.jwt_secret, settings.writer_sections) == ("both", None, None)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"database_url": "mysql://x"}, "DATABASE_URL: must start with postgresql://"),
        ({"supabase_jwt_secret": None}, "SUPABASE_JWT_SECRET: not set"),
        ({"supabase_jwks_url": "jwks"}, "SUPABASE_JWKS_URL: must be an http"),
        ({"generation_transport": "pigeon"}, "GENERATION_TRANSPORT: input should be 'websocket', 'both' or 'realtime'"),
        ({"task_heartbeat_seconds": 10.1}, "TASK_HEARTBEAT_SECONDS: 10.1 is more than a third of TASK_LEASE_SECONDS"),
        ({"task_lease_seconds": 0}, "TASK_LEASE_SECONDS: "),
        ({"worker_concurrency": "many"}, "WORKER_CONCURRENCY: "),
        ({"writer_failure_rate": 1.5}, "WRITER_FAILURE_RATE: "),
        (
            {"cors_origins": "https://a.example, app.example.com/x"},
            "CORS_ORIGINS: 'app.example.com/x' is not an origin",
        ),
        ({"realtime_max_joins_per_second": 0}, "REALTIME_MAX_JOINS_PER_SECOND: "),
        ({"realtime_max_frame_bytes": 1}, "REALTIME_MAX_FRAME_BYTES: "),
        ({"log_level": "loud"}, "LOG_LEVEL: must be one of"),
        ({"openai_base_url": "http://h"}, "OPENAI_BASE_URL: the LLM writer needs OPENAI_BASE_URL and OPENAI_MODEL"),
    ],
)
def test_a_wrong_value_is_an_instruction(values: dict, said: str) -> None:
    with pytest.raises(SettingsRefused) as refusal:
        load_settings(GOOD | values)
    assert said in str(refusal.value)
    assert "u:p" not in str(refusal.value)


def test_every_missing_variable_is_named() -> None:
    with pytest.raises(SettingsRefused, match=r"DATABASE_URL: not set; set it to the database"):
        load_settings({})


def test_roles() -> None:
    assert parse_roles("all") == frozenset(Role)
    assert parse_roles(" api, worker ") == {Role.API, Role.WORKER}
    for wrong in ("", ",", "api,boss"):
        with pytest.raises(SettingsRefused, match="is not a role"):
            parse_roles(wrong)


def test_limits_of_realtime_are_settings() -> None:
    assert load_settings(GOOD).realtime_limits == Limits()
    changed = load_settings(GOOD | {"realtime_max_users": 7, "realtime_max_events_per_second": 2.5})
    assert changed.realtime_limits == replace(Limits(), users=7, events_per_second=2.5)


def test_origins_are_a_comma_list() -> None:
    assert load_settings(GOOD).allowed_origins == ()
    assert load_settings(GOOD | {"cors_origins": " https://a.example ,http://localhost:1,"}).allowed_origins == (
        "https://a.example",
        "http://localhost:1",
    )


@pytest.mark.parametrize(
    ("arguments", "said"), [(("--role", "api,boss"), "boss is not a role"), (("--port", "99999"), "is not a port")]
)
def test_a_wrong_argument_ends_the_program_with_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as ended:
        code = ended.code
    assert (code, said in capsys.readouterr().err) == (2, True)
