"""A device's updates: a real repository, a real store, a real probe; only the device is a fake."""

import errno
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgeml.errors import BackendError, UpdateError
from edgeml.ota.host import Change, Shadowed, Verdict
from edgeml.ota.probation import Incumbent
from edgeml.ota.settings import Updates
from edgeml.ota.states import State
from edgeml.ota.store import Store
from edgeml.ota.transport import Folder, Transport
from edgeml.ota.trust import Trust
from edgeml.ota.updater import MAX_TRIES, RETRY_S, Updater
from edgeml.releases.names import file_name
from edgeml.runtime.probe import probe

from .publisher import ACTIVITY, DAY_S, Publisher


@dataclass
class FakeDevice:
    """Probes for real, and notes what it was told."""

    wrong_sensor: bool = False
    cannot_load: bool = False
    verdict: Callable[[Path], Verdict | None] = lambda _: None
    unloadable: set[Path] = field(default_factory=set)
    factory_fails: bool = False
    outcome: Shadowed | None = None
    shadowing: Path | None = None
    heard: list[tuple[int, int]] = field(default_factory=list)
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

    def pieces(self) -> Iterable[bytes]:
        return ()

    def incumbent(self) -> Incumbent:
        return Incumbent(100.0, 0.9, 3, 500)

    def progress(self, here_bytes: int, all_bytes: int) -> None:
        self.heard.append((here_bytes, all_bytes))

    def shadow(self, path: Path, windows: int) -> None:
        self.shadowing = path

    def shadowed(self) -> Shadowed | None:
        return self.outcome

    def swap(self, path: Path | None) -> None:
        if path is not None and (self.cannot_load or path in self.unloadable):
            raise BackendError("the interpreter refused it")
        if path is None and self.factory_fails:
            raise BackendError("out of memory")
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

    def start(
        self,
        hour: float = 12.0,
        transports: Sequence[Transport] | None = None,
        **settings: Any,
    ) -> tuple[Updater, Store]:
        updates = Updates(self._place / "root.json", slower=1000.0, **settings)
        store = Store(self._place / "device")
        updater = Updater(
            "activity",
            "pump-7",
            updates,
            store,
            Trust(self._place / "trust", updates.read_root()),
            [Folder(self._publisher.out)] if transports is None else transports,
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

    again, _ = site.start(transports=[Counting(publisher.out)])
    again.turn()
    assert device.story[-1] == "activated"
    chunks = [name for name in asked if name.startswith("c/")]
    assert file_name(hidden.name) in chunks
    assert len(chunks) <= 2  # the index of the release, and the one chunk that was missing


def test_expired_metadata_is_refused_once_and_inference_is_left_alone(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    store.change(floor_s=int(publisher.clock.now_s()) + 400 * DAY_S, floor_root=1)
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
    store.change(pinned="")
    updater.turn()
    assert device.story == []


def test_a_root_that_is_not_there_says_what_to_carry(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"carry the publisher's metadata/1\.root\.json"):
        Updates(tmp_path / "none.json").read_root()


def test_a_device_pinned_to_a_release_takes_that_one_only(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    store.change(pinned="activity-3")
    updater.turn()
    assert device.story == []
    publisher.release(3)
    publisher.repository.rollout("activity-3", 10_000)
    publisher.publish()
    updater.check_now()
    updater.turn()
    assert device.story == INSTALLED


def test_an_old_stick_does_not_hide_what_the_next_way_has(
    site: Site, device: FakeDevice, publisher: Publisher, tmp_path: Path
) -> None:
    """Whether the device has seen the newer release already or not."""
    stick = tmp_path / "stick"
    shutil.copytree(publisher.out, stick)
    publisher.release(3)
    publisher.repository.rollout("activity-3", 10_000)
    publisher.publish()
    updater, store = site.start(transports=[Folder(stick), Folder(publisher.out)])
    updater.turn()
    assert store.journal.current is not None
    assert store.journal.current.release == "activity-3"
    updater.judge(None, passed=True)
    updater.check_now()
    updater.turn()
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


def test_what_is_fetched_when_nothing_is_new_is_the_small_timestamp_alone(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    asked: list[str] = []

    class Counting(Folder):
        def fetch(self, names: Sequence[str], limit_bytes: int) -> Iterator[tuple[str, bytes]]:
            asked.extend(names)
            return super().fetch(names, limit_bytes)

    updater, _ = site.start(transports=[Counting(publisher.out)])
    updater.turn()
    updater.judge(None, passed=True)
    asked.clear()
    updater.check_now()
    updater.turn()
    assert asked == ["tuf/timestamp"]


def test_a_model_gone_back_to_that_cannot_be_loaded_leaves_the_factorys(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    updater.turn()
    updater.judge(None, passed=True)
    assert store.current is not None
    device.unloadable.add(store.current)
    publisher.release(3)
    publisher.repository.rollout("activity-3", 10_000)
    publisher.publish()
    updater.check_now()
    updater.turn()
    updater.judge("nan: a score of nan", passed=False)
    assert device.serving is None
    assert store.journal.current is None
    assert list(store.journal.bad) == ["activity-3", "activity-2"]


def test_a_swap_back_that_fails_is_tried_again_with_the_next_turn(
    site: Site, device: FakeDevice
) -> None:
    updater, store = site.start()
    updater.turn()
    device.factory_fails = True
    updater.judge("nan: a score of nan", passed=False)
    served = [device.serving]
    device.factory_fails = False
    updater.judge(None, passed=False)
    served.append(device.serving)
    assert [one is None for one in served] == [False, True]
    assert store.journal.state is State.IDLE


def test_a_card_that_takes_no_journal_still_serves_the_model_before_and_writes_it_later(
    site: Site, device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    updater, store = site.start()
    updater.turn()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("edgeml.ota.store.replace", full)
        with pytest.raises(UpdateError, match="disk: "):
            updater.judge("nan: a score of nan", passed=False)
    assert device.serving is None
    updater.judge(None, passed=False)
    assert store.journal.bad == {"activity-2": "nan: a score of nan"}


def test_a_candidate_that_takes_the_machine_down_in_each_probe_is_given_up(
    site: Site, device: FakeDevice
) -> None:
    class PowerCutError(BaseException):
        pass

    def down(_: Path) -> Verdict:
        raise PowerCutError

    device.verdict = down
    for _ in range(MAX_TRIES):
        updater, store = site.start()
        with pytest.raises(PowerCutError):
            updater.turn()
    updater, store = site.start()
    updater.turn()
    assert device.story[-1] == "probe_failed"
    assert store.journal.bad == {"activity-2": "crashes: this machine went down in 3 probes of it"}


def test_a_release_taken_back_is_undone_even_while_the_next_one_is_under_way(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    updater.turn()
    updater.judge(None, passed=True)
    publisher.release(3)
    publisher.repository.rollout("activity-3", 10_000)
    publisher.publish()
    hidden = max((publisher.out / "c").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    again, store = site.start(policy="ask")
    again.turn()
    assert store.journal.state is State.WAITING
    publisher.repository.revoke("activity-2")
    publisher.publish()
    again.check_now()
    again.turn()
    assert device.story[-2:] == ["withdrawn", "revoked"]
    assert device.serving is None
    assert hidden.exists()
    again.turn()
    assert again.waiting_for == "activity-3"


def test_the_shadow_runs_before_the_candidate_takes_over_and_what_it_saw_is_told(
    site: Site, device: FakeDevice
) -> None:
    updater, store = site.start(shadow_windows=50)
    updater.turn()
    assert device.story[-1] == "shadow_begun"
    assert device.shadowing == store.candidate
    updater.turn()
    assert store.journal.state is State.SHADOWING
    device.outcome = Shadowed(None, {"windows": 50, "agreement": 0.96, "candidate_us": 90.0})
    updater.turn()
    assert device.story[-1] == "activated"
    assert device.changes[-1].reason == "shadow: 96.0% of the windows agree"
    assert device.changes[-1].as_dict()["agreement"] == 0.96


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Shadowed("nan: a score of nan"), "nan: a score of nan"),
        (
            Shadowed(None, {"windows": 50, "agreement": 0.5}),
            "disagrees: 50% of 50 windows agree with the incumbent, fewer than 90%",
        ),
    ],
)
def test_a_candidate_that_fails_in_the_shadow_never_serves(
    outcome: Shadowed, reason: str, site: Site, device: FakeDevice
) -> None:
    updater, store = site.start(shadow_windows=50, shadow_agreement=0.9)
    updater.turn()
    device.outcome = outcome
    updater.turn()
    assert device.story[-1] == "shadow_failed"
    assert store.journal.bad == {"activity-2": reason}
    assert device.serving is None


def test_a_restart_in_the_shadow_begins_again_with_the_probe(
    site: Site, device: FakeDevice
) -> None:
    updater, _ = site.start(shadow_windows=50)
    updater.turn()
    again, store = site.start(shadow_windows=50)
    states = [store.journal.state]
    again.turn()
    states.append(store.journal.state)
    assert states == [State.PROBING, State.SHADOWING]


def test_how_far_a_download_is_is_told(site: Site, device: FakeDevice) -> None:
    updater, _ = site.start()
    updater.turn()
    here, whole = device.heard[-1]
    assert here == whole
    assert [one for one, _ in device.heard] == sorted(one for one, _ in device.heard)


def test_going_back_by_hand_remembers_the_release_as_bad(site: Site, device: FakeDevice) -> None:
    updater, store = site.start()
    with pytest.raises(UpdateError, match="nothing to go back to"):
        updater.roll_back("by hand: wished")
    updater.turn()
    updater.judge(None, passed=True)
    updater.roll_back("by hand: wished")
    assert device.serving is None
    assert store.journal.bad == {"activity-2": "by hand: wished"}


def test_one_date_far_ahead_locks_no_device_out(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    """A rule from a publisher whose clock was a year ahead: the floor stays below what is valid."""
    publisher.clock.advance(300 * DAY_S)
    publisher.repository.rollout("activity-2", 10_000)
    publisher.clock.step_wall(-300 * DAY_S)
    publisher.repository.refresh(everything=True)
    publisher.publish()
    updater, store = site.start()
    updater.turn()
    assert store.journal.floor_s < publisher.clock.now_s() + 2 * DAY_S


def test_a_floor_does_not_outlive_the_root_under_which_it_was_learned(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    store.change(floor_s=int(publisher.clock.now_s()) + 400 * DAY_S, floor_root=1)
    updater.turn()
    assert device.changes[-1].reason.startswith("expired: ")
    publisher.repository.rotate("root")
    publisher.repository.refresh()
    publisher.publish()
    publisher.clock.advance(RETRY_S)
    updater.check_now()
    updater.turn()
    assert device.story[-1] == "activated"
    assert store.journal.floor_root == 2
