"""SHA-256 without loading OpenSSL for it, which takes as long as reading a small model.

Python carries an implementation of its own, as lean as it is slow: 200 MB/s
where OpenSSL makes 300 to 1,500. So files of some size still go to OpenSSL.
"""

from typing import Final

_LEAN_BYTES: Final = 1 << 20


def sha256_hex(data: bytes) -> str:
    """The SHA-256 of the data, in hex."""
    return _hash(data) if len(data) > _LEAN_BYTES else _lean(data)


def _hash(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _lean(data: bytes) -> str:
    try:
        module = __import__(_lean_module())
    except ImportError:  # a Python built without it
        return _hash(data)
    digest: str = module.sha256(data).hexdigest()
    return digest


def _lean_module() -> str:
    import sys

    return "_sha2" if sys.version_info >= (3, 12) else "_sha256"
