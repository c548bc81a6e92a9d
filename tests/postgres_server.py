"""A real Postgres server on loopback, for tests that attach one.

Import `postgres_server` into a test module to use it as a fixture. The server lives in a temporary
directory, listens on a random free port and asks for a password (scram-sha-256).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import PATIENCE

USER, PASSWORD = "admin", "s3cr3t-pa'ss/w@rd"


@dataclass(frozen=True)
class PostgresServer:
    port: int
    user: str = USER
    password: str = PASSWORD

    def url(self, database: str = "postgres", user: str = USER, port: int | None = None) -> str:
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}"

    def execute(self, sql: str, database: str = "postgres") -> None:
        """Run statements as the superuser, outside a transaction (for CREATE DATABASE)."""
        psycopg2: Any = pytest.importorskip("psycopg2")
        with contextlib.closing(
            psycopg2.connect(
                host="127.0.0.1",
                port=self.port,
                user=self.user,
                password=self.password,
                dbname=database,
            )
        ) as connection:
            connection.autocommit = True
            connection.cursor().execute(sql)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_binaries() -> Path | None:
    """The folder with initdb, the newest version first."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    usable = (f for f in folders if (f / "initdb").is_file() and (f / "pg_ctl").is_file())
    return next(usable, None)


def _unprivileged() -> tuple[list[str], pwd.struct_passwd | None]:
    """Prefix that leaves root, which Postgres refuses to run as, and the user it becomes."""
    if os.getuid() != 0:
        return [], None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            if shutil.which("setpriv"):
                ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
                return ["setpriv", *ids, "--"], user
            if shutil.which("runuser"):
                return ["runuser", "-u", name, "--"], user
    pytest.skip("Postgres refuses to run as root and neither setpriv nor runuser is installed")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no Postgres server (initdb) is installed")
    prefix, user = _unprivileged()
    # Not under pytest's own folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="relforge-postgres-"))
    data, secret, port = folder / "data", folder / "password", free_port()
    secret.write_text(PASSWORD)
    if user:
        for path in (folder, secret):
            os.chown(path, user.pw_uid, user.pw_gid)

    def run(*command: str) -> None:
        # Output goes to a file: a pipe would stay open as long as the server that inherits it.
        with (folder / "output").open("a") as output:
            subprocess.run(
                [*prefix, *command],
                check=True,
                cwd=folder,
                stdout=output,
                stderr=output,
                timeout=PATIENCE,
            )

    control = (str(binaries / "pg_ctl"), "-D", str(data), "-w")
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -F"
    try:
        try:
            run(str(binaries / "initdb"), "-D", str(data), "-U", USER, "-A", "scram-sha-256",
                f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "--no-sync")  # fmt: skip
            run(*control, "-l", str(folder / "log"), "-o", settings, "start")
        except subprocess.CalledProcessError:
            pytest.skip(f"Postgres does not start: {(folder / 'output').read_text()[-500:]}")
        yield PostgresServer(port)
    finally:
        if (data / "postmaster.pid").exists():
            run(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
