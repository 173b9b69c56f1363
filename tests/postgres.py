"""A PostgreSQL server of the tests' own: in a folder of its own, on a socket, gone afterwards.

The operating system's package provides the programs; `make postgresql` installs it.
PostgreSQL refuses to run as root, so where the tests do, the server is another user's.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path

import psycopg

START_S = 300.0
_MORE_PATH = "/usr/lib/postgresql/*/bin"
# Nothing that the tests store must outlive the power; everything else is as a server has it.
_SETTINGS = (
    "listen_addresses=",
    "fsync=off",
    "full_page_writes=off",
    "max_connections=50",
    "shared_buffers=32MB",
    "log_min_messages=fatal",
)


def find_programs() -> Path | None:
    """Where `initdb` and `postgres` are: the newest that Debian put there, or those on the path."""
    found = sorted(Path("/").glob(f"{_MORE_PATH[1:]}/initdb"), key=_major)
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return None if on_path is None else Path(on_path).resolve().parent


def _major(initdb: Path) -> int:
    version = initdb.parents[1].name
    return int(version) if version.isdigit() else 0


class Server:
    """A server with nothing in it.

    Args:
        settings: more of its settings, `name=value`.
    """

    def __init__(self, *settings: str) -> None:
        programs = find_programs()
        if programs is None:
            raise RuntimeError(
                "the tests run against a real PostgreSQL, and there is none here: make postgresql"
            )
        self._programs = programs
        self._settings = (*_SETTINGS, *settings)
        self._numbers = count(1)
        # A socket's path may have 107 characters, so not pytest's own folder.
        self.home = Path(tempfile.mkdtemp(prefix="edgeml-pg-"))
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(self.home, entry.pw_uid, entry.pw_gid)
        self._run("initdb", "-D", str(self.home / "data"), "-A", "trust", "-U", "edgeml",
                  "-E", "UTF8", "--no-sync", "--locale=C")  # fmt: skip
        self._process = self._start()

    @property
    def pid(self) -> int:
        """The process whose children serve the connections."""
        return self._process.pid

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://edgeml@/{database}?host={self.home}"

    def new_database(self) -> str:
        """The URL of a database with nothing in it."""
        name = f"fleet{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def restart(self, *, crash: bool = False) -> None:
        """End it, in order or not, and start it again."""
        self._end(signal.SIGQUIT if crash else signal.SIGINT)
        self._process = self._start()

    def dump(self, url: str, file: Path) -> None:
        """Back a database up into a file, as an operator would."""
        self._run("pg_dump", "--format=custom", "--dbname", url, stdout=file)

    def restore(self, url: str, file: Path) -> None:
        """Put a backup into an empty database."""
        self._run("pg_restore", "--dbname", url, "--single-transaction", str(file))

    def close(self) -> None:
        """End it and remove its folder."""
        self._end(signal.SIGQUIT)  # without writing down what nobody will read
        shutil.rmtree(self.home)

    def _run(self, program: str, *arguments: str, stdout: Path | None = None) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            capture_output=True,
            check=False,
            cwd="/",
            user=self._user if program == "initdb" else None,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.decode(errors='replace')}")
        if stdout is not None:
            stdout.write_bytes(done.stdout)

    def _start(self) -> "subprocess.Popen[bytes]":
        settings = [word for setting in self._settings for word in ("-c", setting)]
        process = subprocess.Popen(
            [str(self._programs / "postgres"), "-D", str(self.home / "data"),
             "-k", str(self.home), *settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.home,
            user=self._user,
        )  # fmt: skip
        deadline_s = time.monotonic() + START_S
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"PostgreSQL did not come up: status {process.poll()}")
            time.sleep(0.02)
        return process

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        self._process.send_signal(how)
        self._process.wait(START_S)
