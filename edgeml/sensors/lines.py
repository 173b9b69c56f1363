"""Readings as text: lines of comma-separated numbers, and values picked out of JSON by a path.

Pure. What comes over a serial line or a topic is not to be trusted: a torn
line, a word where a number should be or an object of another shape is a
ValueError with its reason, which the driver counts and leaves out.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConfigError

MAX_LINE_BYTES: Final = 64 * 1024
"""A longer line is noise: a wrong baud rate, or a sender that never ends one."""

_SHOWN: Final = 60
_PART: Final = re.compile(r"([^.\[\]]+)|\[(\d{1,6})\]")

JsonPath = tuple[str | int, ...]
Reading = Callable[[bytes], npt.NDArray[np.float32]]
"""From one line or message to float32 (channels,), or a ValueError."""


def parse_path(path: str) -> JsonPath:
    """A path into JSON: `imu.accel[0]` is the keys imu and accel, then the first element.

    Raises:
        ConfigError: it cannot be read as one.
    """
    parts: list[str | int] = []
    at = 0
    while at < len(path) or not parts:
        if parts and path[at] == ".":
            at += 1
        match = _PART.match(path, at)
        if match is None:
            raise ConfigError(f"path {path!r}: write it like imu.accel[0]")
        parts.append(match[1] if match[1] is not None else int(match[2]))
        at = match.end()
    return tuple(parts)


def pick(value: Any, path: JsonPath) -> float:
    """The number at the path.

    Raises:
        ValueError: there is none.
    """
    try:
        for part in path:
            value = value[part]
    except (KeyError, IndexError, TypeError) as exc:
        raise ValueError(f"no {part!r} in {_shown(value)}") from exc
    if value is None:
        return math.nan
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        return float(value)
    except TypeError as exc:
        raise ValueError(f"{_shown(value)} is not a number") from exc
    except OverflowError as exc:
        raise ValueError(f"{_shown(value)} is too large") from exc


class JsonReading:
    """Reads one JSON value into the channels, each at its own path; null is a missing reading."""

    __slots__ = ("_paths",)

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(parse_path(path) for path in paths)

    def __call__(self, text: bytes) -> npt.NDArray[np.float32]:
        """float32 (channels,).

        Raises:
            ValueError: it is not JSON, or not of this shape.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise ValueError(f"not JSON: {_shown(text)}") from exc
        return _float32([pick(value, path) for path in self._paths])


class CsvReading:
    """Reads one line of numbers into as many channels; an empty field is a missing reading."""

    __slots__ = ("_count", "_separator")

    def __init__(self, count: int, separator: str = ",") -> None:
        self._count = count
        self._separator = separator

    def __call__(self, text: bytes) -> npt.NDArray[np.float32]:
        """float32 (channels,).

        Raises:
            ValueError: it holds fewer or more fields, or a field is not a number.
        """
        try:
            fields = text.decode("ascii").split(self._separator)
        except UnicodeDecodeError as exc:
            raise ValueError(f"not text: {_shown(text)}") from exc
        if len(fields) != self._count:
            raise ValueError(f"{len(fields)} values, not {self._count}: {_shown(text)}")
        try:
            return _float32([float(field) if field.strip() else math.nan for field in fields])
        except ValueError as exc:
            raise ValueError(f"{exc}: {_shown(text)}") from exc


def attempt(reading: Reading, text: bytes) -> npt.NDArray[np.float32] | ValueError:
    """What the text says, or why it cannot be read."""
    try:
        return reading(text)
    except ValueError as exc:
        return exc


class LineSplitter:
    """Cuts bytes into lines; what came before the first line end is torn and left out."""

    __slots__ = ("_rest", "_torn")

    def __init__(self) -> None:
        self._rest = b""
        self._torn = True

    def push(self, data: bytes) -> tuple[list[bytes], int]:
        """The lines that these bytes complete, without their ends, and how many were too long."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines and self._torn:
            self._torn = False
            del lines[0]
        too_long = sum(len(line) > MAX_LINE_BYTES for line in lines)
        if len(self._rest) > MAX_LINE_BYTES:
            too_long += not self._torn
            self._rest, self._torn = b"", True
        whole = [line.strip() for line in lines if len(line) <= MAX_LINE_BYTES]
        return [line for line in whole if line], too_long


def _float32(numbers: Sequence[float]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.asarray(numbers, np.float64).astype(np.float32)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
