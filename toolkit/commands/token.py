"""`toolkit token`: mint a user's token for the embedded target."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import jwt

from toolkit.commands._click import Duration, json_option, option, toolkit_command
from toolkit.commands._options import data_option
from toolkit.commands._output import conclude, with_more
from toolkit.durations import format_duration
from toolkit.errors import UsageError
from toolkit.report.record import Check, Report, Verdict, tool_version
from toolkit.targets.data_dir import DataDir
from toolkit.tokens import ALGORITHM, API_KEY_TTL_S, mint


@toolkit_command("token", examples=("toolkit token", "toolkit token --sub user_x --ttl 15m"))
@option("--sub", default="user_demo", show_default=True, metavar="ID", help="Make the token for this user id.")
@option(
    "--role",
    type=click.Choice(["authenticated", "anon", "service_role"]),
    default="authenticated",
    show_default=True,
    metavar="NAME",
    help="Give the bearer this database role: authenticated, anon or service_role.",
)
@option("--ttl", type=Duration(1), default=3600.0, show_default=True, help="Let the token expire after this time.")
@json_option
@data_option()
def command(data_dir: Path, sub: str, role: str, ttl: float, as_json: bool) -> None:
    """Print a user's token for the embedded target that `toolkit up` made.

    Nothing else goes to stdout.
    """
    started = datetime.now(UTC)
    if ttl > API_KEY_TTL_S:
        raise UsageError(
            f"--ttl {format_duration(ttl)} is longer than ten years, the time for which the project's own keys are "
            "valid.",
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
    token = mint(secret, sub=sub, role=role, ttl_s=int(ttl))
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
