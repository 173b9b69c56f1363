"""An outbox's file: at its cap, on a full disk, damaged, or of a later edgeml."""

import sqlite3
from pathlib import Path

import pytest

from edgeml.clock import ManualClock
from edgeml.errors import OutboxError
from edgeml.sync import outboxfile
from edgeml.sync.entries import Caps
from edgeml.sync.outbox import Outbox
from edgeml.sync.outboxfile import BrokenOutboxError, FullOutboxError
from edgeml.sync.spans import Spans

from .outboxes import CAPS, a_result, store


def test_a_file_at_its_cap_says_that_it_is_full_and_an_eviction_helps(
    tmp_path: Path, clock: ManualClock
) -> None:
    box = Outbox(tmp_path / "x.db", Caps(results_bytes=1 << 30, events_bytes=0), clock)
    box._db.execute("PRAGMA max_page_count=40")
    with pytest.raises(FullOutboxError):  # noqa: PT012
        while True:
            store(box, *(a_result(n) for n in range(100)))
    rows = box.waiting.rows
    lost = box.evict(0.5)
    assert lost.count == box.waiting.missing > 0
    assert box.waiting.rows == rows - lost.count
    store(box, *(a_result(n) for n in range(10)))
    box.close()


@pytest.mark.parametrize("damage", ["random bytes", "torn page", "another database", "lost record"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begins(
    tmp_path: Path, clock: ManualClock, damage: str
) -> None:
    path = tmp_path / "x.db"
    box = Outbox(path, CAPS, clock)
    for n in range(50):
        store(box, *(a_result(n) for n in range(50)))
    old_id = box.id
    box._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    box.close()
    if damage == "random bytes":
        path.write_bytes(bytes(range(256)) * 64)
    elif damage == "torn page":
        content = bytearray(path.read_bytes())
        content[4096 : len(content)] = b"\xa5" * (len(content) - 4096)
        path.write_bytes(content)
    else:
        with sqlite3.connect(path) as db:
            db.execute("DELETE FROM meta" if damage == "lost record" else "PRAGMA application_id=7")
        db.close()
    box = Outbox(path, CAPS, clock)
    assert box.aside is not None
    assert box.aside.exists()
    assert box.id != old_id
    store(box, a_result(1))
    assert box.waiting.rows == 1
    box.close()


def test_a_start_on_a_full_disk_lives_on_what_the_last_one_kept_for_it(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, kept = tmp_path / "x.db", tmp_path / "x.db.reserve"
    Outbox(path, CAPS, clock).close()
    assert kept.stat().st_size >= 256 * 1024
    connect = outboxfile.connect

    def on_a_full_disk(path: Path, cap_bytes: int) -> sqlite3.Connection:
        if kept.exists():
            raise FullOutboxError("there is no page left")
        return connect(path, cap_bytes)

    monkeypatch.setattr(outboxfile, "connect", on_a_full_disk)
    box = Outbox(path, CAPS, clock)
    assert (box.boots, kept.exists()) == (2, False)
    box.close()
    assert kept.exists()


def test_an_outbox_of_a_later_edgeml_is_left_alone(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "x.db"
    Outbox(path, CAPS, clock).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(OutboxError, match="later edgeml"):
        Outbox(path, CAPS, clock)
    assert path.exists()


def test_damage_found_while_running_is_told_apart_from_a_full_disk(
    tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "x.db"
    box = Outbox(path, CAPS, clock)
    for n in range(50):
        store(box, *(a_result(n) for n in range(50)))
    box.close()
    box = Outbox(path, CAPS, clock)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    box._db.execute("PRAGMA cache_size=0")
    with pytest.raises(BrokenOutboxError):
        box.commit([], Spans(((1, 2000),)))
    aside = box.start_over()
    assert aside.exists()
    store(box, a_result(1))
    box.close()
