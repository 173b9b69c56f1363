"""A chunk on the wire: one byte that says how, then the data.

A chunk is named by the SHA-256 of its plain bytes, so how it is packed can
change without a new name, and each verifies alone. Only what the standard
library unpacks is used. Float weights are packed plane by plane (all lowest
bytes first, all sign-and-exponent bytes last), because only the planes of high
bytes have anything to give. Small files, which are TUF's targets and the
metadata bundle, travel the same way.
"""

import hashlib
import zlib
from typing import Final

from edgeml.errors import UpdateError

MAX_CHUNK_BYTES: Final = 64 << 10
"""Of a chunk, plain: with its method byte it fits every broker that takes 128 KiB a message."""

STORED: Final = 0
ZLIB: Final = 1
PLANES: Final = 2
WIDTH: Final = 4


def digest_of(plain: bytes) -> str:
    """The name of a chunk: the SHA-256 of its plain bytes, in hex."""
    return hashlib.sha256(plain).hexdigest()


def decode(encoded: bytes, digest: str, plain_bytes: int) -> bytes:
    """The plain bytes of a chunk that should have this name and this length.

    Raises:
        UpdateError: it is anything else; never more than `plain_bytes` + 1 bytes were unpacked.
    """
    plain = decode_file(encoded, plain_bytes, digest)
    if len(plain) != plain_bytes:
        raise UpdateError(f"tampered: chunk {digest[:16]}… is not {plain_bytes} bytes long")
    return plain


def decode_file(encoded: bytes, limit_bytes: int, digest: str | None = None) -> bytes:
    """The plain bytes of a file of at most `limit_bytes`, named `digest` where that is known.

    Raises:
        UpdateError: it is larger, damaged, or has another name.
    """
    what = "file" if digest is None else f"file {digest[:16]}…"
    if len(encoded) > limit_bytes + 1:
        raise UpdateError(f"tampered: {what} has more than {limit_bytes} bytes")
    method, body = encoded[:1], encoded[1:]
    if method == bytes([STORED]):
        plain = body
    elif method in (bytes([ZLIB]), bytes([PLANES])):
        plain = _inflate(body, limit_bytes, what)
        if method == bytes([PLANES]):
            plain = _interleave(plain)
    else:
        raise UpdateError(f"tampered: {what} is packed in an unknown way; a newer edgeml may know")
    if digest is not None and digest_of(plain) != digest:
        raise UpdateError(f"tampered: {what} holds other bytes than its name says")
    return plain


def _inflate(body: bytes, limit_bytes: int, what: str) -> bytes:
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(body, limit_bytes + 1)
    except zlib.error as exc:
        raise UpdateError(f"tampered: {what} cannot be unpacked ({exc})") from exc
    if len(plain) > limit_bytes or not inflater.eof or inflater.unused_data:
        raise UpdateError(f"tampered: {what} does not end where it should")
    return plain


def _interleave(planes: bytes) -> bytes:
    plain = bytearray(len(planes))
    at = 0
    for i in range(WIDTH):
        length = len(range(i, len(planes), WIDTH))
        plain[i::WIDTH] = planes[at : at + length]
        at += length
    return bytes(plain)
