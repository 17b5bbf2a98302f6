"""Where a target is: precedence, what is missing, and that secrets stay hidden."""

from __future__ import annotations

from pathlib import Path

import click
import jwt
import pytest
from click.testing import CliRunner

from toolkit.commands._options import EVERYTHING, TargetChoice, confirm_change, target_options
from toolkit.environment import HOW_TO_GET
from toolkit.errors import UsageError
from toolkit.redact import redact
from toolkit.targets.settings import load_settings
from toolkit.targets.target import Target
from toolkit.tokens import lifetime, mint

DSN = "postgresql://postgres:hunter22@db.example.org:5432/postgres"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in HOW_TO_GET:
        monkeypatch.delenv(name, raising=False)


def config(text: str) -> None:
    Path("toolkit.toml").write_text(text, encoding="utf-8")


def test_options_win_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    config('[target]\napi_url = "https://file"\nsupabase_url = "https://file"\nsupabase_anon_key = "from-file"\n')
    monkeypatch.setenv("API_URL", "https://env")
    monkeypatch.setenv("SUPABASE_URL", "https://env/")
    settings = load_settings(api_url="https://option")
    assert settings.api_url == "https://option"
    assert settings.supabase_url == "https://env"
    assert settings.value("SUPABASE_ANON_KEY") == "from-file"


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_URL", "")
    assert not load_settings().any_given


def test_a_setting_outside_of_its_table_is_told_where_it_belongs() -> None:
    config('migrations = "m"\nDATABASE_URL = "postgresql://me:pw@db/x"')
    with pytest.raises(UsageError) as refused:
        load_settings()
    assert "under the line [target]" in refused.value.remedy
    config('migrations = "m"')
    assert not load_settings().any_given


@pytest.mark.parametrize(
    "address",
    [
        "https://hunter22@x.example.org",
        "https://me:hunter22@x.example.org",
        "wss://hunter22@x.example.org/realtime",
        "https://x.example.org/rest?apikey=hunter22",
        "postgresql://me@db/x?sslpassword=hunter22",
        "postgresql://me:hunter22@db/x",
    ],
)
def test_an_address_is_shown_without_secrets(address: str) -> None:
    assert "hunter22" not in redact(f"asked {address}, no answer")
    target = Target(kind="external", api_url=address, supabase_url=address, database_url=address)
    assert "hunter22" not in target.describe()
    assert target.describe().count("://") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[target]\nsupabase_uri = "https://x"', "unknown setting 'supabase_uri'"),
        ("[target]\napi_url = 5", "api_url is not a text"),
        ("target = 3", "not a table"),
        ('database_url = "postgresql://me:pw@db/x"', "unknown setting 'database_url' outside of"),
        ('[targets]\napi_url = "https://x"', "unknown setting 'targets' outside of"),
        ("[target", "cannot be read"),
        ('[target]\napi_url = "ftp://x"', "API_URL: must be an http"),
    ],
)
def test_a_wrong_file_is_refused_in_words(text: str, words: str) -> None:
    config(text)
    with pytest.raises(UsageError, match=words):
        load_settings()


def test_a_wrong_value_is_named_and_never_shown() -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(database_url="mysql://root:hunter22@db/x")
    assert "DATABASE_URL" in caught.value.what
    assert "hunter22" not in str(caught.value)


def test_what_is_missing_is_said_by_name_with_how_to_get_it() -> None:
    target = Target.from_settings(load_settings(api_url="https://api"))
    with pytest.raises(UsageError) as caught:
        target.require("API_URL", "DATABASE_URL", "SUPABASE_JWT_SECRET")
    assert "DATABASE_URL, SUPABASE_JWT_SECRET are not set" in caught.value.what
    assert HOW_TO_GET["DATABASE_URL"] in caught.value.remedy
    assert "API_URL:" not in caught.value.remedy
    with pytest.raises(UsageError, match="SUPABASE_JWT_SECRET is not set"):
        target.user_token("user_1")


