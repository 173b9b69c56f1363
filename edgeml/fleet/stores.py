"""Which store a name means: a file is SQLite, `postgresql://` is a server."""

from pathlib import Path
from typing import Final

from edgeml.errors import ConfigError, MissingDependencyError
from edgeml.fleet.sqlite_store import SQLiteStore, open_existing
from edgeml.fleet.store import Store

_SERVER: Final = ("postgresql://", "postgres://")


def open_store(name: str, *, create: bool = False) -> Store:
    """The store of a name.

    Args:
        name: the path of a file, or `postgresql://[USER@]HOST[:PORT]/DATABASE`.
        create: make it where there is none.

    Raises:
        ConfigError: no store can have this name, or a password is in it.
        MissingDependencyError: PostgreSQL without psycopg.
        StoreError: there is none, or it cannot be opened.
    """
    if not name.startswith(_SERVER):
        if "://" in name:
            raise ConfigError(
                "the store is neither a file nor postgresql://[USER@]HOST[:PORT]/DATABASE"
            )
        return SQLiteStore(Path(name)) if create else open_existing(Path(name))
    try:
        from edgeml.fleet.postgres_store import PostgresStore
    except ImportError as exc:
        raise MissingDependencyError(
            "a store in PostgreSQL needs psycopg: pip install 'psycopg[binary]'"
        ) from exc
    return PostgresStore(name, create=create)
