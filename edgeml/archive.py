"""A zip read without trust and written without chance.

Reading bounds what a hostile archive can make `zipfile` do: its directory, its
members, their compression (LZMA and bzip2 inflate without a limit) and their
size. Writing gives equal bytes for equal members.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Final

from edgeml.errors import BundleError

MAX_MEMBERS: Final = 64
MAX_DIRECTORY_BYTES: Final = 64 << 10

_END: Final = struct.Struct("<4s4H2LH")
_END_MAGIC: Final = b"PK\x05\x06"
_ZIP64_MAGIC: Final = b"PK\x06\x07"
_LOCAL_MAGIC: Final = b"PK\x03\x04"
_LOCAL_HEADER_BYTES: Final = 30
_MAX_COMMENT: Final = 0xFFFF
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold: one fixed time, so that equal inputs give equal bytes."""

_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OSError)


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
    if data.rfind(_LOCAL_MAGIC, max(0, len(data) - _LOCAL_HEADER_BYTES - len(encoded) + 1)) >= 0:
        return True
    at = data.rfind(encoded)
    while at >= _LOCAL_HEADER_BYTES:
        if data.startswith(_LOCAL_MAGIC, at - _LOCAL_HEADER_BYTES):
            return True
        at = data.rfind(encoded, 0, at)
    return False


class Archive:
    """The members of a zip, each read at most once and within a limit.

    Raises:
        BundleError: from every method, where the zip is damaged or exceeds a bound.
    """

    def __init__(self, data: bytes, where: str) -> None:
        """Open the zip that `data` is; `where` names the file in messages."""
        self._where = where
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (*_UNREADABLE, NotImplementedError) as exc:
            raise BundleError(f"{where}: its zip is damaged ({exc}); fetch the file again") from exc
        self.names = tuple(self._zip.namelist())
        if len(self.names) > MAX_MEMBERS or len(set(self.names)) != len(self.names):
            raise BundleError(f"{where}: its zip is damaged: too many members, or one twice")

    def read(self, name: str, limit: int) -> bytes:
        """The content of a member of at most `limit` bytes."""
        try:
            info = self._zip.getinfo(name)
        except KeyError:
            raise BundleError(f"{self._where}: no {name} in it") from None
        if info.file_size > limit:
            raise BundleError(f"{self._where}: {name} is larger than {limit} bytes")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BundleError(f"{self._where}: {name} is compressed in a way that no bundle is")
        try:
            with self._zip.open(info) as file:
                content = file.read(limit + 1)
        except (*_UNREADABLE, RuntimeError) as exc:
            raise BundleError(
                f"{self._where}: {name} is damaged ({exc}); fetch the file again"
            ) from exc
        if len(content) > limit:
            raise BundleError(f"{self._where}: {name} is larger than {limit} bytes")
        return content


def write_zip(members: Mapping[str, bytes]) -> bytes:
    """A zip of these members, in this order; equal members give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()
