"""Whatever the power does, the store comes up with a whole model, and the update goes on."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeml.errors import UpdateError
from edgeml.ota.disk import Disk, SystemDisk
from edgeml.ota.journal import MAX_BAD, Held, Journal
from edgeml.ota.parcel import Parcel
from edgeml.ota.states import Event, State
from edgeml.ota.store import Store

from .conftest import FOLDER, ForgetfulDisk, PowerCutError, Release

TRIES_A_POINT = 4


def fetch(store: Store, release: Release) -> None:
    """What the updater does from an offer to a whole candidate."""
    held = Held(release.index.release, release.index.bundle_digest)
    if store.journal.state is State.IDLE:
        store.step(Event.RELEASE_FOUND, candidate=held)
    if store.journal.state is State.WAITING:
        store.step(Event.PERMITTED)
    if store.journal.state is State.FETCHING:
        parcel = Parcel(store, release.index)
        parcel.copy_from([one for one in (store.journal.current, store.journal.previous) if one])
        for _, chunk in parcel.missing():
            parcel.put(chunk.digest, release.plain[chunk.digest])
        parcel.finish()
        store.step(Event.CHUNKS_COMPLETE)


def install(store: Store, release: Release) -> None:
    """A whole update, from wherever the store is."""
    fetch(store, release)
    if store.journal.state is State.PROBING:
        store.activate()
    if store.journal.state is State.PROBATION:
        store.commit()


def with_all(store: Store, releases: list[Release]) -> Store:
    """One after the other."""
    for release in releases:
        install(store, release)
    return store


def held_bytes(disk: Disk, store: Store) -> bytes | None:
    return None if store.current is None else disk.read(store.current)


def test_a_new_store_has_no_model_of_its_own() -> None:
    store = Store(FOLDER, ForgetfulDisk())
    assert store.current is None
    assert store.journal == Journal()


def test_an_update_serves_after_activation_and_its_predecessor_is_kept(
    releases: list[Release],
) -> None:
    disk = ForgetfulDisk()
    store = with_all(Store(FOLDER, disk), releases)
    assert held_bytes(disk, store) == releases[2].data
    kept = {name for name in disk.names(FOLDER / "models") if name.endswith(".tflite")}
    assert kept == {f"{one.index.bundle_digest}.tflite" for one in releases[1:]}
    assert disk.names(FOLDER / "part") == ()


def test_chunks_that_are_here_already_are_not_missing(releases: list[Release]) -> None:
    store = Store(FOLDER, ForgetfulDisk())
    install(store, releases[0])
    held = Held(releases[1].index.release, releases[1].index.bundle_digest)
    store.step(Event.RELEASE_FOUND, candidate=held)
    store.step(Event.PERMITTED)
    parcel = Parcel(store, releases[1].index)
    assert store.journal.current is not None
    assert parcel.copy_from([store.journal.current]) == 3_000
    assert len(parcel.missing()) == len(releases[1].index.chunks) - 3
    assert parcel.fraction == pytest.approx(3_000 / 6_300)


def _points(steps: Callable[[Store], object], prepare: Callable[[Store], None]) -> tuple[int, int]:
    """The operations at which `steps` could be interrupted."""
    disk = ForgetfulDisk()
    store = Store(FOLDER, disk)
    prepare(store)
    first = disk.operations
    steps(store)
    return first, disk.operations


def test_power_cuts_at_every_operation_leave_a_whole_model_and_the_update_finishes(
    releases: list[Release],
) -> None:
    """Each point several times over, since what was not synced survives by chance."""
    first, last = _points(lambda s: install(s, releases[1]), lambda s: install(s, releases[0]))
    whole = {release.data for release in releases[:2]}
    for point in range(first, last):
        for seed in range(TRIES_A_POINT):
            disk = ForgetfulDisk(chance=random.Random(seed * 1000 + point))
            store = Store(FOLDER, disk)
            install(store, releases[0])
            disk.cut_at = point
            with pytest.raises(PowerCutError):
                install(store, releases[1])
            found = disk.after_power_cut()
            after = Store(FOLDER, found)
            assert held_bytes(found, after) in whole, (point, seed)
            install(after, releases[1])
            assert held_bytes(found, after) == releases[1].data, (point, seed)
            assert after.journal.state is State.IDLE


def test_power_cuts_while_going_back_leave_one_whole_model_and_the_release_bad(
    releases: list[Release],
) -> None:
    def prepare(store: Store) -> None:
        install(store, releases[0])
        fetch(store, releases[1])
        store.activate()

    first, last = _points(lambda s: s.roll_back("nan: a score of nan"), prepare)
    for point in range(first, last):
        for seed in range(TRIES_A_POINT):
            disk = ForgetfulDisk(chance=random.Random(seed * 1000 + point))
            store = Store(FOLDER, disk)
            prepare(store)
            disk.cut_at = point
            with pytest.raises(PowerCutError):
                store.roll_back("nan: a score of nan")
            found = disk.after_power_cut()
            after = Store(FOLDER, found)
            if after.journal.state is State.PROBATION:
                assert held_bytes(found, after) == releases[1].data
                after.roll_back("nan: a score of nan")
            assert held_bytes(found, after) == releases[0].data, (point, seed)
            assert after.journal.bad == {"pump-2": "nan: a score of nan"}


def test_what_was_fetched_and_synced_is_not_fetched_again_after_a_power_cut(
    releases: list[Release],
) -> None:
    disk = ForgetfulDisk()
    store = Store(FOLDER, disk)
    release = releases[0]
    held = Held(release.index.release, release.index.bundle_digest)
    store.step(Event.RELEASE_FOUND, candidate=held)
    store.step(Event.PERMITTED)
    parcel = Parcel(store, release.index)
    for _, chunk in parcel.missing()[:4]:
        parcel.put(chunk.digest, release.plain[chunk.digest])
    parcel.sync()
    after = Store(FOLDER, disk.after_power_cut())
    assert len(Parcel(after, release.index).missing()) == len(release.index.chunks) - 4


def test_a_chunk_that_the_card_lost_is_found_by_the_last_look_and_fetched_again(
    releases: list[Release],
) -> None:
    disk = ForgetfulDisk()
    store = Store(FOLDER, disk)
    release = releases[0]
    held = Held(release.index.release, release.index.bundle_digest)
    store.step(Event.RELEASE_FOUND, candidate=held)
    store.step(Event.PERMITTED)
    parcel = Parcel(store, release.index)
    for _, chunk in parcel.missing():
        parcel.put(chunk.digest, release.plain[chunk.digest])
    disk.write(store.part_of("pump-1"), 2_500, b"rot")
    with pytest.raises(UpdateError, match="1 chunks are missing or went bad"):
        parcel.finish()
    ((_, chunk),) = parcel.missing()
    parcel.put(chunk.digest, release.plain[chunk.digest])
    assert parcel.finish() == held


def test_a_full_disk_is_an_error_before_anything_is_touched(releases: list[Release]) -> None:
    disk = ForgetfulDisk()
    store = Store(FOLDER, disk)
    held = Held(releases[0].index.release, releases[0].index.bundle_digest)
    store.step(Event.RELEASE_FOUND, candidate=held)
    store.step(Event.PERMITTED)
    disk.room, before = 1000, disk.operations
    with pytest.raises(UpdateError, match="disk: store has 1,000 bytes free"):
        Parcel(store, releases[0].index)
    assert disk.operations == before


def test_a_model_that_rots_on_the_card_is_not_used_and_the_one_before_serves(
    releases: list[Release],
) -> None:
    disk = ForgetfulDisk()
    store = Store(FOLDER, disk)
    install(store, releases[0])
    install(store, releases[1])
    assert store.current is not None
    disk.write(store.current, 100, b"rot")
    said: list[str] = []
    after = Store(FOLDER, disk, said.append)
    assert held_bytes(disk, after) == releases[0].data
    assert said == ["pump-2 is damaged on this disk; it is not used"]


def test_a_way_back_that_was_cut_off_is_finished_and_told(releases: list[Release]) -> None:
    disk = ForgetfulDisk()
    store = Store(FOLDER, disk)
    install(store, releases[0])
    fetch(store, releases[1])
    store.activate()
    store.step(Event.UNHEALTHY)
    said: list[str] = []
    after = Store(FOLDER, disk.after_power_cut(), said.append)
    assert held_bytes(after.disk, after) == releases[0].data
    assert said == ["the way back from pump-2 was cut off; it is finished now"]


def test_a_damaged_journal_is_set_aside_and_the_factorys_model_serves() -> None:
    disk = ForgetfulDisk()
    disk.write(FOLDER / "journal.json", 0, b'{"v": 1, "state": "flying"}')
    said: list[str] = []
    store = Store(FOLDER, disk, said.append)
    assert store.current is None
    assert "there is no state 'flying'" in said[0]
    assert "journal.damaged" in disk.names(FOLDER)


def test_starts_are_counted_on_probation_only_and_survive(releases: list[Release]) -> None:
    disk = ForgetfulDisk()
    store = Store(FOLDER, disk)
    assert store.started() == 0
    fetch(store, releases[0])
    store.activate()
    assert store.started() == 1
    after = Store(FOLDER, disk.after_power_cut())
    assert after.started() == 2
    after.commit()
    assert after.started() == 0


def test_a_start_that_ended_as_somebody_wished_does_not_count(releases: list[Release]) -> None:
    store = Store(FOLDER, ForgetfulDisk())
    fetch(store, releases[0])
    assert store.tried() == 1
    store.stopped()
    assert store.journal.tries == 0
    store.activate()
    for _ in range(5):
        assert store.started() == 1
        store.stopped()


def test_a_journal_of_the_version_before_is_read(releases: list[Release]) -> None:
    journal = Journal(State.IDLE, Held("pump-2", "ab" * 32), None, None, 0, {}, 123, None)
    document = json.loads(journal.encode())
    for key in ("tries", "incumbent", "floor_root", "steps", "lately"):
        del document[key]
    document["pinned"] = False
    assert Journal.parse(json.dumps(document).encode()) == journal


def test_a_candidate_given_up_for_good_is_remembered_as_bad(releases: list[Release]) -> None:
    disk = ForgetfulDisk()
    store = Store(FOLDER, disk)
    fetch(store, releases[0])
    store.abandon(Event.PROBE_FAILED, ("golden: 3 of 8 windows differ", {}), for_good=True)
    assert store.journal.state is State.IDLE
    assert store.journal.bad == {"pump-1": "golden: 3 of 8 windows differ"}
    assert disk.names(FOLDER / "models") == ()


def test_the_list_of_bad_releases_keeps_the_latest() -> None:
    journal = Journal()
    for version in range(1, MAX_BAD + 10):
        journal = journal.with_bad(f"pump-{version}", "slow")
    assert len(journal.bad) == MAX_BAD
    assert f"pump-{MAX_BAD + 9}" in journal.bad


def test_the_journal_says_again_what_it_was_told() -> None:
    held = Held("pump-2", "ab" * 32)
    journal = Journal(State.PROBATION, held, None, None, 2, {"pump-1": "slow"}, 123, "pump-2")
    assert Journal.parse(journal.encode()) == journal


def test_the_journal_keeps_the_last_steps_with_their_reasons_for_who_was_killed_before_telling(
    releases: list[Release],
) -> None:
    disk = ForgetfulDisk()
    store = with_all(Store(FOLDER, disk), releases)
    why = ("shadow: all agree", {"agreement": 1.0, "ratio": float("nan")})
    store.roll_back("slow: 3 ms")
    last = Store(FOLDER, disk).journal.lately
    assert [change.number for change in last] == [9, 10, 11, 12, 13, 14, 15, 16]
    assert [change.event for change in last[-3:]] == ["activated", "healthy", "unhealthy"]
    assert (last[-1].before, last[-1].after) == ("idle", "idle")
    assert (last[-1].release, last[-1].reason) == (releases[2].index.release, "slow: 3 ms")
    store.step(Event.RELEASE_FOUND, why, candidate=Held("pump-9", "ab" * 32))
    last = Store(FOLDER, disk).journal.lately
    assert (last[-1].reason, last[-1].facts) == ("shadow: all agree", {"agreement": 1.0})


def test_the_same_store_works_on_the_machines_own_files(
    tmp_path: Path, releases: list[Release]
) -> None:
    with_all(Store(tmp_path / "updates"), releases)
    again = Store(tmp_path / "updates")
    assert again.current is not None
    assert again.current.read_bytes() == releases[2].data


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(UpdateError, match=f"disk: {blocked}/updates cannot be written"):
        Store(blocked / "updates", SystemDisk())
