"""Settings from the environment, and what a Locust process is started with."""

import pytest

from toolkit.errors import UsageError
from toolkit.load.figures import Thresholds
from toolkit.load.run import Plan, command_line, environment, server_settings
from toolkit.load.settings import load_load_settings
from toolkit.targets.target import Target

SECRETS = {
    "database_url": "postgresql://u:hunter2@db/x",
    "anon_key": "anon-hunter2",
    "jwt_secret": "jwt-hunter2" * 3,
}
TARGET = Target(kind="external", api_url="http://api", supabase_url="http://sb", **SECRETS)


def test_a_limit_of_0_is_none(monkeypatch):
    monkeypatch.setenv("LOAD_P95_START", "0")
    monkeypatch.setenv("LOAD_P95_GENERATION", "5000")
    limits = load_load_settings().thresholds.limits()
    assert "start" not in limits
    assert limits["generation"] == 5000


def test_defaults_are_those_that_are_documented():
    assert load_load_settings().thresholds == Thresholds()


@pytest.mark.parametrize(
    ("name", "value"), [("LOAD_TRANSPORT", "pigeon"), ("LOAD_GENERATIONS", "-1"), ("LOAD_P95_START", "fast")]
)
def test_a_wrong_setting_is_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=name):
        load_load_settings()


def test_secrets_go_by_the_environment_alone(tmp_path):
    plan = Plan(users=50, ramp_s=10, processes=2)
    argv = " ".join(command_line(plan, tmp_path))
    assert "hunter2" not in argv
    assert "--spawn-rate 5" in argv
    assert "--processes 2" in argv
    assert "--master-bind-host 127.0.0.1" in argv
    given = environment(plan, TARGET, tmp_path)
    assert {given["DATABASE_URL"], given["SUPABASE_ANON_KEY"], given["SUPABASE_JWT_SECRET"]} == set(SECRETS.values())


def test_settings_of_an_outer_run_do_not_leak_in(monkeypatch, tmp_path):
    monkeypatch.setenv("LOAD_P95_START", "1")
    monkeypatch.setenv("LOCUST_USERS", "7")
    monkeypatch.setenv("SUPABASE_JWKS_URL", "http://elsewhere")
    given = environment(Plan(), TARGET, tmp_path)
    assert given["LOAD_P95_START"] == "2000"
    assert "LOCUST_USERS" not in given
    assert "SUPABASE_JWKS_URL" not in given


def test_the_embedded_servers_do_not_limit_what_is_measured():
    settings = server_settings(500, 1000)
    assert int(settings["REALTIME_MAX_USERS"]) >= 1000
    assert int(settings["REALTIME_MAX_JOINS_PER_SECOND"]) >= 1000
