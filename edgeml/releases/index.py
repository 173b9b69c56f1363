"""The index of a release: which chunks, in which order, make the bundle.

It is what the targets role signs. One JSON object, so that a TUF client of any
language reads it; the chunks' places follow from their lengths.
"""

import json
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from edgeml.errors import UpdateError
from edgeml.jsonread import Fields
from edgeml.releases.chunk import MAX_CHUNK_BYTES
from edgeml.releases.document import read_document
from edgeml.releases.names import checked_digest, checked_name, release_id

MAX_BUNDLE_BYTES: Final = 1 << 30
MAX_CHUNKS: Final = 1 << 17
MAX_INDEX_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class ChunkRef:
    """One chunk: its name and how many bytes it is, unpacked."""

    digest: str
    plain_bytes: int

    def __post_init__(self) -> None:
        checked_digest(self.digest)
        if not 0 < self.plain_bytes <= MAX_CHUNK_BYTES:
            raise UpdateError(f"a chunk has {self.plain_bytes} bytes; 1 to {MAX_CHUNK_BYTES} fit")


@dataclass(frozen=True, slots=True)
class ReleaseIndex:
    """What a release is made of.

    Attributes:
        name: the model's name, as in the bundle's manifest.
        version: its version, as there.
        bundle_digest: SHA-256 of the whole bundle, in hex.
        bundle_bytes: its length; the chunks' lengths add up to it.
        chunks: its pieces, from the first byte to the last.

    Raises:
        UpdateError: where these contradict each other, or a bound.
    """

    name: str
    version: int
    bundle_digest: str
    bundle_bytes: int
    chunks: tuple[ChunkRef, ...]

    def __post_init__(self) -> None:
        release_id(self.name, self.version)
        checked_digest(self.bundle_digest)
        if not 0 < len(self.chunks) <= MAX_CHUNKS or not 0 < self.bundle_bytes <= MAX_BUNDLE_BYTES:
            raise UpdateError(f"release {self.release} is empty or larger than a bundle can be")
        total = sum(chunk.plain_bytes for chunk in self.chunks)
        if total != self.bundle_bytes:
            raise UpdateError(
                f"release {self.release} says {self.bundle_bytes} bytes; its chunks have {total}"
            )

    @property
    def release(self) -> str:
        """The release's id: `activity-2`."""
        return f"{self.name}-{self.version}"

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each chunk begins in the bundle."""
        return tuple(accumulate((c.plain_bytes for c in self.chunks[:-1]), initial=0))

    def encode(self) -> bytes:
        """The index as the bytes that are signed; equal indexes give equal bytes."""
        document = {
            "v": 1,
            "name": self.name,
            "version": self.version,
            "sha256": self.bundle_digest,
            "bytes": self.bundle_bytes,
            "chunks": [chunk.digest for chunk in self.chunks],
            "lengths": [chunk.plain_bytes for chunk in self.chunks],
        }
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> "ReleaseIndex":
        """Read an index.

        Raises:
            UpdateError: it is not one of this version.
        """
        fields = Fields(
            read_document(data, "release index", MAX_INDEX_BYTES),
            "release index", UpdateError, ignore_unknown=True,
        )  # fmt: skip
        digests, lengths = fields.texts("chunks"), fields.integers("lengths")
        if len(digests) != len(lengths):
            raise UpdateError(f"release index: {len(digests)} chunks, but {len(lengths)} lengths")
        return cls(
            name=checked_name(fields.text("name"), "release name"),
            version=fields.integer("version"),
            bundle_digest=fields.text("sha256"),
            bundle_bytes=fields.integer("bytes"),
            chunks=tuple(map(ChunkRef, digests, lengths)),
        )
