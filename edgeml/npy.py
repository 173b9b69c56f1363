"""One array in numpy's `.npy` format, version 1.0, as numpy itself writes it: nothing else is read.

numpy's own reader evaluates the header as Python; here it must match one
pattern, and the length must be exactly what it promises before an array is made.
"""

import re
import struct
from typing import Final

import numpy as np

from edgeml.arrays import Array, ArrayLike

_MAGIC: Final = b"\x93NUMPY\x01\x00"
_HEADER: Final = re.compile(
    rb"\{'descr': '(?P<descr>[<|][fiu][1248])', 'fortran_order': False, "
    rb"'shape': \((?P<shape>(?:\d{1,10}, ?)*(?:\d{1,10})?)\), \} *\n"
)
_ALIGNMENT: Final = 64
_MAX_AXES: Final = 8


def read_npy(content: bytes) -> Array:
    """The array in `content`: little-endian numbers in C order.

    Raises:
        ValueError: another version, order or dtype, or a length that does not fit.
    """
    if content[: len(_MAGIC)] != _MAGIC or len(content) < len(_MAGIC) + 2:
        raise ValueError("not version 1.0 of the npy format")
    start = len(_MAGIC) + 2
    (length,) = struct.unpack_from("<H", content, len(_MAGIC))
    match = _HEADER.fullmatch(content, start, start + length)
    if match is None or start + length > len(content):
        raise ValueError("its header is not that of little-endian numbers in C order")
    shape = tuple(int(n) for n in match["shape"].replace(b",", b" ").split())
    if len(shape) > _MAX_AXES:
        raise ValueError(f"it has more than {_MAX_AXES} axes")
    dtype = np.dtype(match["descr"].decode())
    size = dtype.itemsize
    for n in shape:
        size *= n
    if size != len(content) - start - length:
        raise ValueError(f"its header says {dtype} {list(shape)}, its length does not")
    return np.frombuffer(content, dtype, offset=start + length).reshape(shape)


def write_npy(array: ArrayLike) -> bytes:
    """An array as `.npy`; equal arrays give equal bytes, whatever the version of numpy.

    Raises:
        ValueError: no integers or floats of 1 to 8 bytes.
    """
    values = np.ascontiguousarray(array)
    values = values.reshape(np.shape(array))  # ascontiguousarray makes a scalar one-dimensional
    dtype = values.dtype.newbyteorder("<")
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        raise ValueError(f"{dtype} is not a number of at most 8 bytes")
    header = (
        f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {values.shape!r}, }}".encode()
    )
    start = len(_MAGIC) + 2
    padding = -(start + len(header) + 1) % _ALIGNMENT
    header += b" " * padding + b"\n"
    return _MAGIC + struct.pack("<H", len(header)) + header + values.astype(dtype).tobytes()
