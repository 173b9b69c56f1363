"""A disk that fails for a moment: no good model is condemned, and no device kept from starting."""

from pathlib import Path

import pytest

from edgeml.errors import UpdateError
from edgeml.ota.journal import MAX_BAD, Held, Journal
from edgeml.ota.states import Event, State
from edgeml.ota.store import Store

from .conftest import FOLDER, ForgetfulDisk, Release
from .test_store import fetch, held_bytes, install


class FailingDisk(ForgetfulDisk):
    """Files in memory, some of whose operations fail while `fails` says so."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: set[str] = set()
        self.spared = 0

    def _try(self, operation: str) -> None:
        if operation in self.fails:
            if not self.spared:
                raise OSError(28, "No space left on device")
            self.spared -= 1

    def read(self, path: Path) -> bytes | None:
        self._try("read " + path.suffix)
        return super().read(path)

    def write(self, path: Path, offset: int, data: bytes) -> None:
        self._try("write")
        super().write(path, offset, data)

    def remove(self, path: Path) -> None:
        self._try("remove " + path.parent.name)
        super().remove(path)


def on_probation(releases: list[Release]) -> tuple[FailingDisk, Store]:
    disk = FailingDisk()
    store = Store(FOLDER, disk)
    install(store, releases[0])
    fetch(store, releases[1])
    store.activate()
    return disk, store


def test_a_way_back_whose_second_write_failed_is_finished_by_the_next_try(
    releases: list[Release],
) -> None:
    disk, store = on_probation(releases)
    disk.fails, disk.spared = {"write"}, 1
    with pytest.raises(UpdateError, match="No space left"):
        store.roll_back("nan: a score of nan")
    assert store.journal.state is State.ROLLING_BACK
    disk.fails = set()
    undone = store.roll_back("nan: a score of nan")
    assert undone is not None
    assert undone.release == "pump-2"
    assert held_bytes(disk, store) == releases[0].data
    assert store.journal.bad == {"pump-2": "nan: a score of nan"}


def test_a_file_that_cannot_be_removed_fails_no_step_and_goes_later(
    releases: list[Release],
) -> None:
    disk, store = on_probation(releases)
    disk.fails = {"remove models"}
    store.roll_back("nan: a score of nan")
    assert held_bytes(disk, store) == releases[0].data
    assert f"{releases[1].index.bundle_digest}.tflite" in disk.names(FOLDER / "models")
    disk.fails = set()
    Store(FOLDER, disk)
    assert f"{releases[1].index.bundle_digest}.tflite" not in disk.names(FOLDER / "models")


@pytest.mark.parametrize("event", [Event.UNHEALTHY, None], ids=["rolling back", "on probation"])
def test_a_full_disk_keeps_no_store_from_opening_and_what_follows_is_kept_in_memory(
    event: Event | None, releases: list[Release]
) -> None:
    disk, store = on_probation(releases)
    if event is not None:
        store.step(event)
    disk.fails = {"write"}
    after = Store(FOLDER, disk)
    with after.starting():
        assert after.started() == (1 if event is None else 0)
    assert held_bytes(disk, after) == releases[1 if event is None else 0].data
    with pytest.raises(UpdateError, match="No space left"):
        after.change(pinned="")


def test_a_full_disk_keeps_no_store_from_opening_after_a_shadow_run(
    releases: list[Release],
) -> None:
    disk = FailingDisk()
    store = Store(FOLDER, disk)
    fetch(store, releases[0])
    store.step(Event.SHADOW_BEGUN)
    disk.fails = {"write"}
    assert Store(FOLDER, disk).journal.state is State.PROBING


def test_a_model_that_cannot_be_read_is_not_used_and_keeps_no_store_from_opening(
    releases: list[Release],
) -> None:
    disk, _ = on_probation(releases)
    disk.fails = {"read .tflite"}
    store = Store(FOLDER, disk)
    assert store.journal.current is None
    assert store.journal.state is State.IDLE


def test_a_start_that_an_exception_ended_counts(releases: list[Release]) -> None:
    _, store = on_probation(releases)
    for starts in (1, 2):
        assert store.started() == starts
        store.stopped(wished=False)
    store.stopped()
    assert store.journal.starts == 2


def test_who_counted_no_start_gives_none_back(releases: list[Release]) -> None:
    """As `edgeml update` between two starts of a device that does not stay up."""
    disk, store = on_probation(releases)
    for _ in range(3):
        store.started()
    Store(FOLDER, disk).stopped()
    assert Store(FOLDER, disk).journal.starts == 3


def test_a_probe_counts_only_where_the_machine_went_down_in_it(releases: list[Release]) -> None:
    store = Store(FOLDER, ForgetfulDisk())
    fetch(store, releases[0])
    store.tried()
    store.stopped(wished=False)
    assert store.journal.tries == 0


def test_reasons_without_end_leave_a_journal_that_the_next_start_reads() -> None:
    journal = Journal()
    for version in range(MAX_BAD):
        journal = journal.with_bad(f"{'x' * 60}-{version}", "\N{ROBOT FACE}" * 70_000)
    assert Journal.parse(journal.encode()) == journal


def test_who_agreed_is_remembered() -> None:
    journal = Journal(candidate=Held("pump-2", "ab" * 32), agreed="pump-2")
    assert Journal.parse(journal.encode()) == journal
