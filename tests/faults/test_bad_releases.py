"""A release that is bad, in each of ten ways, meets a hundred devices: it is halted, all work on.

The devices are light (no sensors, no outbox, all in one process), but what they
decide with is the device's own: trust, store, updater, site, lane and models,
with a real probe for each release. They say how they fare on a real broker, where the
real conductor hears it and writes the rules into a real repository.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.bundle import Golden, pack
from edgeml.clock import SystemClock
from edgeml.errors import UpdateError
from edgeml.fleet.conductor import Conductor, Ending
from edgeml.fleet.localbroker import LocalBroker
from edgeml.fleet.repo import contents
from edgeml.fleet.repo.ledger import Ledger
from edgeml.fleet.repo.packing import encode
from edgeml.fleet.repo.publish import Outgoing, to_folder
from edgeml.fleet.repo.repository import Repository
from edgeml.fleet.repo.ruling import RepositoryRuling
from edgeml.fleet.repo.signers import Keyring, Settings
from edgeml.fleet.staging import Policy
from edgeml.lane import Lane
from edgeml.manifest import Budgets, Channel, InputSpec, Manifest, OutputSpec
from edgeml.ota.host import Verdict
from edgeml.ota.probation import Limits
from edgeml.ota.settings import Updates
from edgeml.ota.states import State
from edgeml.ota.transport import Folder
from edgeml.ota.trust import Trust
from edgeml.ota.updater import Updater
from edgeml.releases.chunk import digest_of
from edgeml.releases.index import ChunkRef, ReleaseIndex
from edgeml.releases.names import release_target
from edgeml.releases.rollout import BUCKETS, Rule, bucket_of
from edgeml.runtime import probe as probing
from edgeml.runtime.model import Model
from edgeml.sensors.sample import Window
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.line import Message, Published
from edgeml.sync.link import Link
from edgeml.updatesite import Site
from tests.faults import crashingchild

pytestmark = pytest.mark.faults

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "classifier_float.tflite"
FLEET = "plant"
DEVICES = tuple(f"pump-{i}" for i in range(100))
MOST_SHARE = 0.15
DEADLINE_S = 900.0
SHAPE, CLASSES = (20, 3), ("a", "b", "c", "d")
TRIAL_WINDOWS = 60


def manifest(version: int, **changed: Any) -> Manifest:
    channels = tuple(Channel(name, "m/s^2") for name in ("x", "y", "z"))
    base = Manifest(
        name="pump",
        version=version,
        task="classification",
        created="2026-01-01T00:00:00Z",
        inputs=InputSpec(channels, sample_rate_hz=20.0, window=20, stride=20, shape=SHAPE),
        outputs=OutputSpec("classification", labels=CLASSES),
    )
    return base.replace(**changed)


def windows(count: int) -> Iterator[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(5)
    for _ in range(count):
        yield rng.normal(0, 1, SHAPE).astype(np.float32)


def bundle(version: int, tflite: bytes | None = None, *, golden: bool = True, **more: Any) -> bytes:
    """A release; with `golden`, what this very model says to some windows."""
    model = FIXTURE.read_bytes() if tflite is None else tflite
    made = pack(model, manifest(version, **more))
    if not golden:
        return made
    given = np.stack(list(windows(4)))
    with Model.load(made) as loaded:
        said = np.stack([loaded.run_raw(window) for window in given])
    return pack(model, manifest(version, **more), Golden(given, said, 1e-4))


def wrong_golden(version: int) -> bytes:
    given = np.stack(list(windows(4)))
    said = np.tile(np.array([1, 0, 0, 0], np.float32), (4, 1))
    return pack(FIXTURE.read_bytes(), manifest(version), Golden(given, said, 1e-4))


def slow(version: int) -> bytes:
    return bundle(version, budgets=Budgets(p95_ms=0.0001))


def fat(version: int) -> bytes:
    return bundle(version, budgets=Budgets(peak_rss_mb=1.0))


def _weights(fill: float) -> bytes:
    """The model with its last weights replaced; where they lie, their values say."""
    data = FIXTURE.read_bytes()
    first = np.array([0.27387094, -0.16848579, -0.34390432, 0.22269364], np.float32).tobytes()
    at = data.index(first)
    return data[:at] + np.full(64, fill, np.float32).tobytes() + data[at + 256 :]


def nan(version: int) -> bytes:
    return bundle(version, _weights(float("nan")), golden=False)


def constant(version: int) -> bytes:
    return bundle(version, _weights(0.0))


def missing_op(version: int) -> bytes:
    """The code of one operator made one that no interpreter has."""
    data = bytearray(FIXTURE.read_bytes())
    data[5553] = 16
    return bundle(version, bytes(data), golden=False)


def wrong_sensor(version: int) -> bytes:
    channels = tuple(Channel(name, "rad/s") for name in ("roll", "pitch", "yaw"))
    inputs = manifest(version).inputs._replace(channels=channels)
    return bundle(version, golden=False, inputs=inputs)


@dataclass(frozen=True)
class Bad:
    """A way to be bad, what devices say of it, and how its bundle is made."""

    name: str
    reason: str
    make: Callable[[int], bytes]


WAYS = [
    Bad("wrong golden", "golden", wrong_golden),
    Bad("slow", "p95", slow),
    Bad("fat", "MiB", fat),
    Bad("nan", "nan", nan),
    Bad("constant", "constant: ", constant),
    Bad("crashes the interpreter", "SIGSEGV", bundle),
    Bad("missing op", "Op builtin_code", missing_op),
    Bad("wrong sensor", "wrong sensor: ", wrong_sensor),
    Bad("truncated", "invalid: ", lambda version: bundle(version)[:-1000]),
]


VERDICTS: dict[tuple[str, str], Verdict] = {}


class Pumping(Site):
    """A site with a real probe, once for each file: the hundred devices are one machine."""

    def probe(self, path: Path | None) -> Verdict:
        key = (probing.CHILD, "factory" if path is None else digest_of(path.read_bytes()))
        if key not in VERDICTS:
            VERDICTS[key] = super().probe(path)
        return VERDICTS[key]


class Pump:
    """One light device."""

    def __init__(self, device: str, place: Path, settings: Updates, factory: Path) -> None:
        self.device = device
        folder = place / device
        self.site = Pumping(factory, folder, settings)
        self.lane = Lane(self.site.starts_with())
        self.site.attach(self.lane, [], lambda: None, lambda: False)
        self.updater = Updater(
            self.site.name,
            device,
            settings,
            self.site.store,
            Trust(folder / "trust", settings.read_root()),
            [Folder(Path(settings.folder or ""))],
            self.site,
            SystemClock(),
        )
        self.trial = list(windows(TRIAL_WINDOWS))

    def turn(self) -> None:
        self.updater.check_now()
        self.updater.turn()
        if self.site.store.journal.state is State.PROBATION:
            self.infer(self.trial)
        self.updater.judge(self.site.verdict, passed=self.site.passed)
        self.site.settle()

    def infer(self, given: list[np.ndarray[Any, Any]]) -> int:
        """Answer these windows; how many were answered."""
        answers = 0
        for i, data in enumerate(given):
            for result in self.lane.push([Window(float(i), float(i) + 1, data)]):
                self.site.observe(result)
                answers += 1
        return answers

    @property
    def version(self) -> int:
        return self.lane.model.ref.version

    @property
    def bad(self) -> dict[str, str]:
        return dict(self.site.store.journal.bad)


class Plant:
    """A publisher, a broker, and a hundred devices that took release 2 from them."""

    def __init__(self, place: Path, broker: LocalBroker) -> None:
        self.broker = broker
        self.repository = Repository(place / "repo")
        self.repository.create()
        self.out = place / "out"
        self.version = 1
        self._place = place
        root = place / "repo" / "metadata" / "1.root.json"
        factory = place / "factory.tflite"
        factory.write_bytes(bundle(1))
        limits = Limits(windows=TRIAL_WINDOWS, slower=1000.0, less_sure=1.0)
        settings = Updates(root, folder=self.out, slower=1000.0, probation=limits)
        self.pumps = [Pump(device, place / "devices", settings, factory) for device in DEVICES]
        self._link = Link(Connection(broker.url), "pumps")
        self._link.open()

    def release(self, data: bytes, version: int) -> str:
        """Sign a release, whatever its bytes are: the publisher's own tool refuses some."""
        self.version = version
        pieces = [data[i : i + 4096] for i in range(0, len(data), 4096)]
        with self.repository.open() as ledger:
            for piece in pieces:
                ledger.folder.chunk(digest_of(piece)).write_bytes(encode(piece))
            refs = tuple(ChunkRef(digest_of(piece), len(piece)) for piece in pieces)
            digest = hashlib.sha256(data).hexdigest()
            index = ReleaseIndex("pump", version, digest, len(data), refs)
            custom = {"name": "pump", "version": version, "sha256": digest, "bytes": len(data)}
            ledger.put("targets", release_target(index.release), index.encode(), custom)
            self._seal(ledger, "targets")
        return index.release

    def force(self, release: str) -> None:
        """A rule that the publisher's own tool would not sign."""
        now_s = int(time.time())
        with self.repository.open() as ledger:
            rule = Rule(release, "default", BUCKETS, now_s, now_s + 3600)
            contents.put_rule(ledger, rule, 0)
            self._seal(ledger, "rollout")
            to_folder(Outgoing(ledger, time.time()), self.out)

    def _seal(self, ledger: Ledger, role: str) -> None:
        keyring = Keyring(ledger.folder, Settings.read(ledger.folder))
        ledger.seal([role], keyring, time.time())

    def lead(self, release: str) -> Ending:
        """The real conductor, with the devices taking their turns in between."""
        ruling = RepositoryRuling(
            self.repository, release, "default", Connection(self.broker.url), FLEET, self.out
        )
        conductor = Conductor(
            release, ruling, Policy(soak_s=0.0), Connection(self.broker.url), FLEET
        )
        conductor._link.open()
        give_up_s = time.monotonic() + DEADLINE_S
        before = -1
        try:
            while time.monotonic() < give_up_s:
                rule = ruling.read()
                upto = 0 if rule is None or rule.release != release else rule.upto
                if upto != before and upto:
                    self.turn(release, upto)
                before = upto
                self.say()
                ending = conductor.step(0.2)
                if ending is not None:
                    return ending
        finally:
            conductor._link.close()
        raise AssertionError(f"the rollout of {release} came to no end")

    def turn(self, release: str, upto: int) -> None:
        """All devices that the rule lets in take their turn, and a tenth of the others."""
        for i, pump in enumerate(self.pumps):
            if bucket_of(release, pump.device) < upto or i % 10 == 0:
                pump.turn()

    def say(self) -> None:
        """Each device leaves its state at the broker."""
        give_up_s = time.monotonic() + DEADLINE_S
        while not self._link.online:
            assert time.monotonic() < give_up_s
            self._link.step(0.1)
        waiting = set()
        for pump in self.pumps:
            state = {
                "v": 1, "online": True, "device": pump.device, "outbox": "x", "epoch": [1, 1],
                "time_s": time.time(), "edgeml": "0.1.0", "update": pump.site.standing("default"),
            }  # fmt: skip
            topic = topics.device_topic(FLEET, pump.device, topics.STATE)
            message = Message(topic, json.dumps(state).encode(), retain=True)
            waiting.add(self._link.publish(message))
        while waiting:
            assert time.monotonic() < give_up_s
            waiting -= {e.token for e in self._link.step(0.1) if isinstance(e, Published)}

    def close(self) -> None:
        self._link.close()
        for pump in self.pumps:
            pump.lane.close()


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    with LocalBroker() as broker:
        made = Plant(tmp_path_factory.mktemp("plant"), broker)
        ending = made.lead(made.release(bundle(2), 2))
        assert ending.done, ending
        for pump in made.pumps:
            pump.turn()
        # That everybody takes a good one is what makes the others' halts worth something.
        assert [pump.version for pump in made.pumps] == [2] * len(DEVICES)
        yield made
        made.close()


