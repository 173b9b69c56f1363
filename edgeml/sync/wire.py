"""The grain of every message: strict JSON, bounded, finite, maybe compressed.

JSON can spell what the rest of the world cannot store: NaN, numbers beyond 64
bits, halves of characters, a bomb of a few bytes that unpacks to gigabytes.
All of it ends here, as `ProtocolError` or as a value that is harmless.
"""

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from edgeml.errors import ProtocolError
from edgeml.jsonread import Fields
from edgeml.result import ModelRef

VERSION: Final = 1
MAX_SEQ: Final = (1 << 63) - 1
MAX_UNPACKED_BYTES: Final = 16 * 1024 * 1024
_ZLIB_FIRST_BYTE: Final = 0x78
_MAX_DEPTH: Final = 32
_MAX_BITS: Final = 1023


class LaterVersionError(ProtocolError):
    """A message of a protocol that is not this one: an upgrade will read it."""


def load(payload: bytes) -> Any:
    """The JSON in a message, compressed or not; never NaN, never more than 16 MiB.

    Raises:
        ProtocolError: it is neither JSON nor zlib of JSON.
    """
    if payload[:1] == bytes((_ZLIB_FIRST_BYTE,)):
        unpacker = zlib.decompressobj()
        try:
            payload = unpacker.decompress(payload, MAX_UNPACKED_BYTES)
        except zlib.error as exc:
            raise ProtocolError(f"the message is not zlib: {exc}") from exc
        if not unpacker.eof:
            raise ProtocolError(
                f"the message is cut short or unpacks to more than {MAX_UNPACKED_BYTES} bytes"
            )
    try:
        return _DECODER.decode(payload.decode(json.detect_encoding(payload), "surrogatepass"))
    except (ValueError, RecursionError) as exc:
        raise ProtocolError(f"the message is not JSON: {exc}") from exc


def compress(payload: bytes) -> bytes:
    """The message as zlib; `load` tells it from JSON by its first byte."""
    return zlib.compress(payload, 6)


def clean(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def check_version(fields: Fields) -> None:
    """Object to a message of another version.

    Raises:
        LaterVersionError: `v` is not this version's.
    """
    version = fields.integer("v")
    if version != VERSION:
        raise LaterVersionError(
            f"{fields.path}.v is {version}; this edgeml reads {VERSION}: upgrade it"
        )


def model_of(fields: Fields) -> ModelRef:
    """The model that an object names.

    Raises:
        ProtocolError: it names none.
    """
    return ModelRef(
        clean(fields.text("name")),
        bounded(fields.integer("version"), "model.version", 0),
        clean(fields.text("digest")),
    )


def model_document(model: ModelRef) -> dict[str, Any]:
    """A model as the object that `model_of` reads."""
    return {"name": model.name, "version": model.version, "digest": model.digest}


def bounded(number: int, where: str, least: int) -> int:
    """The number, if a database can hold it.

    Raises:
        ProtocolError: it is less than `least` or takes more than 63 bits.
    """
    if not least <= number <= MAX_SEQ:
        raise ProtocolError(f"{where} is {number}; it should be {least} to 2**63 - 1")
    return number


def is_finite_json(value: object) -> bool:
    """Whether JSON can spell the value again: `1e999` can be read, but not written."""
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return True


def finite(value: float) -> float | None:
    """The number, or None where JSON cannot say it."""
    return value if math.isfinite(value) else None


def dump(document: Mapping[str, Any]) -> bytes:
    """The document as JSON, in as few bytes as it takes."""
    return _ENCODER.encode(document).encode()


def plain(value: Any, depth: int = 0) -> Any:
    """The value with only what JSON has: others become text, what is not finite becomes null."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _MAX_BITS else None
    if isinstance(value, float):
        return finite(value)
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(child, depth + 1) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(child, depth + 1) for child in value]
    # An array, or one of its numbers: nobody here knows their class.
    own = getattr(value, "tolist", None)
    return plain(own(), depth + 1) if callable(own) else str(value)


def shown(value: object) -> str:
    """The value for an error message, shortened."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# json.loads and json.dumps with options make one of these for each call, which takes longer than
# a message of one row.
_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
