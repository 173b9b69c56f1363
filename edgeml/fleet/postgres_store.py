"""The fleet's store in PostgreSQL: for many devices, several ingests, and years.

A table in partitions by day cannot have a key over all of its days, so what
makes a duplicate harmless is not a key. Each outbox has one row that says
which numbers it accounts for; a commit locks the rows of its outboxes, in the
order of their ids, asks them what is new, copies that, and writes them back,
all in one transaction. The key of each day's partition is a second wall.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg

from edgeml.errors import StoreError
from edgeml.fleet import postgres_read as read
from edgeml.fleet import postgres_write as write
from edgeml.fleet.accounting import progress_of
from edgeml.fleet.postgres_connect import checked_url, connect, translated, warn_of_risks
from edgeml.fleet.postgres_prune import prune
from edgeml.fleet.postgres_schema import (
    LATEST_S,
    day_of,
    make_partitions,
    migrate,
    version_of,
)
from edgeml.fleet.store import Committed, DeviceStatus, Intake, Progress

_RETRIES: Final = 3
_KNOWN_MOST: Final = 200_000

_AGAIN: Final = (
    write.AnewError,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.UndefinedTable,
)


class PostgresStore:
    """A store on a PostgreSQL server; many ingests may share it.

    Args:
        url: `postgresql://[USER@]HOST[:PORT]/DATABASE`, without a password: that comes from
            `~/.pgpass`, `PGPASSFILE` or `PGPASSWORD`.
        create: make the tables where there are none.

    Raises:
        ConfigError: the URL cannot be one, or has a password in it.
        StoreError: the server cannot be reached, there is no store, or a later edgeml made it.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        self.url = checked_url(url)
        self._create = create
        self._connection: psycopg.Connection[Any] | None = None
        self._days: set[int] = set()
        self._known: set[write.Key] = set()
        self._models: set[write.Model] = set()
        with translated(self.url):
            self._db()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def commit(self, intake: Intake, received_s: float) -> Committed:
        """Store everything of an intake in one durable transaction.

        Raises:
            UnstorableError: something in it will never be accepted; nothing was stored.
            StoreError: the store cannot take it now, for example because the server is down.
        """
        received_s = min(max(received_s, 0.0), LATEST_S)
        with translated(self.url):
            try:
                for _ in range(_RETRIES):
                    with suppress(*_AGAIN):
                        return self._commit(intake, received_s)
                    self._forget()
                return self._commit(intake, received_s)
            except (psycopg.OperationalError, psycopg.InternalError):
                # A primary that has become a standby keeps the line and takes nothing any more:
                # the next attempt looks anew for whoever takes it.
                self.close()
                raise

    def progress(self, device: str, outbox: str) -> Progress:
        """How far the store is with one outbox; mark 0 for one it never heard of."""
        with translated(self.url):
            return read.progress(self._db(), device, outbox)

    def current(self) -> Sequence[Progress]:
        """How far it is with the outbox that each device used last."""
        with translated(self.url):
            return read.current(self._db())

    def status(self) -> Sequence[DeviceStatus]:
        """Every device, by id."""
        with translated(self.url):
            return read.status(self._db())

    def results(self, device: str | None = None) -> Iterator[Mapping[str, Any]]:
        """Every result, by device, outbox and number, as flat rows for an export."""
        # Whoever reads for an hour does so on a connection, and in a moment, of its own.
        with translated(self.url), connect(self.url) as db:
            yield from read.results(db, device)

    def samples(self, device: str | None = None) -> Iterator[Mapping[str, Any]]:
        """Every sample, by device, outbox and number; `npy` is the window."""
        with translated(self.url), connect(self.url) as db:
            yield from read.samples(db, device)

    def gaps(self, device: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Every gap record: device, outbox, first, last, reason, time_s."""
        with translated(self.url):
            return read.gaps(self._db(), device)

    def letters(self) -> Sequence[Mapping[str, Any]]:
        """Every dead letter: received_s, topic, reason, payload."""
        with translated(self.url):
            return read.letters(self._db())

    def prune(self, before_s: float) -> int:
        """Delete what was received before a unix time; how many rows there were."""
        with translated(self.url):
            return prune(self._db(), self.url, before_s)

    def _db(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._forget()
            db = connect(self.url)
            try:
                if not self._create and not version_of(db, self.url):
                    raise StoreError(
                        f"{self.url}: there is no store; "
                        f"`edgeml fleet ingest --store {self.url}` makes one"
                    )
                migrate(db, self.url)
                warn_of_risks(db, self.url)
            except BaseException:
                db.close()
                raise
            self._connection = db
        return self._connection

    def _forget(self) -> None:
        self._days.clear()
        self._known.clear()
        self._models.clear()

    def _commit(self, intake: Intake, received_s: float) -> Committed:
        db = self._db()
        keys = {(d.device, d.batch.outbox) for d in intake.batches}
        wanted = sorted(keys | {(state.device, state.outbox) for state in intake.states.values()})
        models = {write.named(d.batch.model) for d in intake.batches if d.batch.model is not None}
        # Names and partitions are harmless where the rest fails, and made beforehand they are
        # no locks that two ingests could hold crosswise.
        self._register(db, wanted, models)
        if keys and day_of(received_s) not in self._days:
            make_partitions(db, day_of(received_s))
            self._days.add(day_of(received_s))
        try:
            accounts = self._write(db, intake, wanted, models, received_s)
        except BaseException:
            if not db.closed:
                db.rollback()
            raise
        news = [accounts[key].news for key in sorted(keys)]
        return Committed(
            tuple(progress_of(*key, accounts[key].news.after) for key in sorted(keys)),
            sum(n.new_rows for n in news),
            sum(n.known_rows for n in news),
        )

    def _write(
        self,
        db: psycopg.Connection[Any],
        intake: Intake,
        keys: Sequence[write.Key],
        models: set[write.Model],
        received_s: float,
    ) -> dict[write.Key, write.Account]:
        """The transaction, in as few trips to the server as there are questions."""
        with db.pipeline():
            db.execute("BEGIN")
            locked = db.execute(write.LOCK, write.columns(keys)) if keys else None
            named = db.execute(write.MODELS, write.columns(sorted(models))) if models else None
            accounts = write.accounts_of(locked, keys)
            numbers = write.numbers_of(named, models)
        rows: list[tuple[object, ...]] = []
        for delivered in intake.batches:
            account = accounts[delivered.device, delivered.batch.outbox]
            fresh = account.news.take(delivered.batch)
            model = delivered.batch.model
            if fresh and model is not None:
                head = (account.outbox_id, numbers[write.named(model)], received_s)
                rows += [write.flat(row, head) for row in fresh]
        write.copy(db, rows, received_s)
        with db.pipeline():
            write.settle(db, list(accounts.values()), received_s)
            write.note_events(db, list(accounts.values()), received_s)
            write.note_samples(db, list(accounts.values()), numbers, received_s)
            write.note_devices(db, intake, received_s)
            write.note_letters(db, intake.letters, received_s)
            db.execute("COMMIT")
        return accounts

    def _register(
        self, db: psycopg.Connection[Any], keys: Sequence[write.Key], models: set[write.Model]
    ) -> None:
        if len(self._known) > _KNOWN_MOST:
            self._known.clear()
        unknown = [key for key in keys if key not in self._known]
        if unknown:
            db.execute(write.REGISTER, write.columns(unknown))
            self._known.update(unknown)
        if not models <= self._models:
            db.execute(write.REGISTER_MODELS, write.columns(sorted(models)))
            self._models = set(models)
