"""A zip read without trust and written without chance.

The reader knows the part of the format that bundles use (stored or deflated
members, one disk, no zip64, no encryption; PKWARE's APPNOTE 6.3) and refuses
the rest: the directory, the number of members and what they inflate to are
bounded before anything is allocated. It is here, and not `zipfile`, because
that inflates LZMA and bzip2 without a limit, and its import takes 7 ms of every
start. Writing gives equal bytes for equal members.
"""

import struct
import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from edgeml.errors import BundleError

MAX_MEMBERS: Final = 64
MAX_DIRECTORY_BYTES: Final = 64 << 10

_END: Final = struct.Struct("<4s4H2LH")
_END_MAGIC: Final = b"PK\x05\x06"
_ZIP64_MAGIC: Final = b"PK\x06\x07"
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_ENTRY_MAGIC: Final = b"PK\x01\x02"
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_LOCAL_MAGIC: Final = b"PK\x03\x04"
_MAX_COMMENT: Final = 0xFFFF
_STORED, _DEFLATED = 0, 8
_ENCRYPTED: Final = 0x0001
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold: one fixed time, so that equal inputs give equal bytes."""


def zip_start(data: bytes, where: str) -> int | None:
    """Where the zip at the end of `data` begins; None where there is none.

    The end record says how long the zip is, so no member needs to be looked at.

    Raises:
        BundleError: an end record that contradicts itself, or exceeds the bounds here.
    """
    at = data.rfind(_END_MAGIC, max(0, len(data) - (_END.size + _MAX_COMMENT)))
    if at < 0 or at + _END.size > len(data):
        return None
    _, disk, cd_disk, here, total, cd_size, cd_offset, comment = _END.unpack_from(data, at)
    if at + _END.size + comment != len(data):
        return None
    start: int = at - cd_size - cd_offset
    zip64 = data[max(0, at - 20) : at].startswith(_ZIP64_MAGIC)
    bounded = total <= MAX_MEMBERS and cd_size <= MAX_DIRECTORY_BYTES
    if disk or cd_disk or here != total or not bounded or start < 0 or zip64:
        raise BundleError(f"{where}: its zip is damaged; fetch the file again")
    return start


def holds_local_header(data: bytes, name: str) -> bool:
    """Whether a member of this name begins anywhere: the trace of a zip whose end is lost.

    A header that is itself cut short counts, from its first four bytes on.
    """
    encoded = name.encode()
    if data.rfind(_LOCAL_MAGIC, max(0, len(data) - _LOCAL.size - len(encoded) + 1)) >= 0:
        return True
    at = data.rfind(encoded)
    while at >= _LOCAL.size:
        if data.startswith(_LOCAL_MAGIC, at - _LOCAL.size):
            return True
        at = data.rfind(encoded, 0, at)
    return False


class _Entry(NamedTuple):
    """A member as the directory describes it; `offset` is that of its local header."""

    method: int
    crc: int
    packed_bytes: int
    size_bytes: int
    offset: int


class Archive:
    """The members of a zip, each read within a limit.

    Raises:
        BundleError: from every method, where the zip is damaged or exceeds a bound.
    """

    def __init__(self, data: bytes, where: str) -> None:
        """Read the directory of the zip that `data` is; `where` names the file in messages."""
        self._data = data
        self._where = where
        self._entries = self._directory()
        self.names = tuple(self._entries)
        self.starts = tuple(entry.offset for entry in self._entries.values())
        """Where each member begins, as the directory says."""

    def _directory(self) -> dict[str, _Entry]:
        if zip_start(self._data, self._where) != 0:
            raise self._damaged("it does not begin where its end says")
        at = self._data.rfind(_END_MAGIC)
        total, cd_size, cd_offset = struct.unpack_from("<H2L", self._data, at + 10)
        entries: dict[str, _Entry] = {}
        place, end = cd_offset, cd_offset + cd_size
        for _ in range(total):
            if place + _ENTRY.size > end:
                raise self._damaged("its directory is cut short")
            (magic, _, _, flags, method, _, _, crc, packed, size, *lengths, _, _, _, offset) = (
                _ENTRY.unpack_from(self._data, place)
            )
            name_bytes, extra_bytes, comment_bytes = lengths
            name_at = place + _ENTRY.size
            place = name_at + name_bytes + extra_bytes + comment_bytes
            if magic != _ENTRY_MAGIC or flags & _ENCRYPTED or place > end:
                raise self._damaged("its directory holds something else")
            name = self._data[name_at : name_at + name_bytes].decode(errors="replace")
            if name in entries:
                raise self._damaged(f"it has {name!r} twice")
            entries[name] = _Entry(method, crc, packed, size, offset)
        if place != end:
            raise self._damaged("its directory is longer than its members")
        return entries

    def read(self, name: str, limit: int) -> bytes:
        """The content of a member of at most `limit` bytes."""
        entry = self._entries.get(name)
        if entry is None:
            raise BundleError(f"{self._where}: no {name} in it")
        if entry.size_bytes > limit:
            raise BundleError(f"{self._where}: {name} is larger than {limit} bytes")
        packed = self._packed(name, entry)
        if entry.method == _STORED:
            content = packed
        elif entry.method == _DEFLATED:
            content = self._inflate(name, packed, entry.size_bytes)
        else:
            raise BundleError(f"{self._where}: {name} is compressed in a way that no bundle is")
        if len(content) != entry.size_bytes or zlib.crc32(content) != entry.crc:
            raise self._damaged(f"{name} is not what its directory says")
        return content

    def _packed(self, name: str, entry: _Entry) -> bytes:
        if entry.offset + _LOCAL.size > len(self._data):
            raise self._damaged(f"{name} lies outside")
        magic, *_, name_bytes, extra_bytes = _LOCAL.unpack_from(self._data, entry.offset)
        start = entry.offset + _LOCAL.size
        local_name = self._data[start : start + name_bytes].decode(errors="replace")
        start += name_bytes + extra_bytes
        if magic != _LOCAL_MAGIC or local_name != name:
            raise self._damaged(f"{name} is not where its directory says")
        if start + entry.packed_bytes > len(self._data):
            raise self._damaged(f"{name} is cut short")
        return self._data[start : start + entry.packed_bytes]

    def _inflate(self, name: str, packed: bytes, size: int) -> bytes:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = inflater.decompress(packed, size + 1)
        except zlib.error as exc:
            raise self._damaged(f"{name}: {exc}") from exc
        if not inflater.eof:
            raise self._damaged(f"{name} does not end where its directory says")
        return content

    def _damaged(self, how: str) -> BundleError:
        return BundleError(f"{self._where}: its zip is damaged ({how}); fetch the file again")


def write_zip(members: Mapping[str, bytes]) -> bytes:
    """A zip of these members, in this order; equal members give equal bytes."""
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()