def _all_work(plant: Plant) -> None:
    for pump in plant.pumps:
        # A lane takes over what it was offered between two windows.
        assert pump.infer(pump.trial[:3]) == 3
        assert pump.version == 2
        current, held = pump.site.store.current, pump.site.store.journal.current
        assert current is not None
        assert held is not None
        assert digest_of(current.read_bytes()) == held.digest


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_bad_release_is_halted_and_no_device_is_without_a_working_model(
    way: Bad, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = plant.version + 1
    made = way.make(version)
    if way.name == "crashes the interpreter":
        monkeypatch.setattr("edgeml.runtime.probe.CHILD", crashingchild.__name__)
        monkeypatch.setenv(crashingchild.CORRUPT, digest_of(made))
        # A probe imports nothing from the folder that it is called in.
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    release = plant.release(made, version)
    ending = plant.lead(release)
    assert ending.halted, ending
    for pump in plant.pumps:
        pump.turn()
    met = [pump for pump in plant.pumps if release in pump.bad]
    print(f"{way.name}: {len(met)} of {len(DEVICES)} met it; {met[0].bad[release]}")
    assert 0 < len(met) < MOST_SHARE * len(DEVICES)
    assert all(way.reason in pump.bad[release] for pump in met)
    assert set(ending.failures) <= {pump.device for pump in met}
    _all_work(plant)


def test_an_older_release_is_led_nowhere_and_taken_by_nobody(plant: Plant) -> None:
    """The tenth way: the publisher's tool refuses it, and forced past the tool the devices do."""
    newest = plant.release(bundle(plant.version + 1), plant.version + 1)
    plant.repository.rollout(newest, 0)
    with pytest.raises(UpdateError, match="no device goes back to an older version by a rule"):
        plant.repository.rollout("pump-2", BUCKETS)
    with pytest.raises(UpdateError, match="it is the newer one"):
        plant.lead("pump-2")
    plant.force("pump-2")
    for pump in plant.pumps:
        pump.turn()
        assert pump.site.store.journal.state is State.IDLE
    _all_work(plant)
