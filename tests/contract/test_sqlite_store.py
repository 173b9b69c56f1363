"""A store in a file: of other versions, where there is none, and files that are no store."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edgeml.errors import StoreError
from edgeml.fleet.sqlite_schema import STEPS
from edgeml.fleet.sqlite_store import SQLiteStore, open_existing

from .storing import results, take


def test_a_store_of_a_later_edgeml_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SQLiteStore(path)
    store._db.execute(f"PRAGMA user_version={len(STEPS) + 1}")
    store.close()
    with pytest.raises(StoreError, match="upgrade"):
        SQLiteStore(path)


def test_a_store_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(STEPS[0])
        db.executescript(
            "PRAGMA user_version = 1;"
            "INSERT INTO outboxes VALUES (1, 'pump-7', 'box', 50.0);"
            "INSERT INTO spans VALUES (1, 1, 5);"
            "INSERT INTO models VALUES (1, 'activity', 3, 'ab');"
            "INSERT INTO gap_rows VALUES (1, 3, 5, 50.0, 5.0, 'disk cap');"
            "INSERT INTO devices (device, seen_s) VALUES ('pump-7', 50.0);"
            "INSERT INTO result_rows VALUES"
            " (1, 1, 1, 50.0, 1, 2, 'walking', 0.5, '[]', 1, 2, 3, NULL, NULL),"
            " (1, 2, 1, 50.0, 2, 3, 'running', 0.5, '[]', 1, 2, 3, NULL, NULL);"
        )
    store = SQLiteStore(path)
    status = store.status()[0]
    assert (status.results, status.missing, status.unaccounted) == (2, 3, 0)
    assert (status.last_result_s, status.last_label) == (3.0, "running")
    assert take(store, results(2, 6)).mark == 6
    assert store.status()[0].last_label == "walking"
    store.close()


def test_a_store_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        open_existing(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="put a backup in its place"):
        SQLiteStore(path)


def test_an_export_takes_rows_as_they_stand_and_sorts_none(tmp_path: Path) -> None:
    """A billion rows sorted are as much again in a file that nobody has room for."""
    asked: list[str] = []
    with closing(SQLiteStore(tmp_path / "store.db")) as store:
        take(store, results(1, 2))
        store._db.set_trace_callback(asked.append)
        assert [row["seq"] for row in store.results()] == [1, 2]
        assert list(store.samples()) == list(store.gaps()) == []
        store._db.set_trace_callback(None)
        assert len(asked) == 3
        for query in asked:
            plan = [row["detail"] for row in store._db.execute(f"EXPLAIN QUERY PLAN {query}")]
            assert not [step for step in plan if "TEMP" in step], plan


def test_retention_lets_an_ingest_in_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeml.fleet.sqlite_prune._AT_ONCE", 10)
    asked: list[str] = []
    with closing(SQLiteStore(tmp_path / "store.db")) as store:
        take(store, results(*range(1, 56)), at_s=100.0)
        take(store, results(*range(56, 91)), at_s=200.0)
        store._db.set_trace_callback(asked.append)
        assert store.prune(150.0) == 55
        store._db.set_trace_callback(None)
        assert asked.count("BEGIN IMMEDIATE") >= 90 / 10
        assert [row["seq"] for row in store.results()] == [*range(56, 91)]
        assert store.status()[0].results == 35
