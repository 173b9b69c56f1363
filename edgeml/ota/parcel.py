"""A bundle on its way in: pieces in any order, resumed after power loss from a bitmap.

The bitmap is written after the bytes that it speaks of are on the medium, so a
bit that is set is true; a chunk that was verified once is not fetched again. At
the end the whole file is hashed. If a card lied, the chunks are looked at one
by one, and only those that are wrong are fetched once more.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from edgeml.errors import UpdateError
from edgeml.ota.disk import replace
from edgeml.ota.journal import Held
from edgeml.ota.store import Store, part_path
from edgeml.releases.chunk import digest_of
from edgeml.releases.index import ChunkRef, ReleaseIndex

SYNC_BYTES: Final = 1 << 20
"""So many bytes may have to be fetched again after a power cut."""


class Parcel:
    """The chunks of one release, as far as they have come.

    Args:
        store: where it is put together; its journal names the release as the candidate.
        index: what is to come, as it was signed.

    Raises:
        UpdateError: it does not fit on the disk, which then is as it was.
    """

    def __init__(self, store: Store, index: ReleaseIndex) -> None:
        self._store = store
        self._index = index
        self._path = store.part_of(index.release)
        self._map = _map_of(self._path)
        self._unsynced = 0
        self._offsets = index.offsets
        self._have = self._resume()
        self._places: dict[str, list[int]] = {}
        for i, chunk in enumerate(index.chunks):
            self._places.setdefault(chunk.digest, []).append(i)
        self._left_bytes = self._missing_bytes()
        store.check_room(self._left_bytes)

    @property
    def here_bytes(self) -> int:
        """How many of the bundle's bytes are here."""
        return self._index.bundle_bytes - self._left_bytes

    @property
    def fraction(self) -> float:
        """How much of the bundle is here, by bytes, 0 to 1."""
        return self.here_bytes / self._index.bundle_bytes

    def missing(self) -> list[tuple[int, ChunkRef]]:
        """What has not come yet, in the bundle's order."""
        return [(i, c) for i, c in enumerate(self._index.chunks) if not self._have[i]]

    def put(self, digest: str, plain: bytes) -> None:
        """Take a chunk that was verified; wherever the bundle has it, it is put."""
        for i in self._places.get(digest, ()):
            if not self._have[i]:
                self._store.disk.write(self._path, self._offsets[i], plain)
                self._have[i] = 1
                self._unsynced += len(plain)
                self._left_bytes -= len(plain)
        if self._unsynced >= SYNC_BYTES:
            self.sync()

    def copy_from(self, helds: Iterable[Held]) -> int:
        """Take what models that are here already have in common with this one.

        Returns:
            How many bytes need not be fetched.
        """
        before = self.here_bytes
        for held in helds:
            index = self._store.index_of(held)
            data = self._store.disk.read(self._store.path_of(held))
            if index is not None and data is not None:
                self.copy_pieces(
                    data[offset : offset + chunk.plain_bytes]
                    for offset, chunk in zip(index.offsets, index.chunks, strict=True)
                    if chunk.digest in self._places
                )
        return self.here_bytes - before

    def copy_pieces(self, pieces: Iterable[bytes]) -> None:
        """Take those pieces of something else that are chunks of this bundle, too."""
        if self._left_bytes:
            for plain in pieces:
                self.put(digest_of(plain), plain)
            self.sync()

    def sync(self) -> None:
        """Put what has come on the medium, and then the bitmap that says so."""
        if self._unsynced:
            disk = self._store.disk
            disk.sync(self._path)
            replace(disk, self._map, self._index.bundle_digest.encode() + bytes(self._have))
            self._unsynced = 0

    def finish(self) -> Held:
        """Check the whole and put it among the models, durable before anything names it.

        Raises:
            UpdateError: chunks are missing; those that a card lost count as missing again.
        """
        self.sync()
        disk, store, index = self._store.disk, self._store, self._index
        data = disk.read(self._path) or b""
        if self.missing() or digest_of(data) != index.bundle_digest:
            self._look_again(data)
            raise UpdateError(
                f"{index.release}: {len(self.missing())} chunks are missing or went bad on the disk"
            )
        held = Held(index.release, index.bundle_digest)
        path = store.path_of(held)
        replace(disk, path.with_suffix(".index"), index.encode())
        disk.sync(self._path)
        disk.rename(self._path, path)
        disk.sync_folder(path.parent)
        disk.sync_folder(self._path.parent)
        disk.remove(self._map)
        return held

    def _look_again(self, data: bytes) -> None:
        for i, (offset, chunk) in enumerate(
            zip(self._index.offsets, self._index.chunks, strict=True)
        ):
            plain = data[offset : offset + chunk.plain_bytes]
            self._have[i] = digest_of(plain) == chunk.digest
        self._left_bytes = self._missing_bytes()
        self._unsynced = max(self._unsynced, 1)
        if len(data) >= self._index.bundle_bytes or any(self._have):
            self.sync()

    def _missing_bytes(self) -> int:
        return sum(chunk.plain_bytes for _, chunk in self.missing())

    def _resume(self) -> bytearray:
        """The bitmap of the same bundle; an empty one otherwise."""
        nothing = bytearray(len(self._index.chunks))
        bits = _bits(self._store.disk.read(self._map) or b"", self._index.bundle_digest)
        fits = len(bits) == len(nothing) and set(bits) <= {0, 1}
        return bytearray(bits) if fits and self._store.disk.read(self._path) else nothing


def chunks_here(folder: Path, coming: Held) -> tuple[int, int] | None:
    """How many chunks of a bundle have come, of how many; None where none is being fetched.

    Args:
        folder: a store's, which another process may be using.
        coming: its candidate.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        saved = _map_of(part_path(folder, coming.release)).read_bytes()
    except FileNotFoundError:
        return None
    bits = _bits(saved, coming.digest)
    return sum(bits), len(bits)


def _map_of(part: Path) -> Path:
    return part.with_suffix(".map")


def _bits(saved: bytes, digest: str) -> bytes:
    """A byte for each chunk, from a bitmap's file; none from the file of another bundle."""
    head = digest.encode()
    return saved[len(head) :] if saved.startswith(head) else b""
