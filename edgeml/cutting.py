"""Cuts a bundle so that what did not change between two releases gives the same chunks.

Two kinds of cut. A bundle's own seams, where a tensor's data begins or ends and
where a member of the zip begins: a new head then leaves the trunk's chunks alone,
wherever it moves them. Inside a long tensor the content decides, by the gear hash
of FastCDC (Xia et al., USENIX ATC 2016): a cut stands where the last 32 bytes hash
to a pattern, an easier one the longer the chunk already is. Short neighbours go
together.
"""

import hashlib
from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml.bundle import split
from edgeml.flatbuffer import Buffer
from edgeml.releases.chunk import MAX_CHUNK_BYTES

_MODEL_BUFFERS: Final = 4
_BUFFER_DATA: Final = 0
_WINDOW: Final = 32
_BLOCK: Final = 1 << 18
_GEAR: Final = np.frombuffer(
    b"".join(hashlib.sha256(bytes([i])).digest()[:4] for i in range(256)), "<u4"
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long chunks are: none below `least` inside a tensor, `usual` on average, never above."""

    least: int = 4 << 10
    usual: int = 16 << 10
    most: int = MAX_CHUNK_BYTES


def cut(bundle: bytes, sizes: Sizes | None = None) -> list[bytes]:
    """The chunks of a bundle, in order; equal bundles give equal chunks.

    Raises:
        BundleError: it is not a bundle, or a damaged one.
    """
    sizes = Sizes() if sizes is None else sizes
    marks = _Marks(bundle, sizes)
    ends: list[int] = []
    begin = at = 0
    for seam in [*seams(bundle), len(bundle)]:
        if seam - at >= sizes.least or seam - begin > sizes.usual:
            # What was gathered is a chunk of its own; what comes is long enough for itself.
            if at > begin:
                ends.append(at)
                begin = at
            if seam - begin >= sizes.least:
                ends.extend(marks.cuts(begin, seam))
                begin = seam
        at = seam
    if len(bundle) > begin:
        ends.append(len(bundle))
    return [bundle[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def seams(bundle: bytes) -> list[int]:
    """Where a tensor's data begins or ends, and where the zip and its members begin.

    Raises:
        BundleError: it is not a bundle, or a damaged one.
    """
    tflite, archive = split(bundle)
    found = {len(tflite)}
    if archive is not None:
        found.update(len(tflite) + start for start in archive.starts)
    for buffer in Buffer(tflite, "bundle").root().tables(_MODEL_BUFFERS):
        found.update(buffer.extent(_BUFFER_DATA, 1))
    return sorted(seam for seam in found if 0 < seam < len(bundle))


class _Marks:
    """The places of a bundle at which the content asks for a cut, hard to please and easy."""

    def __init__(self, data: bytes, sizes: Sizes) -> None:
        self._sizes = sizes
        bits = sizes.usual.bit_length() - 1
        self._hard, self._easy = _marks(data, bits + 2, bits - 2)

    def cuts(self, begin: int, end: int) -> list[int]:
        """The ends of the chunks from one seam to the next."""
        ends = []
        while end - begin > self._sizes.least + self._sizes.usual:
            usual = begin + self._sizes.usual
            most = min(begin + self._sizes.most, end - self._sizes.least)
            begin = (
                _first(self._hard, begin + self._sizes.least, min(usual, most))
                or _first(self._easy, usual, most)
                or most
            )
            ends.append(begin)
        return [*ends, end]


def _first(marks: list[int], begin: int, end: int) -> int | None:
    at = bisect_left(marks, begin)
    return marks[at] if at < len(marks) and marks[at] < end else None


def _marks(data: bytes, hard_bits: int, easy_bits: int) -> tuple[list[int], list[int]]:
    """Where the highest bits of the gear hash of the 32 bytes before are all zero."""
    hard: list[int] = []
    easy: list[int] = []
    for start in range(0, len(data), _BLOCK):
        before = max(0, start - _WINDOW)
        hashes = _hashes(np.frombuffer(data, np.uint8)[before : start + _BLOCK])[start - before :]
        places = np.flatnonzero(hashes < np.uint32(1 << (32 - easy_bits)))
        easy.extend((places + start + 1).tolist())
        strict = places[hashes[places] < np.uint32(1 << (32 - hard_bits))]
        hard.extend((strict + start + 1).tolist())
    return hard, easy


def _hashes(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """The gear hash at each byte: the sum of the table's entries, each shifted by its age.

    Each round doubles how far back a sum reaches, so 32 bytes take five.
    """
    hashes: npt.NDArray[np.uint32] = _GEAR[data]
    reach = 1
    while reach < _WINDOW:
        older = hashes[:-reach] << np.uint32(reach)
        hashes[reach:] += older
        reach *= 2
    return hashes
