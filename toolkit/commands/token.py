"""`toolkit token`: mint a user's token for the embedded target."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import jwt

from toolkit.commands._options import data_option
from toolkit.commands._output import conclude, with_more
from toolkit.errors import UsageError
from toolkit.report.record import Check, Report, Verdict, tool_version
from toolkit.targets.data_dir import DataDir
from toolkit.tokens import ALGORITHM, API_KEY_TTL_S, mint, parse_duration


@click.command("token")
@data_option
@click.option("--sub", default="user_demo", show_default=True, help="User id: the token's `sub`.")
@click.option(
    "--role",
    type=click.Choice(["authenticated", "anon", "service_role"]),
    default="authenticated",
    show_default=True,
    help="Database role.",
)
@click.option("--ttl", default="1h", show_default=True, help="How long it is valid: 90s, 15m, 1h, 7d.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with what it says.")
def command(data_dir: Path, sub: str, role: str, ttl: str, as_json: bool) -> None:
    """Print a token for the target that `toolkit up` made; nothing else goes to stdout."""
    started = datetime.now(UTC)
    seconds = parse_duration(ttl)
    if seconds > API_KEY_TTL_S:
        raise UsageError(
            f"--ttl {ttl} is longer than ten years, the time for which the project's own keys are valid.",
            "Write a shorter time, 1h or 7d for example.",
        )
    if not sub or sub != sub.strip() or not sub.isprintable():
        raise UsageError(
            f"--sub {sub!r} is no user id: it is empty, or has white space around it or signs that cannot be printed.",
            "Give the id that the rows of this user have in user_id.",
        )
    data = DataDir(data_dir)
    if not (data.path / "secrets.json").exists():
        raise UsageError(f"{data.path} has no keys yet.", f"Make the target first: toolkit up --data {data_dir}")
    secret = data.keys().jwt_secret
    token = mint(secret, sub=sub, role=role, ttl_s=seconds)
    if not as_json:
        click.echo(token)
        return
    claims = jwt.decode(token, secret, [ALGORITHM], audience=role)
    until = datetime.fromtimestamp(claims["exp"], UTC)
    check = Check("token", f"The token is signed with the keys in {data.path}", Verdict.PASS, f"valid until {until}")
    report = Report(
        "token",
        f"Token for {claims['sub']}",
        Verdict.PASS,
        started,
        datetime.now(UTC),
        f"embedded ({data.path})",
        tool_version(),
        (check,),
    )
    facts = {"token": token, "sub": claims["sub"], "role": claims["role"], "expires_at": until}
    conclude(with_more(report, facts), report.exit_code)
