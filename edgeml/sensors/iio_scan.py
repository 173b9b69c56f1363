"""How the kernel lays out one record of an IIO buffer, and what its bits mean.

Pure. The format is that of the kernel's documentation of IIO buffers: an
element's type reads `le:s12/16>>4`, elements follow in the order of their
index, each aligned to its own size, and the record is padded to the largest.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import SensorError

_TYPE: Final = re.compile(r"(be|le):([su])(\d+)/(\d+)(?:X(\d+))?(?:>>(\d+))?")
_STORAGE_BITS: Final = (8, 16, 32, 64)
_MOST_REPEATS: Final = 64


@dataclass(frozen=True, slots=True)
class ScanType:
    """How one element is stored.

    Attributes:
        big_endian: the order of its bytes.
        signed: whether it is in two's complement.
        bits: how many bits count.
        storage_bits: how many it takes: 8, 16, 32 or 64.
        repeat: how many values there are of it.
        shift: how far to shift right before the bits count.
    """

    big_endian: bool
    signed: bool
    bits: int
    storage_bits: int
    repeat: int
    shift: int

    @classmethod
    def parse(cls, text: str, where: str) -> "ScanType":
        """A type as its sysfs file holds it.

        Raises:
            SensorError: it cannot be read, or its bits do not fit where they are stored.
        """
        match = _TYPE.fullmatch(text.strip())
        if match is None:
            raise SensorError(f"{where}: {text.strip()!r} does not read like le:s12/16>>4")
        order, sign, bits, storage, repeat, shift = match.groups()
        found = cls(
            order == "be", sign == "s", int(bits), int(storage), int(repeat or 1), int(shift or 0)
        )
        if (
            found.storage_bits not in _STORAGE_BITS
            or not 1 <= found.bits <= found.storage_bits - found.shift
            or not 1 <= found.repeat <= _MOST_REPEATS
        ):
            raise SensorError(f"{where}: {text.strip()!r} holds more bits than it stores")
        return found

    @property
    def size_bytes(self) -> int:
        """What it takes in a record, all repeats together."""
        return self.storage_bits // 8 * self.repeat

    def numbers(self, stored: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """float64, of the shape of `stored`, which holds the unsigned integers as stored."""
        raw: npt.NDArray[np.uint64] = stored.astype(np.uint64) >> np.uint64(self.shift)
        raw &= np.uint64((1 << self.bits) - 1)
        if not self.signed:
            return raw.astype(np.float64)
        unused = np.uint64(64 - self.bits)
        # Shifted to the top and back as signed, the sign fills what is unused.
        signed: npt.NDArray[np.int64] = (raw << unused).view(np.int64) >> np.int64(64 - self.bits)
        return signed.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Element:
    """One enabled element of a buffer."""

    name: str
    index: int
    type: ScanType


class Layout:
    """Where each element is in a record.

    Args:
        elements: the enabled ones, in any order.

    Raises:
        SensorError: there is none.
    """

    __slots__ = ("_dtype", "elements")

    def __init__(self, elements: Sequence[Element]) -> None:
        if not elements:
            raise SensorError("no element of the buffer is enabled")
        self.elements = tuple(sorted(elements, key=lambda element: element.index))
        offsets: list[int] = []
        end = 0
        for element in self.elements:
            size = element.type.size_bytes
            offsets.append(-(-end // size) * size)
            end = offsets[-1] + size
        largest = max(element.type.size_bytes for element in self.elements)
        self._dtype = np.dtype(
            {
                "names": [element.name for element in self.elements],
                "formats": [_format(element.type) for element in self.elements],
                "offsets": offsets,
                "itemsize": -(-end // largest) * largest,
            }
        )

    @property
    def record_bytes(self) -> int:
        """The size of one record."""
        return int(self._dtype.itemsize)

    def decode(self, data: bytes) -> dict[str, npt.NDArray[np.float64]]:
        """The raw numbers of whole records, by element: float64 (records, repeats)."""
        records = np.frombuffer(data, self._dtype)
        return {
            element.name: element.type.numbers(
                records[element.name].reshape(len(records), element.type.repeat)
            )
            for element in self.elements
        }


def _format(scan_type: ScanType) -> Any:
    base = f"{'>' if scan_type.big_endian else '<'}u{scan_type.storage_bits // 8}"
    return (base, (scan_type.repeat,)) if scan_type.repeat > 1 else base
