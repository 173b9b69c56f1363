"""What only a server can do to a store: go away, hold locks, be full of others' things."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from edgeml.errors import ConfigError, StoreError
from edgeml.fleet.batches import Batch, ResultRow
from edgeml.fleet.store import Delivered, Intake
from edgeml.fleet.stores import open_store
from edgeml.result import ModelRef

if TYPE_CHECKING:
    import psycopg

    from edgeml.fleet.postgres_store import PostgresStore
    from tests.postgres import Server

pytestmark = pytest.mark.workstation

DAY_S = 86_400.0


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStore]:
    from edgeml.fleet.postgres_store import PostgresStore

    with closing(PostgresStore(postgres_url)) as opened:
        yield opened


@pytest.fixture
def sql(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else on the same database."""
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as db:
        yield db


def take(store: PostgresStore, *seqs: int, at_s: float = 100.0) -> int:
    rows = tuple(ResultRow(n, n, n, "x", 0.5, (0.5,), 1, 2, 3, n, None) for n in seqs)
    batch = Batch("box", ModelRef("m", 1, "00"), results=rows)
    return store.commit(Intake(batches=[Delivered("pump", batch)]), at_s).progress[0].mark


def seqs(store: PostgresStore) -> list[int]:
    return [row["seq"] for row in store.results()]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@host/db",
        "postgresql://host/db?password=secret",
        "postgres://me:@host/db",
        "postgresql://host/db?sslpassword=secret",
    ],
)
def test_a_password_on_the_command_line_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="PGPASSFILE") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://host/db?no=such", "mysql://me:secret@h/d"])
def test_what_is_no_url_of_a_server_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match=r"postgresql://\[USER@\]HOST") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_a_password_comes_from_a_file(
    monkeypatch: pytest.MonkeyPatch, postgres_server: Server, postgres_url: str
) -> None:
    """The server asks for none, so what is shown is that the way by the environment is open."""
    monkeypatch.setenv("PGUSER", "edgeml")
    with closing(open_store(postgres_url.replace("edgeml@", ""), create=True)) as opened:
        assert opened.status() == []


def test_a_server_that_is_not_there_is_an_error_that_names_it(postgres_server: Server) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        open_store(postgres_server.url("nowhere"))


def test_a_store_is_not_made_by_looking(postgres_url: str, sql: psycopg.Connection[Any]) -> None:
    with pytest.raises(StoreError, match="fleet ingest"):
        open_store(postgres_url)
    assert sql.execute("SELECT to_regnamespace('edgeml')").fetchone() == (None,)


def test_many_that_start_at_once_make_one_store(postgres_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: open_store(postgres_url, create=True), range(8)))
    assert [list(store.status()) for store in stores] == [[]] * 8
    for store in stores:
        store.close()


def test_a_store_of_a_later_edgeml_is_left_alone(
    postgres_url: str, store: PostgresStore, sql: psycopg.Connection[Any]
) -> None:
    sql.execute("UPDATE edgeml.schema_version SET version = version + 1")
    with pytest.raises(StoreError, match="upgrade"):
        open_store(postgres_url)


def test_somebody_who_may_only_read_reads(
    postgres_url: str, store: PostgresStore, sql: psycopg.Connection[Any]
) -> None:
    take(store, 1, 2)
    sql.execute(
        "DO $$ BEGIN CREATE ROLE reader LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    sql.execute("GRANT USAGE ON SCHEMA edgeml TO reader")
    sql.execute("GRANT SELECT ON ALL TABLES IN SCHEMA edgeml TO reader")
    with closing(open_store(postgres_url.replace("edgeml@", "reader@"))) as reader:
        assert [d.results for d in reader.status()] == [2]
        assert len(list(reader.results())) == 2


def test_a_server_that_crashes_loses_nothing_that_was_confirmed(
    postgres_server: Server, postgres_url: str, sql: psycopg.Connection[Any]
) -> None:
    """Even where its administrator preferred speed for this database."""
    from edgeml.fleet.postgres_store import PostgresStore

    sql.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off',"
        " current_database()); END $$"
    )
    with closing(PostgresStore(postgres_url)) as store:
        assert take(store, 1, 2) == 2
        postgres_server.restart(crash=True)
        with pytest.raises(StoreError):
            take(store, 2, 3)
        assert take(store, 2, 3) == 3
        assert seqs(store) == [1, 2, 3]


def test_a_server_that_becomes_a_standby_is_left_for_the_one_that_takes_over(
    store: PostgresStore,
) -> None:
    assert take(store, 1) == 1
    # What a session of the old primary is after a failover: there, and good for nothing.
    store._db().execute("SET default_transaction_read_only = on")
    with pytest.raises(StoreError, match="read-only"):
        take(store, 2)
    assert take(store, 2) == 2
    assert seqs(store) == [1, 2]


def test_a_day_is_one_partition_and_its_retention_is_its_end(
    store: PostgresStore, sql: psycopg.Connection[Any]
) -> None:
    from edgeml.fleet.postgres_schema import partitions

    for day in (20_000, 20_001, 20_001, 20_002):
        take(store, day, at_s=day * DAY_S + 7)
    names = ["result_rows_20241004", "result_rows_20241005", "result_rows_20241006"]
    assert partitions(sql, "result_rows") == names
    assert store.prune(20_002 * DAY_S) == 2
    assert partitions(sql, "result_rows") == names[2:]
    assert partitions(sql, "event_rows") == ["event_rows_20241006"]


def test_a_partition_that_somebody_dropped_under_an_ingest_is_made_again(
    store: PostgresStore, sql: psycopg.Connection[Any]
) -> None:
    take(store, 1)
    sql.execute("DROP TABLE edgeml.result_rows_19700101")
    assert take(store, 2) == 2
    assert seqs(store) == [2]


def test_a_database_restored_under_an_ingest_is_asked_again(
    store: PostgresStore, sql: psycopg.Connection[Any]
) -> None:
    """Numbers by which tables name each other may all be others after a restore."""
    take(store, 1, 2)
    sql.execute("TRUNCATE edgeml.outboxes, edgeml.models, edgeml.result_rows, edgeml.gap_rows")
    sql.execute("INSERT INTO edgeml.outboxes (device, outbox, seen_s) VALUES ('a', 'b', 1)")
    assert take(store, 2) == 0
    assert [(row["device"], row["seq"], row["model"]) for row in store.results()] == [
        ("pump", 2, "m")
    ]


def test_a_reader_never_makes_an_ingest_wait_and_retention_gives_way_to_it(
    store: PostgresStore,
) -> None:
    take(store, 1, at_s=7.0)
    reading = store.results()
    next(reading)
    take(store, 2, at_s=7.0)
    take(store, 3, at_s=DAY_S + 7)
    with pytest.raises(StoreError, match="prune again"):
        store.prune(DAY_S)
    assert list(reading) == []
    assert store.prune(DAY_S) == 2
    assert seqs(store) == [3]


def test_others_read_dates_and_numbers_in_plain_sql(
    store: PostgresStore, sql: psycopg.Connection[Any]
) -> None:
    take(store, 1_700_000_000, at_s=1_700_000_007.0)
    query = (
        "SELECT device, extract(epoch FROM end_at), outputs[1], received_at - end_at "
        "FROM edgeml.results"
    )
    device, end_s, output, lag = sql.execute(query).fetchall()[0]
    assert (device, end_s, output, lag.total_seconds()) == ("pump", 1_700_000_000, 0.5, 7.0)
