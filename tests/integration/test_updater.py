"""A device's updates: a real repository, a real store, a real probe; only the device is a fake."""

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgeml.errors import BackendError, UpdateError
from edgeml.ota.settings import Updates
from edgeml.ota.states import State
from edgeml.ota.store import Store
from edgeml.ota.transport import Folder
from edgeml.ota.trust import Trust
from edgeml.ota.updater import RETRY_S, Change, Updater, Verdict
from edgeml.releases.names import file_name
from edgeml.runtime.probe import probe

from .publisher import ACTIVITY, DAY_S, Publisher


@dataclass
class FakeDevice:
    """Probes for real, and notes what it was told."""

    wrong_sensor: bool = False
    cannot_load: bool = False
    verdict: Callable[[Path], Verdict | None] = lambda _: None
    serving: Path | None = None
    changes: list[Change] = field(default_factory=list)

    def factory_version(self) -> int:
        return 1

    def misfit(self, path: Path) -> str | None:
        return "sensors: it takes other channels" if self.wrong_sensor else None

    def probe(self, path: Path | None) -> Verdict:
        given = self.verdict(path or ACTIVITY)
        if given is not None:
            return given
        report = probe(path or ACTIVITY)
        reason = report.error or ("; ".join(report.violations) or None)
        return Verdict(reason, report.facts.get("p95_ms"))

    def swap(self, path: Path | None) -> None:
        if self.cannot_load and path is not None:
            raise BackendError("the interpreter refused it")
        self.serving = path

    def report(self, change: Change) -> None:
        self.changes.append(change)

    @property
    def story(self) -> list[str]:
        return [change.event for change in self.changes]


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    made = Publisher(tmp_path)
    made.release(2)
    made.repository.rollout("activity-2", 10_000)
    made.publish()
    return made


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


class Site:
    """One device's folder, and the updater of each start of its process."""

    def __init__(self, place: Path, publisher: Publisher, device: FakeDevice) -> None:
        self._place = place
        self._publisher = publisher
        self._device = device
        (place / "root.json").write_bytes(publisher.root)

    def start(self, hour: float = 12.0, **settings: Any) -> tuple[Updater, Store]:
        updates = Updates(self._place / "root.json", slower=1000.0, **settings)
        store = Store(self._place / "device")
        updater = Updater(
            "activity",
            "pump-7",
            updates,
            store,
            Trust(self._place / "trust", updates.read_root()),
            [Folder(self._publisher.out)],
            self._device,
            self._publisher.clock,
            lambda: hour,
        )
        return updater, store


@pytest.fixture
def site(tmp_path: Path, publisher: Publisher, device: FakeDevice) -> Site:
    return Site(tmp_path, publisher, device)


INSTALLED = ["release_found", "permitted", "chunks_complete", "activated"]


def test_a_release_is_found_fetched_probed_and_serves_on_probation(
    site: Site, device: FakeDevice, publisher: Publisher, tmp_path: Path
) -> None:
    updater, store = site.start()
    updater.turn()
    assert device.story == INSTALLED
    assert store.journal.state is State.PROBATION
    assert device.serving == store.current
    assert device.serving is not None
    assert device.serving.read_bytes() == (tmp_path / "activity-2.tflite").read_bytes()
    updater.judge(None, passed=True)
    assert device.story == [*INSTALLED, "healthy"]
    assert device.changes[-1].after == "idle"


