"""WAV files: RIFF chunks, and samples as integers or floats of any usual width.

Written here because the standard library's reader knows no floating point, and
the extensible header only from Python 3.12 on.
"""

import struct
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeml.errors import SensorError

_PCM: Final = 1
_FLOAT: Final = 3
_EXTENSIBLE: Final = 0xFFFE
_FORMAT: Final = struct.Struct("<HHIIHH")
_SUBFORMAT_AT: Final = 24
_UNKNOWN_SIZES: Final = (0, 0xFFFFFFFF)
"""What a program writes that streams and does not know how long it will be."""
_MOST_CHANNELS: Final = 64


class Sound(NamedTuple):
    """A recording: float32 (frames, channels) from -1 to 1, and its rate."""

    values: npt.NDArray[np.float32]
    rate_hz: float


class _Format(NamedTuple):
    kind: int
    channels: int
    rate_hz: int
    bits: int


def read_wav(path: Path) -> Sound:
    """The sound in a file: PCM of 8, 16, 24 or 32 bits, or float of 32 or 64.

    Raises:
        SensorError: it is no such file, or it ends too early.
        OSError: it cannot be opened.
    """
    data = path.read_bytes()
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise SensorError(f"{path}: is no WAV file; it does not begin with RIFF … WAVE")
    found: _Format | None = None
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = at + 8
        if name == b"data":
            if found is None:
                break
            if size in _UNKNOWN_SIZES:
                size = len(data) - body
            elif body + size > len(data):
                raise SensorError(
                    f"{path}: ends {body + size - len(data)} bytes early; was it copied in full?"
                )
            return Sound(_decode(data[body : body + size], found, path), float(found.rate_hz))
        if name == b"fmt ":
            found = _format(data[body : body + size], path)
        at = body + size + size % 2
    raise SensorError(f"{path}: has no sound in it: no fmt chunk before a data chunk")


def _format(chunk: bytes, path: Path) -> _Format:
    if len(chunk) < _FORMAT.size:
        raise SensorError(f"{path}: its fmt chunk is too short")
    kind, channels, rate_hz, _, _, bits = _FORMAT.unpack_from(chunk)
    if kind == _EXTENSIBLE and len(chunk) >= _SUBFORMAT_AT + 2:
        kind = int.from_bytes(chunk[_SUBFORMAT_AT : _SUBFORMAT_AT + 2], "little")
    known = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}
    if bits not in known.get(kind, ()):
        raise SensorError(
            f"{path}: format {kind} of {bits} bits; convert it to PCM: "
            "ffmpeg -i IN -c:a pcm_s16le OUT.wav"
        )
    if not 1 <= channels <= _MOST_CHANNELS or not rate_hz:
        raise SensorError(f"{path}: {channels} channels at {rate_hz} Hz")
    return _Format(kind, channels, rate_hz, bits)


def _decode(data: bytes, found: _Format, path: Path) -> npt.NDArray[np.float32]:
    frame_bytes = found.channels * found.bits // 8
    if len(data) < frame_bytes:
        raise SensorError(f"{path}: holds no sound")
    data = data[: len(data) // frame_bytes * frame_bytes]
    if found.kind == _FLOAT:
        values = np.frombuffer(data, f"<f{found.bits // 8}").astype(np.float32)
    elif found.bits == 8:
        values = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
    else:
        values = (_integers(data, found.bits) / 2.0 ** (found.bits - 1)).astype(np.float32)
    return values.reshape(-1, found.channels)


def _integers(data: bytes, bits: int) -> npt.NDArray[np.int32]:
    if bits == 24:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        # In the upper three bytes of four, the sign is where int32 wants it.
        return wide.view("<i4").reshape(-1) >> 8
    return np.frombuffer(data, f"<i{bits // 8}").astype(np.int32)
