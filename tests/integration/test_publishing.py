"""What the publisher sends through a real broker is what a device needs, and no more than once."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeml.bundle import Bundle, pack
from edgeml.cli.main import main
from edgeml.errors import LinkError
from edgeml.fleet.localbroker import LocalBroker, free_port
from edgeml.fleet.repo.publish import Outgoing, Record, Sent
from edgeml.fleet.repo.repository import Repository
from edgeml.fleet.repo.seed import Seeder
from edgeml.releases.chunk import decode, decode_file
from edgeml.releases.index import ReleaseIndex
from edgeml.releases.metadata import parse_metadata
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.line import Message, Received, Up
from edgeml.sync.link import Link

ACTIVITY = Path(__file__).resolve().parents[2] / "models" / "activity" / "activity.tflite"
DEADLINE_S = 300.0


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    with LocalBroker() as running:
        yield running


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repo")
    made.create()
    made.release([ACTIVITY])
    made.rollout("activity-1", 10_000)
    return made


def _next(tmp_path: Path, version: int) -> Path:
    bundle = Bundle.read(ACTIVITY)
    manifest = bundle.manifest.replace(version=version, description=f"number {version}")
    path = tmp_path / f"v{version}.tflite"
    path.write_bytes(pack(bundle.tflite, manifest, bundle.golden, bundle.baseline))
    return path


def _publish(repository: Repository, broker: LocalBroker, *, anew: bool = False) -> Sent:
    seeder = Seeder(Connection(broker.url), "f")
    try:
        with repository.open() as ledger:
            record = Record.of(repository.folder, broker.url, "f")
            return seeder.publish(Outgoing(ledger, time.time()), record, anew=anew)
    finally:
        seeder.close()


class Listener:
    """A device's ear: what comes on some topics, in order."""

    def __init__(self, broker: LocalBroker, *names: str) -> None:
        filters = tuple(topics.published("f", name) for name in names)
        self.link = Link(Connection(broker.url), "ear", lambda _: filters)
        self.heard: list[tuple[str, bytes]] = []
        self.up = False
        self.link.open()

    def until(self, enough: Callable[[], bool]) -> dict[str, bytes]:
        give_up_s = time.monotonic() + DEADLINE_S
        while not enough():
            assert time.monotonic() < give_up_s, [name for name, _ in self.heard]
            self.listen(0.2)
        return dict(self.heard)

    def listen(self, timeout_s: float) -> None:
        for event in self.link.step(timeout_s):
            self.up = self.up or isinstance(event, Up)
            if isinstance(event, Received):
                self.heard.append((event.topic.removeprefix("edgeml/1/f/"), event.payload))


def _retained(broker: LocalBroker, *names: str) -> dict[str, bytes]:
    ear = Listener(broker, *names)
    try:
        return ear.until(lambda: {name for name, _ in ear.heard} >= set(names))
    finally:
        ear.link.close()


def test_everything_a_device_needs_is_retained(repository: Repository, broker: LocalBroker) -> None:
    _publish(repository, broker)
    first = _retained(broker, "tuf/timestamp", "tuf/bundle")
    files = parse_metadata(first["tuf/bundle"])
    assert files["timestamp.json"] == first["tuf/timestamp"]
    targets = json.loads(files["2.targets.json"])["signed"]["targets"]
    digest = targets["releases/activity-1"]["hashes"]["sha256"]
    data = _retained(broker, f"c/{digest}")[f"c/{digest}"]
    index = ReleaseIndex.parse(decode_file(data, 1 << 20, digest))
    got = _retained(broker, *(f"c/{chunk.digest}" for chunk in index.chunks))
    plain = [decode(got[f"c/{c.digest}"], c.digest, c.plain_bytes) for c in index.chunks]
    assert b"".join(plain) == ACTIVITY.read_bytes()


def test_a_device_hears_the_chunks_before_the_metadata_and_the_timestamp_last(
    repository: Repository, broker: LocalBroker
) -> None:
    ear = Listener(broker, "#")
    ear.until(lambda: ear.up)
    sent = _publish(repository, broker)
    ear.until(lambda: len(ear.heard) >= sent.files)
    ear.link.close()
    order = [name for name, _ in ear.heard]
    assert order[-2:] == ["tuf/bundle", "tuf/timestamp"]
    assert all(name.startswith("c/") for name in order[:-2])
    assert len(set(order)) == len(order) == sent.files