def test_a_model_that_misbehaves_on_probation_is_undone_and_never_comes_back(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    updater.turn()
    updater.judge("nan: a score of nan", passed=False)
    assert device.serving is None
    assert device.changes[-1].reason == "nan: a score of nan"
    assert store.journal.bad == {"activity-2": "nan: a score of nan"}
    publisher.clock.advance(3600)
    updater.check_now()
    updater.turn()
    assert device.story == [*INSTALLED, "unhealthy"]


def test_the_next_release_goes_on_top_and_takes_what_is_the_same_from_the_last(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    updater.turn()
    updater.judge(None, passed=True)
    publisher.release(3)
    publisher.repository.rollout("activity-3", 10_000)
    publisher.publish()
    updater.check_now()
    updater.turn()
    updater.judge(None, passed=True)
    assert store.journal.current is not None
    assert store.journal.previous is not None
    assert (store.journal.current.release, store.journal.previous.release) == (
        "activity-3",
        "activity-2",
    )


def test_a_candidate_that_is_not_for_these_sensors_is_refused_for_good(
    site: Site, device: FakeDevice
) -> None:
    device.wrong_sensor = True
    updater, store = site.start()
    updater.turn()
    assert device.story == [*INSTALLED[:3], "probe_failed"]
    assert store.journal.bad == {"activity-2": "sensors: it takes other channels"}
    assert device.serving is None


def test_a_candidate_much_slower_than_the_incumbent_is_refused(
    site: Site, device: FakeDevice
) -> None:
    device.verdict = lambda path: Verdict(None, 1.0 if path == ACTIVITY else 1001.0)
    updater, store = site.start()
    updater.turn()
    assert device.changes[-1].event == "probe_failed"
    assert device.changes[-1].reason.startswith("slow: a p95 of 1001.00 ms")
    assert store.current is None


def test_a_candidate_that_the_interpreter_refuses_after_all_is_undone(
    site: Site, device: FakeDevice
) -> None:
    device.cannot_load = True
    updater, store = site.start()
    updater.turn()
    assert device.story == [*INSTALLED, "unhealthy"]
    assert device.changes[-1].reason.startswith("crashes: ")
    assert store.current is None


def test_under_ask_nothing_is_fetched_before_somebody_agrees(
    site: Site, device: FakeDevice
) -> None:
    updater, _ = site.start(policy="ask")
    updater.turn()
    updater.turn()
    assert device.story == ["release_found"]
    assert updater.waiting_for == "activity-2"
    with pytest.raises(UpdateError, match="activity-3 does not wait; what waits is activity-2"):
        updater.agree("activity-3")
    updater.agree("activity-2")
    updater.turn()
    assert device.story == INSTALLED


@pytest.mark.parametrize(("hour", "story"), [(12.0, ["release_found"]), (3.5, INSTALLED)])
def test_under_hours_it_waits_for_them(
    hour: float, story: list[str], site: Site, device: FakeDevice
) -> None:
    updater, _ = site.start(hour=hour, policy="hours", hours=(2, 5))
    updater.turn()
    assert device.story == story


def test_a_rollout_halted_while_it_waits_is_withdrawn(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start(policy="ask")
    updater.turn()
    publisher.repository.halt()
    publisher.publish()
    updater.check_now()
    updater.turn()
    assert device.story == ["release_found", "withdrawn"]
    assert store.journal.state is State.IDLE
    assert store.journal.bad == {}


def test_a_release_that_is_revoked_while_it_serves_is_undone(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    updater.turn()
    updater.judge(None, passed=True)
    publisher.repository.revoke("activity-2")
    publisher.publish()
    updater.check_now()
    updater.turn()
    assert device.changes[-1].event == "revoked"
    assert device.serving is None
    assert store.current is None


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
    hidden = max((publisher.out / "c").iterdir(), key=lambda path: path.stat().st_size)
    content = hidden.read_bytes()
    hidden.unlink()
    updater, _ = site.start()
    updater.turn()
    hidden.write_bytes(content)
    updater.turn()
    assert device.story[-1] == "refused"
    publisher.clock.advance(RETRY_S)
    updater.turn()
    assert device.story[-1] == "activated"


def test_a_disk_that_fills_while_it_is_fetched_is_a_refusal_and_the_incumbent_serves(
    site: Site, device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    updater, store = site.start()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edgeml.ota.parcel.Parcel.put", full)
    updater.turn()
    assert device.changes[-1].event == "refused"
    assert device.changes[-1].reason.startswith("disk: ")
    assert store.current is None


def test_what_was_fetched_before_the_link_went_is_not_fetched_again(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    hidden = max((publisher.out / "c").iterdir(), key=lambda path: path.stat().st_size)
    content = hidden.read_bytes()
    hidden.unlink()
    updater.turn()
    assert store.journal.state is State.FETCHING
    hidden.write_bytes(content)
    asked: list[str] = []

    class Counting(Folder):
        def fetch(self, names: Sequence[str], limit_bytes: int) -> Iterator[tuple[str, bytes]]:
            asked.extend(names)
            return super().fetch(names, limit_bytes)

    again, _ = site.start()
    again._transports = [Counting(publisher.out)]
    again.turn()
    assert device.story[-1] == "activated"
    chunks = [name for name in asked if name.startswith("c/")]
    assert file_name(hidden.name) in chunks
    assert len(chunks) <= 2  # the index of the release, and the one chunk that was missing


def test_expired_metadata_is_refused_once_and_inference_is_left_alone(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    store.change(floor_s=int(publisher.clock.now_s()) + 400 * DAY_S)
    for _ in range(3):
        updater.check_now()
        updater.turn()
    assert device.story == ["refused"]
    assert device.changes[0].reason.startswith("expired: ")
    assert device.serving is None


def test_after_a_restart_on_probation_the_starts_are_counted(
    site: Site, device: FakeDevice
) -> None:
    updater, _ = site.start()
    updater.turn()
    _, store = site.start()
    assert store.started() == 1
    assert store.journal.state is State.PROBATION


def test_a_pinned_device_looks_at_no_release(site: Site, device: FakeDevice) -> None:
    updater, store = site.start()
    store.change(pinned=True)
    updater.turn()
    assert device.story == []


def test_a_root_that_is_not_there_says_what_to_carry(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"carry the publisher's metadata/1\.root\.json"):
        Updates(tmp_path / "none.json").read_root()
