"""How the publisher packs what a device unpacks: chunks, small files, the metadata bundle."""

import json
import zlib
from collections.abc import Mapping

from edgeml.errors import UpdateError
from edgeml.releases.chunk import PLANES, STORED, WIDTH, ZLIB
from edgeml.releases.metadata import MAX_METADATA_BYTES, check_files


def encode(plain: bytes) -> bytes:
    """The shortest of the methods; equal bytes give equal bytes under one version of zlib."""
    candidates = (
        bytes([STORED]) + plain,
        bytes([ZLIB]) + zlib.compress(plain, 9),
        bytes([PLANES]) + zlib.compress(b"".join(plain[i::WIDTH] for i in range(WIDTH)), 9),
    )
    return min(candidates, key=len)


def encode_metadata(files: Mapping[str, bytes]) -> bytes:
    """The bundle as it is published.

    Args:
        files: by the name that a TUF client asks for: `1.root.json`, `timestamp.json`.

    Raises:
        UpdateError: a name that is none of TUF's, or too much of it.
    """
    check_files(files)
    texts = {name: files[name].decode() for name in sorted(files)}
    plain = json.dumps({"v": 1, "files": texts}, ensure_ascii=False, separators=(",", ":")).encode()
    if len(plain) > MAX_METADATA_BYTES:
        raise UpdateError(f"the metadata has {len(plain)} bytes; {MAX_METADATA_BYTES} are read")
    return encode(plain)
