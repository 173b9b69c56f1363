"""Every attack in the lists of TUF and of Uptane, against a device that infers and delivers.

Whoever has the broker, the web server or some of the keys gets nothing onto the
device: each attack is refused with a reason that names it, which goes home as
an event, while the device answers every window and its outbox empties.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml import Device, Mqtt, Updates
from edgeml.bundle import Bundle, pack
from edgeml.clock import SystemClock
from edgeml.errors import TrustError
from edgeml.fleet import addresses
from edgeml.fleet.batches import parse_events
from edgeml.fleet.localbroker import LocalBroker
from edgeml.fleet.repo.ledger import Ledger
from edgeml.ota.host import Change
from edgeml.ota.mqtt import Broker
from edgeml.ota.probation import Limits
from edgeml.ota.transport import Http, Transport
from edgeml.ota.trust import Trust
from edgeml.sensors.sample import Window
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.line import Message, Published, Received, Up
from edgeml.sync.link import Link
from edgeml.sync.shelf import Shelf

from . import hostile
from .attacks import ATTACKS, Attack
from .hostile import Publication, Spoils
from .hostileweb import Trickle, web_server
from .publisher import ACTIVITY, DAY_S, Publisher
from .test_device_updates import windows

DEADLINE_S = 300.0
PATIENCE_S = 60.0
BRIEF_S = 0.3
"""For an attack that consists in silence: an honest answer that comes later than this changes
nothing in what the device says."""
AFTERWARDS = 50


OVER_HTTP = [one for one in ATTACKS if one.name in ("rollback", "freeze", "tampered chunk")]


class Late(SystemClock):
    """The machine's clock, so many days on."""

    def __init__(self, days: float) -> None:
        super().__init__()
        self._more_s = days * DAY_S

    def now_s(self) -> float:
        return super().now_s() + self._more_s


