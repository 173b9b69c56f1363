"""Arrays as pictures inside the page: a PNG in a data URI, written with the standard library."""

import base64
import struct
import zlib

import numpy as np
import numpy.typing as npt

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2}


def data_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """A PNG of some pixels.

    Args:
        pixels: uint8 (height, width) for grey or (height, width, 3) for colours.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    rows = pixels.reshape(height, width * channels)
    filtered = np.hstack([np.zeros((height, 1), np.uint8), rows]).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    content = b"".join(
        _chunk(kind, data)
        for kind, data in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(filtered, 9)),
            (b"IEND", b""),
        )
    )
    return "data:image/png;base64," + base64.b64encode(_SIGNATURE + content).decode("ascii")


def shades(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Values as 0 (the smallest) to 255 (the largest); what is not finite as the smallest."""
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(values.shape, np.uint8)
    low, high = float(values[known].min()), float(values[known].max())
    shifted = np.where(known, values, low).astype(np.float64) - low
    return np.rint(shifted / ((high - low) or 1.0) * 255).astype(np.uint8)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
