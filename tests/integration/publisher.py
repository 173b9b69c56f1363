"""A publisher's real repository, which publishes into a folder."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgeml.bundle import Bundle, pack
from edgeml.clock import ManualClock
from edgeml.fleet.repo.publish import Outgoing, Record, to_folder
from edgeml.fleet.repo.repository import Repository, RoleKeys
from edgeml.fleet.repo.seed import Seeder
from edgeml.ota.standing import Get
from edgeml.ota.transport import Folder
from edgeml.sync.connection import Connection

ROOT = Path(__file__).resolve().parents[2]
ACTIVITY = ROOT / "models" / "activity" / "activity.tflite"
DAY_S = 86_400


def getter(folder: Path) -> Get:
    transport = Folder(folder)
    return lambda name: dict(transport.fetch([name], 20 << 20)).get(name)


class Publisher:
    """A repository, and the folder that it publishes into."""

    def __init__(self, place: Path, keys: Mapping[str, RoleKeys] | None = None) -> None:
        self.clock = ManualClock(time.time())
        self.repository = Repository(place / "repo", clock=self.clock)
        self.repository.create(keys)
        self.out = place / "out"
        self._place = place

    @property
    def root(self) -> bytes:
        return (self._place / "repo" / "metadata" / "1.root.json").read_bytes()

    def release(self, version: int) -> None:
        given = Bundle.read(ACTIVITY)
        manifest = given.manifest.replace(version=version)
        path = self._place / f"activity-{version}.tflite"
        path.write_bytes(pack(given.tflite, manifest, given.golden, given.baseline))
        self.repository.release([path])

    def offer(self, version: int) -> None:
        """Release a version, roll it out to everybody, and publish."""
        self.release(version)
        self.repository.rollout(f"activity-{version}", 10_000)
        self.publish()

    def biggest_file(self) -> Path:
        """The largest of the published files: a chunk of the model."""
        return max((self.out / "c").iterdir(), key=lambda path: path.stat().st_size)

    @contextlib.contextmanager
    def biggest_file_missing(self) -> Iterator[Path]:
        """That file is away for a while, so that no fetching comes to its end."""
        path = self.biggest_file()
        content = path.read_bytes()
        path.unlink()
        yield path
        path.write_bytes(content)

    def seed(self, broker: str, fleet: str) -> None:
        """Publish over MQTT."""
        record = Record.of(self.repository.folder, broker, fleet)
        with self.repository.open() as ledger:
            seeder = Seeder(Connection(broker), fleet)
            seeder.publish(Outgoing(ledger, self.clock.now_s()), record)
            seeder.close()

    def publish(self) -> None:
        with self.repository.open() as ledger:
            to_folder(Outgoing(ledger, self.clock.now_s()), self.out)
