"""How the outbox's database comes to be on disk: one owner, crash-safe, set aside when broken.

Write-ahead log with `synchronous=FULL`: a commit is on the medium before it
returns. A lock file keeps a second process out; a file that SQLite cannot read
gets another name and a fresh one takes its place, so that a torn card costs
what was on it and never the device's future results.
"""

import fcntl
import logging
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from edgeml.errors import OutboxError

log: Final = logging.getLogger("edgeml.outbox")

SCHEMA: Final = 1
_APPLICATION_ID: Final = 0x65646D6C
_PAGE_BYTES: Final = 4096
_BUSY_TIMEOUT_S: Final = 10.0
_RESERVE_BYTES: Final = 256 * 1024
"""What SQLite writes before the first commit: 32 KiB of index to its log, and some pages of it."""

_TABLES: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE models (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL,
    UNIQUE (name, version, digest)
);
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY, last INTEGER NOT NULL, kind INTEGER NOT NULL, model INTEGER,
    bytes INTEGER NOT NULL, lived_s REAL NOT NULL, body BLOB NOT NULL
);
CREATE INDEX entries_by_kind ON entries (kind, seq);
"""


class BrokenOutboxError(OutboxError):
    """The database's pages do not make sense any more."""


class FullOutboxError(OutboxError):
    """The disk, or the file up to its cap, has no room left."""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as the outbox's own.

    Raises:
        BrokenOutboxError: the file is damaged.
        FullOutboxError: there is no room for more.
        OutboxError: anything else, for example a file that cannot be opened.
    """
    try:
        yield
    except sqlite3.Error as exc:
        # SQLITE_CORRUPT and SQLITE_NOTADB are the two that map to the bare class.
        if type(exc) is sqlite3.DatabaseError:
            raise BrokenOutboxError(f"{path}: the outbox is damaged: {exc}") from exc
        # Where there is no page left, SQLite may call it an I/O error.
        if "full" in str(exc) or _has_no_page(path):
            raise FullOutboxError(f"{path}: no room for the outbox: {exc}") from exc
        raise OutboxError(f"{path}: the outbox failed: {exc}") from exc


def take_lock(path: Path) -> IO[bytes]:
    """Claim the outbox for this process, until the returned file is closed.

    Raises:
        OutboxError: another process has it, or the directory cannot be written.
    """
    lock_path = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_path.open("ab")
    except OSError as exc:
        raise OutboxError(f"{path}: the outbox cannot be made: {exc}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise OutboxError(
            f"{path}: another process uses this outbox; stop it, or give each its own: "
            "Mqtt(outbox=...) or another device id"
        ) from None
    return lock


def connect(path: Path, cap_bytes: int) -> sqlite3.Connection:
    """The writing connection, its tables made where the file is new.

    Args:
        path: the database.
        cap_bytes: the file never grows beyond this.

    Raises:
        BrokenOutboxError: the file is damaged or is something else.
        OutboxError: it cannot be opened, or a later edgeml made it.
    """
    with translated(path):
        db = sqlite3.connect(
            path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(db, path, cap_bytes)
        except BaseException:
            db.close()
            raise
    return db


def reserve(path: Path) -> None:
    """Keep some room beside an outbox that nobody has open, for a start on a full disk."""
    beside = _reserve_of(path)
    try:
        if not beside.exists():
            beside.write_bytes(os.urandom(_RESERVE_BYTES))
    except OSError:
        with suppress(OSError):
            beside.unlink()  # half of it would be taken from others for nothing


def release(path: Path) -> bool:
    """Give that room up; whether there was any."""
    try:
        _reserve_of(path).unlink()
    except OSError:
        return False
    log.warning("%s: the disk is full; the outbox opens in what was kept for that", path)
    return True


def _reserve_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.reserve")


def _has_no_page(path: Path) -> bool:
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _PAGE_BYTES


def connect_reader(path: Path) -> sqlite3.Connection:
    """A second connection, which can only read and never waits for the writer.

    Raises:
        OutboxError: it cannot be opened.
    """
    with translated(path):
        db = sqlite3.connect(
            path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        db.execute("PRAGMA query_only=1")
    return db


def set_aside(path: Path) -> Path:
    """Give a damaged database another name, out of the way but not lost.

    Returns:
        The new name.

    Raises:
        OutboxError: the file cannot be renamed.
    """
    n = 1
    while (aside := path.with_name(f"{path.name}.broken-{n}")).exists():
        n += 1
    try:
        path.rename(aside)
        for tail in ("-wal", "-shm"):
            beside = path.with_name(path.name + tail)
            if beside.exists():
                beside.rename(aside.with_name(aside.name + tail))
        sync_directory(path.parent)
    except OSError as exc:
        raise OutboxError(f"{path}: the damaged outbox cannot be set aside: {exc}") from exc
    log.error("%s was damaged; it is now %s and a new outbox begins", path, aside)
    return aside


def sync_directory(directory: Path) -> None:
    """Make names in a directory as durable as the files they name."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def new_outbox_id() -> str:
    """An id that no other outbox has: a re-imaged card is another outbox."""
    return secrets.token_hex(8)


def _prepare(db: sqlite3.Connection, path: Path, cap_bytes: int) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    application = db.execute("PRAGMA application_id").fetchone()[0]
    fresh = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if version > SCHEMA and application == _APPLICATION_ID:
        raise OutboxError(
            f"{path}: made by a later edgeml (schema {version}, this one reads {SCHEMA}); upgrade"
        )
    if fresh:
        db.execute(f"PRAGMA page_size={_PAGE_BYTES}")
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
    elif application != _APPLICATION_ID:
        raise BrokenOutboxError(f"{path}: not an outbox")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA journal_size_limit=4194304")
    db.execute("PRAGMA temp_store=MEMORY")
    db.execute(f"PRAGMA max_page_count={cap_bytes // _PAGE_BYTES}")
    if fresh:
        _create(db)
        sync_directory(path.parent)


def _create(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    for statement in _TABLES.split(";"):
        db.execute(statement)
    db.executemany(
        "INSERT INTO meta VALUES (?, ?)",
        [("outbox", new_outbox_id()), ("next_seq", 1), ("mark", 0), ("boots", 0), ("lived_s", 0.0)],
    )
    db.execute(f"PRAGMA application_id={_APPLICATION_ID}")
    db.execute(f"PRAGMA user_version={SCHEMA}")
    db.execute("COMMIT")
