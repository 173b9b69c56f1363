"""A disk that forgets what was not synced, and bundles cut into chunks."""

import random
from pathlib import Path

import pytest

from edgeml.releases.chunk import digest_of
from edgeml.releases.index import ChunkRef, ReleaseIndex

FOLDER = Path("store")
CHUNK_BYTES = 1000


class PowerCutError(BaseException):
    """The power went at this operation; nothing of edgeml may catch it."""


class ForgetfulDisk:
    """Files in memory: what is written, and what would still be there after a power cut.

    A file's bytes survive once they were synced, a name (new, changed or removed)
    once its folder was. What was not synced survives or not, as `chance` falls,
    each by itself: a kernel writes back what it likes when it likes.
    """

    def __init__(self, cut_at: int | None = None, chance: random.Random | None = None) -> None:
        self.operations = 0
        self.cut_at = cut_at
        self.room = 1 << 30
        self._chance = random.Random(0) if chance is None else chance
        self._content: dict[int, bytearray] = {}
        self._safe_content: dict[int, bytes] = {}
        self._names: dict[Path, int] = {}
        self._safe_names: dict[Path, int] = {}

    def after_power_cut(self) -> "ForgetfulDisk":
        """The disk that the next start finds."""
        disk = ForgetfulDisk()
        for path in {*self._names, *self._safe_names}:
            now, safe = self._names.get(path), self._safe_names.get(path)
            file = now if now == safe or self._chance.random() < 0.5 else safe
            if file is None:
                continue
            lasting = self._safe_content.get(file, b"")
            if self._chance.random() < 0.5:
                lasting = self._torn(lasting, bytes(self._content[file]))
            disk._put(path, lasting)
        return disk

    def _torn(self, safe: bytes, written: bytes) -> bytes:
        """Some of what was written and not synced, up to some point."""
        cut = self._chance.randint(0, len(written))
        return written[:cut] + safe[cut:]

    def _put(self, path: Path, data: bytes) -> None:
        file = len(self._content)
        self._content[file], self._safe_content[file] = bytearray(data), data
        self._names[path] = self._safe_names[path] = file

    def _count(self) -> None:
        self.operations += 1
        if self.cut_at is not None and self.operations > self.cut_at:
            raise PowerCutError

    def read(self, path: Path) -> bytes | None:
        file = self._names.get(path)
        return None if file is None else bytes(self._content[file])

    def names(self, folder: Path) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self._names if path.parent == folder))

    def free_bytes(self, folder: Path) -> int:
        return self.room

    def make_folder(self, folder: Path) -> None:
        return None

    def write(self, path: Path, offset: int, data: bytes) -> None:
        self._count()
        if path not in self._names:
            self._names[path] = len(self._content)
            self._content[self._names[path]] = bytearray()
        content = self._content[self._names[path]]
        content.extend(bytes(max(0, offset + len(data) - len(content))))
        content[offset : offset + len(data)] = data

    def sync(self, path: Path) -> None:
        self._count()
        self._safe_content[self._names[path]] = bytes(self._content[self._names[path]])

    def sync_folder(self, folder: Path) -> None:
        self._count()
        for path in {*self._names, *self._safe_names}:
            if path.parent == folder:
                if path in self._names:
                    self._safe_names[path] = self._names[path]
                else:
                    del self._safe_names[path]

    def rename(self, old: Path, new: Path) -> None:
        self._count()
        self._names[new] = self._names.pop(old)

    def remove(self, path: Path) -> None:
        self._count()
        self._names.pop(path, None)


class Release:
    """A bundle's bytes and the index of its chunks."""

    def __init__(self, version: int, data: bytes) -> None:
        self.data = data
        pieces = [data[i : i + CHUNK_BYTES] for i in range(0, len(data), CHUNK_BYTES)]
        self.plain = {digest_of(piece): piece for piece in pieces}
        chunks = tuple(ChunkRef(digest_of(piece), len(piece)) for piece in pieces)
        self.index = ReleaseIndex("pump", version, digest_of(data), len(data), chunks)


@pytest.fixture(scope="session")
def releases() -> list[Release]:
    """Versions 1 to 3; each shares its first half with the one before."""
    rng = random.Random(7)
    first = rng.randbytes(6_500)
    second = first[:3_000] + rng.randbytes(3_300)
    return [
        Release(1, first),
        Release(2, second),
        Release(3, second[:3_000] + rng.randbytes(2_000)),
    ]
