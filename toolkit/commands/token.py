"""`toolkit token`: mint a user's token for the embedded target."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.commands._options import data_option
from toolkit.errors import UsageError
from toolkit.targets.data_dir import DataDir
from toolkit.targets.tokens import mint, parse_duration


@click.command("token")
@data_option
@click.option("--sub", default="user_demo", show_default=True, help="User id: the token's `sub`.")
@click.option("--role", type=click.Choice(["authenticated", "anon", "service_role"]), default="authenticated",
              show_default=True, help="Database role.")  # fmt: skip
@click.option("--ttl", default="1h", show_default=True, help="How long it is valid: 90s, 15m, 1h, 7d.")
def command(data_dir: Path, sub: str, role: str, ttl: str) -> None:
    """Print a token for the target that `toolkit up` made; nothing else goes to stdout."""
    seconds = parse_duration(ttl)
    data = DataDir(data_dir)
    if not (data.path / "secrets.json").exists():
        raise UsageError(f"{data.path} has no keys yet.", f"Make the target first: toolkit up --data {data_dir}")
    click.echo(mint(data.keys().jwt_secret, sub=sub, role=role, ttl_s=seconds))
