"""Reads FlatBuffers tables out of untrusted bytes, every offset checked, the work bounded.

Layout: https://flatbuffers.dev/internals (tables, vtables, vectors, strings).
A device has no flatbuffers package, and that package trusts its input.
"""

import struct
from typing import Final

from edgeml.errors import BundleError

MAX_ELEMENTS: Final = 1 << 20
"""The most elements of vectors read from one file: a hostile one may name the same vector often."""


class Buffer:
    """The bytes, and how much may still be read of them.

    Raises:
        BundleError: from every method, where an offset leads out of the buffer.
    """

    __slots__ = ("_data", "_left", "_where")

    def __init__(self, data: bytes, where: str) -> None:
        """Over `data`; `where` is the file's name, for messages."""
        self._data = data
        self._where = where
        self._left = MAX_ELEMENTS

    def root(self) -> "Table":
        """The table that the buffer starts from."""
        return Table(self, self.read("I", 0))

    def read(self, form: str, at: int) -> int:
        """One number."""
        return self.read_many(form, at)[0]

    def read_many(self, form: str, at: int) -> tuple[int, ...]:
        """Numbers side by side, `form` as in `struct`."""
        # An offset beyond the file may be beyond what a 32-bit machine can even index.
        if not 0 <= at <= len(self._data):
            raise self.damaged()
        try:
            return struct.unpack_from(f"<{form}", self._data, at)
        except struct.error:
            raise self.damaged() from None

    def read_bytes(self, at: int, count: int) -> bytes:
        """`count` bytes."""
        self._spend(count)
        self.check(at, count)
        return self._data[at : at + count]

    def check(self, at: int, count: int) -> None:
        """See that `count` bytes from `at` on lie within the buffer."""
        if at + count > len(self._data):
            raise self.damaged()

    def follow(self, at: int) -> int:
        """Where the offset at `at` leads."""
        return at + self.read("I", at)

    def vector(self, at: int) -> tuple[int, int]:
        """Where the elements of a vector of 4 bytes each begin, and how many there are."""
        count = self.read("I", at)
        self._spend(count)
        self.check(at + 4, 4 * count)
        return at + 4, count

    def damaged(self) -> BundleError:
        """The error to raise."""
        return BundleError(f"{self._where}: the model is damaged; fetch the file again")

    def _spend(self, elements: int) -> None:
        self._left -= elements
        if self._left < 0:
            raise self.damaged()


class Table:
    """One table in a buffer; fields by their number in the schema.

    Raises:
        BundleError: from every method, where an offset leads out of the buffer.
    """

    __slots__ = ("_at", "_buffer", "_fields")

    def __init__(self, buffer: Buffer, at: int) -> None:
        """The table at offset `at`."""
        self._buffer = buffer
        self._at = at
        vtable = at - buffer.read("i", at)
        size = buffer.read("H", vtable)
        if size < 4 or size % 2:
            raise buffer.damaged()
        self._fields = buffer.read_many(f"{(size - 4) // 2}H", vtable + 4)

    def number(self, field: int, form: str, default: int = 0) -> int:
        """A scalar, `form` as in `struct`."""
        offset = self._offset(field)
        return self._buffer.read(form, self._at + offset) if offset else default

    def text(self, field: int) -> str:
        """A string; empty where absent."""
        offset = self._offset(field)
        if not offset:
            return ""
        at = self._buffer.follow(self._at + offset)
        return self._buffer.read_bytes(at + 4, self._buffer.read("I", at)).decode(errors="replace")

    def check_vector(self, field: int, element_bytes: int) -> None:
        """See that a vector lies within the buffer, without reading it."""
        self.extent(field, element_bytes)

    def extent(self, field: int, element_bytes: int) -> tuple[int, int]:
        """Where a vector's elements begin and end in the buffer; two zeros where it is absent."""
        offset = self._offset(field)
        if not offset:
            return 0, 0
        at = self._buffer.follow(self._at + offset)
        size = self._buffer.read("I", at) * element_bytes
        self._buffer.check(at + 4, size)
        return at + 4, at + 4 + size

    def table(self, field: int) -> "Table | None":
        """A table; None where absent."""
        offset = self._offset(field)
        return Table(self._buffer, self._buffer.follow(self._at + offset)) if offset else None

    def integers(self, field: int) -> tuple[int, ...]:
        """A vector of int32; empty where absent."""
        at, count = self._vector(field)
        return self._buffer.read_many(f"{count}i", at) if count else ()

    def tables(self, field: int) -> "list[Table]":
        """A vector of tables; empty where absent."""
        at, count = self._vector(field)
        return [Table(self._buffer, self._buffer.follow(at + 4 * i)) for i in range(count)]

    def _vector(self, field: int) -> tuple[int, int]:
        offset = self._offset(field)
        return self._buffer.vector(self._buffer.follow(self._at + offset)) if offset else (0, 0)

    def _offset(self, field: int) -> int:
        return self._fields[field] if field < len(self._fields) else 0
