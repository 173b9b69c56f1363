"""The way to a PostgreSQL server: which URLs are taken, how long anything may hang, whose error.

A password never stands in the URL, because everybody on the machine reads it
in the list of processes. An ingest that a dead server or a frozen neighbour
could block for hours would look alive to the broker, so everything that waits
has a limit.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from edgeml.errors import ConfigError, StoreError
from edgeml.fleet.store import UnstorableError

log: Final = logging.getLogger("edgeml.store")

_DEFAULTS: Final[dict[str, str | int]] = {
    "application_name": "edgeml",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_SESSION: Final = (
    # An ingest that is stopped in the middle lets go of its locks.
    "SET idle_in_transaction_session_timeout = '30s'",
    "SET lock_timeout = '20s'",
    "SET client_encoding = 'UTF8'",
    # What is confirmed is on the medium, whatever the server's default is.
    (
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'"
    ),
)


def checked_url(url: str) -> str:
    """The URL, if it can be one of a server and betrays nothing.

    Raises:
        ConfigError: it cannot, or a password is in it.
    """
    shape = "it should be postgresql://[USER@]HOST[:PORT]/DATABASE"
    try:
        parts = urlsplit(url)
        secret = parts.password is not None
        options = conninfo_to_dict(url)
    except (ValueError, psycopg.Error) as exc:
        # Its text may repeat the URL, and what is wrong with the URL may be a password.
        raise ConfigError(f"the store's URL cannot be read; {shape}") from exc
    if secret or {"password", "sslpassword"} & options.keys():
        raise ConfigError(
            "the store's URL has a password in it, which everybody on this machine can read; put "
            "it into ~/.pgpass (chmod 600) or a file that PGPASSFILE names, or into PGPASSWORD"
        )
    return url


def connect(url: str) -> psycopg.Connection[Any]:
    """A connection on which each statement is a transaction, unless told otherwise.

    Raises:
        psycopg.Error: the server cannot be reached, or does not want us.
    """
    given = conninfo_to_dict(url)
    more = {name: value for name, value in _DEFAULTS.items() if name not in given}
    db: psycopg.Connection[Any] = psycopg.connect(make_conninfo(url, **more), autocommit=True)
    try:
        for statement in _SESSION:
            db.execute(statement.encode())
    except BaseException:
        db.close()
        raise
    return db


def warn_of_risks(db: psycopg.Connection[Any], url: str) -> None:
    """Say so where the server does not keep what it confirms."""
    row = db.execute("SHOW fsync").fetchone()
    if row is not None and row[0] == "off":
        log.warning("%s: fsync is off: what the store confirms may die with the power", url)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Say every error of the server's as one of ours."""
    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError, OverflowError, UnicodeError) as exc:
        raise UnstorableError(f"{url}: the store refuses this: {_line(exc)}") from exc
    except psycopg.Error as exc:
        if (exc.sqlstate or "").startswith("54"):  # a limit of the server's, as of an index's key
            raise UnstorableError(f"{url}: the store refuses this: {_line(exc)}") from exc
        raise StoreError(f"{url}: the store failed: {_line(exc)}") from exc


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:300]