def test_what_the_broker_has_is_not_sent_again_unless_it_forgot(
    repository: Repository, broker: LocalBroker, tmp_path: Path
) -> None:
    first = _publish(repository, broker)
    again = _publish(repository, broker)
    assert (again.files, again.known) == (3, first.files - 3)
    repository.release([_next(tmp_path, 2)])
    following = _publish(repository, broker)
    assert following.known > 0
    assert following.files < first.files + 3
    assert _publish(repository, broker, anew=True).known == 0
    broker.kill()
    broker.start()
    assert _publish(repository, broker).known == 0


def test_a_wish_is_answered_from_the_repository(
    repository: Repository, broker: LocalBroker
) -> None:
    with repository.open() as ledger:
        outgoing = Outgoing(ledger, time.time())
    digest = outgoing.digests[0]
    seeder = Seeder(Connection(broker.url), "f")
    stop = threading.Event()
    serving = threading.Thread(target=seeder.serve, args=(lambda: outgoing, stop))
    serving.start()
    ear = Listener(broker, f"c/{digest}")
    try:
        ear.until(lambda: ear.up)
        give_up_s = time.monotonic() + DEADLINE_S
        while not ear.heard and time.monotonic() < give_up_s:
            # The seeder may not be there yet, and a wish is not retained: a device repeats it.
            for wish in (digest, "0" * 64):
                ear.link.publish(Message(topics.want("f", wish), b""))
            ear.listen(0.5)
    finally:
        stop.set()
        seeder.wake()
        serving.join(DEADLINE_S)
        seeder.close()
        ear.link.close()
    assert set(ear.heard) == {(f"c/{digest}", outgoing.file(digest))}


def test_gc_makes_the_broker_forget(
    repository: Repository, broker: LocalBroker, tmp_path: Path
) -> None:
    _publish(repository, broker)
    with repository.open() as ledger:
        before = set(Outgoing(ledger, time.time()).digests)
    repository.release([_next(tmp_path, 2)])
    repository.rollout("activity-2", 10_000)
    _publish(repository, broker)
    options = ["--broker", broker.url, "--fleet", "f", "--json"]
    assert main(["repo", "gc", str(repository.folder.root), "--keep", "1", *options]) == 0
    with repository.open() as ledger:
        gone = before - set(Outgoing(ledger, time.time()).digests)
    assert gone
    _publish(repository, broker)
    ear = Listener(broker, *(f"c/{digest}" for digest in gone), "tuf/timestamp")
    ear.until(lambda: any(name == "tuf/timestamp" for name, _ in ear.heard))
    ear.link.close()
    assert [name for name, _ in ear.heard] == ["tuf/timestamp"]


def test_a_broker_that_is_not_there_is_an_error_in_time_and_said_before(
    repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    seeder = Seeder(Connection(url, connect_timeout_s=1.0, reconnect_min_s=0.1), "f")
    with repository.open() as ledger, pytest.raises(LinkError, match="cannot be reached"):
        seeder.publish(
            Outgoing(ledger, time.time()),
            Record.of(repository.folder, url, "f"),
            timeout_s=1.0,
        )
    seeder.close()
    assert caplog.text.count("not reached yet") == 1


def test_a_broker_of_small_packets_is_an_error_that_says_so(repository: Repository) -> None:
    with LocalBroker() as probe:
        kind = probe.kind.name
    if kind != "mosquitto":
        pytest.skip("only Mosquitto can be told a packet size")
    conf = repository.folder.root.parent / "small.conf"
    port = free_port()
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_packet_size 2000\n")
    with (
        LocalBroker(port=port, arguments=["-c", str(conf)]) as broker,
        pytest.raises(LinkError, match="at most 2000 bytes"),
    ):
        _publish(repository, broker)


def test_the_verb_publishes_stays_and_ends_when_told(
    repository: Repository, broker: LocalBroker
) -> None:
    command = [
        sys.executable, "-m", "edgeml", "repo", "publish", str(repository.folder.root),
        "--broker", broker.url, "--fleet", "f", "--stay", "--json",
    ]  # fmt: skip
    staying = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert "tuf/timestamp" in _retained(broker, "tuf/timestamp")
        staying.send_signal(signal.SIGTERM)
        out, _ = staying.communicate(timeout=DEADLINE_S)
    finally:
        staying.kill()
    assert staying.returncode in (0, -signal.SIGTERM)
    if staying.returncode == 0:
        assert json.loads(out)["files"] > 3
