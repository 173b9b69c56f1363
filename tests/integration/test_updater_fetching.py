"""How an updater gets a release: broken ways, full cards, and only what is missing."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from edgeml.ota.states import Event, State
from edgeml.ota.transport import Folder, Http
from edgeml.ota.trust import Trust
from edgeml.ota.updater import RETRY_S
from edgeml.releases.names import file_name

from .fakedevice import FETCHED, INSTALLED, Counting, FakeDevice, Site, full, look, take
from .publisher import Publisher, getter


def test_a_chunk_changed_on_the_way_is_named_and_the_incumbent_serves_on(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    for path in (publisher.out / "c").iterdir():
        if path.stat().st_size > 2000:
            path.write_bytes(b"\0" + bytes(1000))
    updater, store = site.start()
    updater.turn()
    assert device.changes[-1].event == "refused"
    assert "tampered: " in device.changes[-1].reason
    assert store.journal.state is State.FETCHING
    assert device.serving is None


def test_a_missing_chunk_is_not_asked_for_at_every_turn(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, _ = site.start()
    with publisher.biggest_file_missing():
        updater.turn()
    updater.turn()
    assert device.story[-1] == "refused"
    publisher.clock.advance(RETRY_S)
    updater.turn()
    assert device.story[-1] == "activated"


def test_a_disk_that_fills_while_it_is_fetched_is_a_refusal_and_the_incumbent_serves(
    site: Site, device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    updater, store = site.start()
    monkeypatch.setattr("edgeml.ota.parcel.Parcel.put", full)
    updater.turn()
    assert device.changes[-1].event == "refused"
    assert device.changes[-1].reason.startswith("disk: ")
    assert store.current is None


def test_what_was_fetched_before_the_link_went_is_not_fetched_again(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    with publisher.biggest_file_missing() as hidden:
        updater.turn()
        assert store.journal.state is State.FETCHING
    counting = Counting(publisher.out)
    again, _ = site.start(transports=[counting])
    again.turn()
    assert device.story[-1] == "activated"
    chunks = [name for name in counting.asked if name.startswith("c/")]
    assert file_name(hidden.name) in chunks
    assert len(chunks) <= 2  # the index of the release, and the one chunk that was missing


def test_a_download_that_is_set_aside_goes_on_with_the_next_turn_and_nobody_calls_it_a_refusal(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    device.wanted_elsewhere = lambda here_bytes: here_bytes > 0
    updater.turn()
    assert store.journal.state is State.FETCHING
    assert device.story == FETCHED[:2]
    device.wanted_elsewhere = lambda _: False
    updater.turn()
    assert device.story == INSTALLED
    here_bytes = [here for here, _ in device.heard]
    assert here_bytes == sorted(here_bytes)  # what had come is not fetched again


def test_what_is_fetched_when_nothing_is_new_is_the_small_timestamp_alone(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    counting = Counting(publisher.out)
    updater, _ = site.start(transports=[counting])
    take(updater)
    counting.asked.clear()
    look(updater)
    assert counting.asked == ["tuf/timestamp"]


def test_an_old_stick_does_not_hide_what_the_next_way_has(
    site: Site, device: FakeDevice, publisher: Publisher, tmp_path: Path
) -> None:
    """Whether the device has seen the newer release already or not."""
    stick = tmp_path / "stick"
    shutil.copytree(publisher.out, stick)
    publisher.offer(3)
    updater, store = site.start(transports=[Folder(stick), Folder(publisher.out)])
    updater.turn()
    assert store.journal.current is not None
    assert store.journal.current.release == "activity-3"
    updater.judge(None, passed=True)
    look(updater)
    assert device.story == [*INSTALLED, "healthy"]


def test_a_way_with_something_wrong_is_named_and_the_next_one_serves(
    site: Site, device: FakeDevice, publisher: Publisher, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(publisher.out, broken)
    (broken / "tuf" / "timestamp").write_bytes(b"{}")
    updater, _ = site.start(transports=[Folder(broken), Folder(publisher.out)])
    updater.turn()
    assert device.story == ["refused", *INSTALLED]
    assert device.changes[0].reason.startswith("invalid: ")


def _chunks(site: Site, publisher: Publisher, stick: Path) -> list[Path]:
    """The chunks of the release on a stick that is a copy of what is published."""
    shutil.copytree(publisher.out, stick)
    index = Trust(stick.parent / "trust-of-the-test", publisher.root)
    made = index.index(getter(stick), "activity-2")
    return sorted({stick / file_name(chunk.digest) for chunk in made.chunks})


def test_a_release_comes_together_from_several_ways_and_no_chunk_comes_twice(
    site: Site, device: FakeDevice, publisher: Publisher, tmp_path: Path
) -> None:
    chunks = _chunks(site, publisher, tmp_path / "stick")
    for path in chunks[::2]:
        path.unlink()
    stick, web = Counting(tmp_path / "stick"), Counting(publisher.out)
    updater, _ = site.start(transports=[stick, web])
    updater.turn()
    assert device.story == INSTALLED
    wanted = {file_name(path.name) for path in chunks}
    halves = [[name for name in way.gave if name in wanted] for way in (stick, web)]
    assert sorted(halves[0] + halves[1]) == sorted(wanted)
    assert set(halves[1]) == {file_name(path.name) for path in chunks[::2]}


def test_chunks_that_one_way_has_wrong_come_from_the_next_and_that_one_is_named(
    site: Site, device: FakeDevice, publisher: Publisher, tmp_path: Path
) -> None:
    for path in _chunks(site, publisher, tmp_path / "stick")[:3]:
        path.write_bytes(b"\0" + bytes(1000))
    updater, _ = site.start(transports=[Folder(tmp_path / "stick"), Folder(publisher.out)])
    updater.turn()
    assert device.story == [*INSTALLED[:2], "refused", *INSTALLED[2:]]
    assert device.changes[2].reason.startswith("folder: tampered: ")


def test_a_device_that_starts_before_its_network_asks_again_soon(
    site: Site, device: FakeDevice, publisher: Publisher, tmp_path: Path
) -> None:
    updater, _ = site.start()
    away = publisher.out.rename(tmp_path / "away")
    updater.turn()
    away.rename(publisher.out)
    publisher.clock.advance(RETRY_S)
    updater.turn()
    assert device.story == ["refused", *INSTALLED]


def test_a_device_that_reaches_nobody_asks_less_and_less_often(
    site: Site, device: FakeDevice, publisher: Publisher, tmp_path: Path
) -> None:
    away = Counting(tmp_path / "away")
    updater, _ = site.start(transports=[away])
    for _ in range(360):
        updater.turn()
        publisher.clock.advance(10)
    assert device.story == ["refused"]
    assert away.asked == ["tuf/bundle"] * 7  # at 0, 30, 90, 210, 450, 930 and 1890 seconds


def test_how_far_a_download_is_is_told(site: Site, device: FakeDevice) -> None:
    updater, _ = site.start()
    updater.turn()
    here, whole = device.heard[-1]
    assert here == whole
    assert [one for one, _ in device.heard] == sorted(one for one, _ in device.heard)


def test_where_nothing_is_published_the_places_that_were_asked_are_told(
    site: Site, device: FakeDevice, tmp_path: Path
) -> None:
    web = Http("http://somebody:secret@127.0.0.1:9/models")
    updater, _ = site.start(transports=[Folder(tmp_path / "stick"), web])
    updater.turn()
    assert device.changes[-1].reason == (
        "missing: the metadata bundle cannot be had; looked for in "
        f"the folder {tmp_path / 'stick'}, http://127.0.0.1:9/models"
    )


def test_a_bundle_that_was_whole_when_the_process_died_is_not_fetched_again(
    site: Site, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died between the bundle's rename and the journal's word that all chunks are here."""
    updater, store = site.start()
    step = store.step

    def dies(event: Event, **changes: Any) -> None:
        if event is Event.CHUNKS_COMPLETE:
            raise KeyboardInterrupt
        step(event, **changes)

    monkeypatch.setattr(store, "step", dies)
    with pytest.raises(KeyboardInterrupt):
        updater.turn()
    again = Counting(publisher.out)
    updater, store = site.start(transports=[again])
    states = [store.journal.state]
    updater.turn()
    states.append(store.journal.state)
    assert states == [State.FETCHING, State.PROBATION]
    assert not [name for name in again.asked if name.startswith("c/")]
