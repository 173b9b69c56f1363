"""Many devices in one process that fetch one release from a broker, or as many bare clients.

A device is the update's own code: `Shelf` on a line of its own, `Broker` with its
window, each chunk unpacked and verified, `Parcel` and `Store` with their bitmap and
journal, the whole file hashed at the end. Two hundred copies of a model do not
fit on one disk's write path, so the disk is memory, and the bundle's bytes,
which were verified as they came, are held once. A bare client is paho alone: it
asks for the same topics with the same window, and throws away what comes.

    python benchmarks/fanout/fetchers.py device|bare URL FLEET FIRST NUMBER MIB RATE

Prints `ready`, begins when a line comes in, and prints one JSON object. RATE is bytes a second
for each device, 0 for as fast as it goes.
"""

import contextlib
import json
import random
import resource
import sys
import threading
import time
from collections import deque
from pathlib import Path
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edgeml.clock import SystemClock
from edgeml.errors import UpdateError
from edgeml.ota.fetch import fetch
from edgeml.ota.journal import Held
from edgeml.ota.mqtt import WINDOW, Broker
from edgeml.ota.states import Event
from edgeml.ota.store import Store
from edgeml.releases.chunk import MAX_CHUNK_BYTES, digest_of
from edgeml.releases.index import ChunkRef, ReleaseIndex
from edgeml.releases.names import file_name
from edgeml.sync import topics
from edgeml.sync.connection import Connection
from edgeml.sync.shelf import Shelf

DEADLINE_S = 900.0
STACK_BYTES = 512 << 10


def content(mib: float) -> bytes:
    """A bundle that nothing packs any smaller; the same in every process."""
    return random.Random(7).randbytes(int(mib * (1 << 20)))


def index_of(data: bytes) -> ReleaseIndex:
    """Its index, cut into the largest chunks."""
    pieces = [data[i : i + MAX_CHUNK_BYTES] for i in range(0, len(data), MAX_CHUNK_BYTES)]
    chunks = tuple(ChunkRef(digest_of(piece), len(piece)) for piece in pieces)
    return ReleaseIndex("fanout", 2, digest_of(data), len(data), chunks)


class Memory:
    """A disk of one device: small files are its own, the bundle is everybody's."""

    def __init__(self, bundle: bytes) -> None:
        self._bundle = bundle
        self._small: dict[Path, bytes] = {}
        self._large: set[Path] = set()

    def read(self, path: Path) -> bytes | None:
        """All of a file."""
        return self._bundle if path in self._large else self._small.get(path)

    def names(self, folder: Path) -> tuple[str, ...]:
        """What is in a folder."""
        return tuple(path.name for path in (*self._small, *self._large) if path.parent == folder)

    def free_bytes(self, _folder: Path, /) -> int:
        """More than enough."""
        return 1 << 40

    def make_folder(self, _folder: Path, /) -> None:
        """Folders are only names here."""

    def write(self, path: Path, offset: int, data: bytes) -> None:
        """Put bytes into a file."""
        if path.suffix == ".tflite":
            if data != self._bundle[offset : offset + len(data)]:
                raise ValueError(f"{path}: other bytes at {offset}")
            self._large.add(path)
        else:
            self._small[path] = data

    def sync(self, _path: Path, /) -> None:
        """Memory is all the medium there is."""

    def sync_folder(self, _folder: Path, /) -> None:
        """The same."""

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name."""
        if old in self._large:
            self._large.remove(old)
            self._large.add(new)
        else:
            self._small[new] = self._small.pop(old)

    def remove(self, path: Path) -> None:
        """Forget a file."""
        self._small.pop(path, None)
        self._large.discard(path)


def device(url: str, fleet: str, name: str, data: bytes, index: ReleaseIndex, rate: float) -> int:
    """Fetch the release as a device does; how many bytes came."""
    shelf = Shelf(Connection(url), fleet, f"{name}-updates")
    broker = Broker(shelf, SystemClock(), max_bytes_per_s=rate or None, silence_s=120.0)
    store = Store(Path(name), Memory(data))
    store.step(Event.RELEASE_FOUND, candidate=Held(index.release, index.bundle_digest))
    store.step(Event.PERMITTED)
    with contextlib.closing(broker):
        fetch(store, index, [broker])
    return index.bundle_bytes


def bare(url: str, fleet: str, name: str, index: ReleaseIndex) -> int:
    """Fetch the same topics and keep nothing; how many bytes came."""
    waiting = deque(topics.published(fleet, file_name(c.digest)) for c in index.chunks)
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"{name}-bare")
    left, came = len(waiting), 0

    def on_connect(*_given: object) -> None:
        for _ in range(min(WINDOW, len(waiting))):
            client.subscribe(waiting.popleft(), qos=1)

    def on_message(_client: Client, _data: object, message: MQTTMessage) -> None:
        nonlocal left, came
        client.unsubscribe(message.topic)
        left, came = left - 1, came + len(message.payload) - 1
        if waiting:
            client.subscribe(waiting.popleft(), qos=1)

    client.on_connect = on_connect
    client.on_message = on_message
    parts = urlsplit(url)
    client.connect(parts.hostname or "", parts.port or 1883)
    give_up_s = time.monotonic() + DEADLINE_S
    while left and time.monotonic() < give_up_s:
        client.loop(1.0)
    client.disconnect()
    return came


def main() -> None:
    """Let all of them fetch at once, each in a thread of its own."""
    kind, url, fleet, first, number, mib, rate = sys.argv[1:]
    data = content(float(mib))
    index = index_of(data)
    begin = threading.Event()
    came: list[int] = []
    problems: list[str] = []

    def work(name: str) -> None:
        begin.wait()
        try:
            if kind == "bare":
                came.append(bare(url, fleet, name, index))
            else:
                came.append(device(url, fleet, name, data, index, float(rate)))
        except (UpdateError, OSError, ValueError) as exc:
            problems.append(f"{name}: {exc}")

    threading.stack_size(STACK_BYTES)
    names = [f"d{n:05d}" for n in range(int(first), int(first) + int(number))]
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.readline()
    begin.set()
    for thread in threads:
        thread.join()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    document = {
        "bytes": sum(came),
        "whole": sum(one == index.bundle_bytes for one in came),
        "problems": problems[:5],
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
    }
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    main()