class Story:
    """What a device says of its updates, and whether it refused."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def __call__(self, change: Change) -> None:
        self.changes.append(change)

    @property
    def refusals(self) -> list[str]:
        return [change.reason for change in self.changes if change.event == "refused"]


@pytest.fixture(scope="module")
def spoils(tmp_path_factory: pytest.TempPathFactory) -> Spoils:
    return Spoils(tmp_path_factory.mktemp("spoils"))


@pytest.fixture(scope="module")
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as running:
        yield running


FLEETS = (f"fleet{i}" for i in itertools.count())


def _step(link: Link) -> list[Any]:
    return list(link.step(0.1))


def retain(link: Link, fleet: str, files: Mapping[str, bytes]) -> None:
    """Leave files at the broker, and let what devices say come."""
    give_up_s = time.monotonic() + DEADLINE_S
    while not any(isinstance(event, Up) for event in _step(link)):
        assert time.monotonic() < give_up_s
    waiting = {
        link.publish(Message(topics.published(fleet, name), data, retain=True))
        for name, data in files.items()
    }
    while waiting:
        assert time.monotonic() < give_up_s
        waiting -= {event.token for event in _step(link) if isinstance(event, Published)}


def _show(trust: Path, spoils: Spoils, seen: str) -> None:
    """Let a device have seen a publication, as if on another day."""
    files: Publication = getattr(spoils, seen)
    Trust(trust, spoils.root).check(files.get, "default", ("activity",), time.time(), 0.0)


def _windows(story: Story, given: list[int]) -> Iterator[Window]:
    """Noise until the device has refused, and some more."""
    rng = np.random.default_rng(3)
    data = rng.normal(0, 5, (100, 6)).astype(np.float32)
    more, give_up_s = AFTERWARDS, time.monotonic() + DEADLINE_S
    while more:
        assert time.monotonic() < give_up_s, f"nothing was refused: {story.changes}"
        given.append(len(given))
        yield Window(float(len(given)), float(len(given)) + 1, data)
        if story.refusals:
            more -= 1
        else:
            time.sleep(0.002)  # a sensor's pace


def _factory(version: int, folder: Path) -> Path:
    given = Bundle.read(ACTIVITY)
    path = folder / "factory.tflite"
    manifest = given.manifest.replace(version=version)
    path.write_bytes(pack(given.tflite, manifest, given.golden, given.baseline))
    return path


def _withstands(
    attack: Attack, spoils: Spoils, broker: LocalBroker, tmp_path: Path, http: str | None = None
) -> list[str]:
    """Let a device meet an attack; what it refused, after all else was checked."""
    (tmp_path / "root.json").write_bytes(spoils.root)
    _show(tmp_path / "updates" / "trust", spoils, attack.seen)
    story, given, versions = Story(), list[int](), list[int]()
    fleet, factory = next(FLEETS), _factory(attack.factory, tmp_path)
    listener = Link(
        Connection(broker.url),
        f"listener-{fleet}",
        lambda _: (addresses.every_device(fleet, topics.EVENTS),),
    )
    listener.open()
    retain(listener, fleet, {} if http else attack.shown(spoils))
    updates = Updates(tmp_path / "root.json", http=http, state=tmp_path / "updates")
    sync = Mqtt(broker.url, fleet, outbox=tmp_path / "outbox.db", ack="broker")
    with Device(
        "pump-7", model=factory, sync=sync, updates=updates, clock=Late(attack.days)
    ) as device:
        before = device.model.ref
        device.on_update(story)
        for result in device.run(_windows(story, given)):
            versions.append(result.model.version)
        assert device.model.ref == before
        assert versions == [before.version] * len(given)
        assert device.wait_delivered(DEADLINE_S)
        delivery = device.health().delivery
        assert delivery is not None
        assert delivery.missing_rows == 0
        assert delivery.last_error is None
        assert delivery.put >= len(given)
    assert _heard(listener, story.refusals[0])
    listener.close()
    assert not [path for path in tmp_path.parent.rglob("*") if "pwned" in path.name]
    return story.refusals


def _heard(listener: Link, reason: str) -> bool:
    """Whether the refusal came home as an event."""
    give_up_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < give_up_s:
        heard = [event for event in _step(listener) if isinstance(event, Received)]
        rows = [row for event in heard for row in parse_events(event.payload).events]
        if any(row.fields.get("reason") == reason for row in rows):
            return True
    return False


Patient = Callable[[str], None]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Patient:
    """Sets how long a device waits, from the reason that it should find."""
    monkeypatch.setattr("edgeml.updating._TURN_S", 0.02)

    def set_for(reason: str) -> None:
        silent = reason.startswith("missing: ")
        patience_s = BRIEF_S if silent else PATIENCE_S

        def transports(
            settings: Updates, clock: SystemClock, shelf: Shelf | None
        ) -> list[Transport]:
            if shelf is not None and settings.http is None:
                return [Broker(shelf, clock, silence_s=patience_s)]
            return [Http(str(settings.http), timeout_s=patience_s)]

        monkeypatch.setattr("edgeml.updating.transports_of", transports)
        if silent:
            monkeypatch.setattr("edgeml.ota.transport._LEAST_BYTES_PER_S", 1 << 20)

    return set_for


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_hostile_broker_changes_nothing_and_is_named(
    attack: Attack, spoils: Spoils, broker: LocalBroker, patient: Patient, tmp_path: Path
) -> None:
    patient(attack.reason)
    refusals = _withstands(attack, spoils, broker, tmp_path)
    assert attack.reason in refusals[0]


@pytest.fixture
def web() -> Iterator[Callable[..., str]]:
    with contextlib.ExitStack() as stack:

        def start(files: Mapping[str, bytes], trickle: Mapping[str, Trickle]) -> str:
            server = stack.enter_context(web_server(files, trickle))
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}"

        yield start


SLOWLY: Mapping[str, tuple[str, Trickle]] = {
    "its status line comes a byte at a time": ("tuf/", Trickle(b"H", b"T", 0.1)),
    "its headers do not end": ("tuf/", Trickle(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.1)),
    "a chunk comes a byte at a time": ("c/", Trickle(b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.1)),
    "the timestamp never ends": (
        "tuf/timestamp", Trickle(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536, 0.0001),
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", SLOWLY, ids=str)
def test_a_web_server_that_keeps_a_device_waiting_is_given_up(
    how: str,
    spoils: Spoils,
    broker: LocalBroker,
    web: Callable[..., str],
    patient: Patient,
    tmp_path: Path,
) -> None:
    start, trickle = SLOWLY[how]
    attack = Attack(how, lambda s: s.offer, "missing: ")
    patient(attack.reason)
    url = web(spoils.offer, {start: trickle})
    assert "missing: " in _withstands(attack, spoils, broker, tmp_path, url)[0]


@pytest.mark.parametrize("attack", OVER_HTTP, ids=lambda attack: attack.name)
def test_a_hostile_web_server_changes_nothing_and_is_named(
    attack: Attack,
    spoils: Spoils,
    broker: LocalBroker,
    web: Callable[..., str],
    patient: Patient,
    tmp_path: Path,
) -> None:
    patient(attack.reason)
    url = web(attack.shown(spoils), {})
    reason = attack.reason.replace("mqtt: ", "http: ")
    assert reason in _withstands(attack, spoils, broker, tmp_path, url)[0]


def test_a_malicious_mirror_is_named_and_keeps_no_device_from_an_honest_one(
    spoils: Spoils,
    broker: LocalBroker,
    web: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The broker has every chunk wrong; the web server has them right."""
    monkeypatch.setattr("edgeml.updating._TURN_S", 0.02)
    (tmp_path / "root.json").write_bytes(spoils.root)
    fleet, story = next(FLEETS), Story()
    publisher = Link(Connection(broker.url), f"publisher-{fleet}")
    publisher.open()
    retain(publisher, fleet, hostile.tampered(spoils.offer))
    publisher.close()
    updates = Updates(
        tmp_path / "root.json",
        http=web(spoils.offer, {}),
        state=tmp_path / "updates",
        slower=1000.0,
        probation=Limits(slower=1000.0, less_sure=1.0),
    )
    sync = Mqtt(broker.url, fleet, outbox=tmp_path / "outbox.db", ack="broker")
    with Device("pump-7", model=ACTIVITY, sync=sync, updates=updates) as device:
        device.on_update(story)
        for _ in device.run(windows(lambda: device.model.ref.version == 2)):
            pass
    assert "mqtt: tampered: " in story.refusals[0]
    events = [change.event for change in story.changes]
    assert events[:5] == ["release_found", "permitted", "refused", "chunks_complete", "activated"]


def test_after_versions_were_raised_with_stolen_keys_new_keys_let_devices_go_on(
    tmp_path: Path,
) -> None:
    """TUF's recovery from a fast-forward: the owner rotates the keys, and the old words go."""

    def to_the_skies(ledger: Ledger) -> list[str]:
        ledger.timestamp.signed.version = ledger.snapshot.signed.version = 1 << 30
        return ["snapshot", "timestamp"]

    (tmp_path / "owner").mkdir()
    owner = Publisher(tmp_path / "owner")
    owner.release(2)
    owner.repository.rollout("activity-2", 10_000)
    trust = Trust(tmp_path / "trust", owner.root)
    forged = hostile.forged(owner.repository.folder, tmp_path / "stolen", to_the_skies)
    now_s = time.time()
    assert trust.check(forged.get, "default", ("activity",), now_s, 0.0).offers
    truth = hostile.published(owner.repository.folder)
    with pytest.raises(TrustError, match=r"^rollback: "):
        trust.check(truth.get, "default", ("activity",), now_s, 0.0)
    for role in ("timestamp", "snapshot"):
        owner.repository.rotate(role)
    truth = hostile.published(owner.repository.folder)
    assert trust.check(truth.get, "default", ("activity",), now_s, 0.0).offers