def test_secrets_are_not_in_any_representation() -> None:
    settings = load_settings(
        database_url=DSN, supabase_jwt_secret="jwt-secret-value", supabase_service_role_key="srk-value"
    )
    target = Target.from_settings(settings)
    for text in (repr(settings), str(settings), repr(target), target.describe()):
        for secret in ("hunter22", "jwt-secret-value", "srk-value"):
            assert secret not in text
    assert "db.example.org" in target.describe()


@pytest.mark.parametrize(
    "text",
    [
        f"connect to {DSN} failed",
        "host=db password=hunter22 user=postgres",
        "ws://h/realtime/v1/websocket?apikey=hunter22&vsn=1.0.0",
        "Authorization: Bearer hunter22hunter22",
        "the key sb_secret_hunter22 is wrong",
        f"token {mint('k' * 32, sub='hunter22')} expired",
    ],
)
def test_redaction_finds_secrets_by_their_shape(text: str) -> None:
    assert "hunter22" not in redact(text)
    assert "***" in redact(text)


def test_redaction_masks_a_password_with_an_at_sign_whole() -> None:
    assert redact("postgresql://me:hun@ter22@host/db") == "postgresql://me:***@host/db"


def test_redaction_masks_the_secrets_it_is_given_and_leaves_the_rest() -> None:
    assert redact("a s3cret-x b", "s3cret-x", None, "") == "a *** b"
    assert redact("plain words, https://host/path?limit=5") == "plain words, https://host/path?limit=5"


def test_a_token_says_who_and_for_how_long() -> None:
    token = mint("s" * 32, sub="user_1", ttl_s=60, org="o1")
    claims = jwt.decode(token, "s" * 32, ["HS256"], audience="authenticated")
    assert (claims["sub"], claims["role"], claims["org"]) == ("user_1", "authenticated", "o1")
    assert lifetime(token) == (claims["iat"], claims["iat"] + 60)
    assert lifetime("no token") is None


@click.command()
@target_options(*EVERYTHING, changes=True)
@click.pass_context
def probe(ctx: click.Context, choice: TargetChoice) -> None:
    ctx.obj["choice"] = choice


def choose(*arguments: str) -> tuple[TargetChoice, str]:
    found: dict[str, TargetChoice] = {}
    result = CliRunner().invoke(probe, arguments, obj=found, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return found["choice"], result.stderr


def test_the_kind_of_target_follows_from_what_is_given() -> None:
    assert (choose()[0].kind, choose()[0].asked) == ("embedded", False)
    assert choose("--target", "embedded")[0].asked
    assert choose("--api-url", "https://api")[0].kind == "external"
    with pytest.raises(UsageError, match="needs at least one URL"):
        choose("--target", "external")
    with pytest.raises(UsageError, match="--api-url would be ignored"):
        choose("--target", "embedded", "--api-url", "https://api")


def test_an_exported_url_does_not_stop_anyone_from_working_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_URL", "https://api")
    assert choose("--target", "embedded")[0].kind == "embedded"
    assert choose()[0].kind == "external"


def test_a_secret_on_the_command_line_is_warned_of() -> None:
    choice, said = choose("--database-url", DSN)
    assert choice.settings.value("DATABASE_URL") == DSN
    assert "--database-url" in said
    assert "hunter22" not in said
    assert choose("--api-url", "https://api")[1] == ""


def test_nothing_changes_a_target_of_the_users_unconfirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    external = Target.from_settings(load_settings(database_url=DSN))
    with pytest.raises(UsageError, match="nobody confirmed"):
        confirm_change(external, "`migrate up`", yes=False)
    confirm_change(external, "`migrate up`", yes=True)
    confirm_change(Target(kind="embedded"), "`migrate up`", yes=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
    with pytest.raises(click.Abort):
        confirm_change(external, "`migrate up`", yes=False)
