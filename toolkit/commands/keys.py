"""`toolkit keys`: the API keys of a system of one's own, made with its JWT secret."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from toolkit.commands._click import json_option, option, toolkit_command
from toolkit.commands._output import conclude, with_more
from toolkit.errors import UsageError
from toolkit.report.record import Check, Report, Verdict, tool_version
from toolkit.targets.settings import load_settings
from toolkit.tokens import API_KEY_TTL_S, SHORTEST_SECRET, mint_api_key, too_short

_NEW_BYTES = 48


@toolkit_command("keys", examples=('eval "$(toolkit keys --new-secret)"', "toolkit keys --json"))
@option("--new-secret", is_flag=True, help="Make a new secret first, and print it too.")
@json_option
def command(*, new_secret: bool, as_json: bool) -> None:
    """Print the anon and the service_role key for the secret in SUPABASE_JWT_SECRET.

    They are lines for the shell; nothing else goes to stdout. On Supabase the dashboard has them. Give the secret to
    the server as SUPABASE_JWT_SECRET, the anon key to clients, and the service_role key to no browser.
    """
    started = datetime.now(UTC)
    secret = secrets.token_urlsafe(_NEW_BYTES) if new_secret else _secret_of_settings()
    found = {f"SUPABASE_{role.upper()}_KEY": mint_api_key(secret, role) for role in ("anon", "service_role")}
    if new_secret:
        found = {"SUPABASE_JWT_SECRET": secret, **found}
    if not as_json:
        conclude("".join(f'export {name}="{value}"\n' for name, value in found.items()), 0)
    check = Check(
        "secret",
        f"The secret has at least {SHORTEST_SECRET} bytes",
        Verdict.PASS,
        f"the keys are valid for {API_KEY_TTL_S // 86_400} days",
    )
    report = Report(
        "keys", "Keys made", Verdict.PASS, started, datetime.now(UTC), "no target", tool_version(), (check,)
    )
    conclude(with_more(report, {"keys": found}), report.exit_code)


def _secret_of_settings() -> str:
    secret = load_settings().value("SUPABASE_JWT_SECRET")
    if secret is None:
        raise UsageError(
            "SUPABASE_JWT_SECRET is not set.", "Set it to your server's secret, or make one with --new-secret."
        )
    if told := too_short(secret):
        raise UsageError(told, "Make a longer one with `toolkit keys --new-secret`; every key has to change with it.")
    return secret
