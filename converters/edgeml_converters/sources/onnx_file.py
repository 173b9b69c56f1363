"""ONNX files, through onnx2tf; onnxruntime is what they are held to.

What is no model, or not all of one, is refused before an environment is made for
it: a ModelProto is a row of fields, each with its length in front, and one of
them is the graph.
"""

import os
from pathlib import Path
from typing import BinaryIO, Final

from edgeml.errors import ConversionError
from edgeml_converters.environments import ONNX, ready
from edgeml_converters.sources.float_model import FloatModel
from edgeml_converters.sources.foreign import open_foreign

SUFFIX: Final = ".onnx"
MAX_BYTES: Final = 2 << 30
MAX_FIELDS: Final = 100_000
_GRAPH: Final = 7
_NUMBER, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5
"""How protobuf writes a value."""


def load(path: Path) -> FloatModel:
    """Open a file, which is not trusted: only a worker reads what is in its fields.

    Raises:
        ConversionError: it is no ONNX model, or none for a device.
        MissingDependencyError: the environment for it cannot be made.
    """
    check(path)
    return open_foreign(path, ready(ONNX), "onnxruntime", ways=2)


def check(path: Path) -> None:
    """Object to a file that is not a row of whole fields, one of them a graph.

    Raises:
        ConversionError: why.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            whole = size <= MAX_BYTES and _holds_graph(file, size)
    except OSError as exc:
        raise ConversionError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    if not whole:
        raise ConversionError(f"{path}: {size} bytes that are no ONNX model; is it complete?")


def _holds_graph(file: BinaryIO, size: int) -> bool:
    found = False
    for _ in range(MAX_FIELDS):
        if file.tell() == size:
            return found
        key = _varint(file)
        if key is None or not key >> 3:
            return False
        length = _length(file, key & 7)
        if length is None or file.tell() + length > size:
            return False
        found = found or (key == _GRAPH << 3 | _COUNTED and length > 0)
        file.seek(length, os.SEEK_CUR)
    return False


def _length(file: BinaryIO, kind: int) -> int | None:
    """How many bytes of a value are still to come; None for what protobuf does not write."""
    if kind == _NUMBER:
        return None if _varint(file) is None else 0
    if kind == _COUNTED:
        return _varint(file)
    return {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(kind)


def _varint(file: BinaryIO) -> int | None:
    value = 0
    for i in range(10):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << (7 * i)
        if byte[0] < 0x80:
            return value
    return None
