"""Recordings in files: CSV, NPZ, NPY, WAV and folders of images, each checked as it is read.

A CSV has a header that names its columns; `time_s` and `label` are special,
the rest are channels. An NPZ holds `recordings` (n, samples, channels) or
`samples` (samples, channels), or `codes` in place of recordings: whole steps of
a `scale` (channels,), as a converter counts them. It may hold `sample_rate_hz`,
`time_s`, `channels` and `labels`.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import SensorError, nearest
from edgeml.sensors.arrayfile import read_arrays
from edgeml.sensors.images import ImageFolder
from edgeml.sensors.wav import read_wav

TIME_COLUMN: Final = "time_s"
LABEL_COLUMN: Final = "label"
IMAGES_HZ: Final = 1.0
"""The rate of a folder of images, which has none of its own."""
_STEADY: Final = 1.75
"""A step in time longer than so many usual ones is a gap: with one sample missing it is two."""

_Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Recordings:
    """What a file holds.

    Attributes:
        played: float32 (recordings, samples, channels…), or a folder as one recording.
        rate_hz: samples a second, where the file says.
        times_s: float64 (samples,), the unix time of each sample of a single recording.
        labels: one for each recording, or for each image.
        channel_names: where the file names them.
    """

    played: _Array | tuple[ImageFolder]
    rate_hz: float | None = None
    times_s: npt.NDArray[np.float64] | None = None
    labels: tuple[str, ...] | None = None
    channel_names: tuple[str, ...] | None = None


def read_recordings(
    path: Path, *, channels: Sequence[str] | None, size: Sequence[int] | None, colour: str
) -> Recordings:
    """Read a file or a folder of images.

    Args:
        path: what to read.
        channels: the CSV columns to read, in this order; all by default.
        size: height and width to scale images to.
        colour: of images, `rgb` or `grey`.

    Raises:
        SensorError: it is missing or cannot be read as what it is.
        MissingDependencyError: images need Pillow, and it is not installed.
    """
    if path.is_dir():
        images = ImageFolder(path, size=size, colour=colour)
        return Recordings((images,), IMAGES_HZ, labels=images.labels)
    readers = {".csv": _read_csv, ".npz": _read_arrays, ".npy": _read_arrays, ".wav": _read_wav}
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise SensorError(
            f"{path}: reads {', '.join(readers)} and folders of images, "
            f"not {suffix or 'a file without ending'}"
        )
    try:
        return readers[suffix](path, channels)
    except OSError as exc:
        if isinstance(exc, SensorError):
            raise
        raise SensorError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        raise SensorError(f"{path}: is not a CSV in UTF-8 ({exc}); save it as one") from exc


def rate_of(times_s: npt.NDArray[np.float64] | None) -> float | None:
    """Samples a second by their times, gaps left out; None where there are none.

    By the mean, since times in whole milliseconds have a median of whole milliseconds.
    """
    if times_s is None or len(times_s) < 2:
        return None
    steps_s = np.diff(times_s)
    steady = steps_s[(steps_s > 0) & (steps_s < _STEADY * np.median(steps_s))]
    return float(1.0 / steady.mean()) if steady.size else math.inf


def as_recordings(array: npt.NDArray[Any], where: str) -> _Array:
    """The array as float32 (recordings, samples, channels…).

    Raises:
        SensorError: it has too few dimensions, is empty, or holds no numbers.
    """
    if array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim < 3 or not array.size or array.dtype.kind not in "fiub":
        raise SensorError(
            f"{where} is {array.dtype} {array.shape}; it should hold numbers as "
            "(samples, channels) or (recordings, samples, channels)"
        )
    return np.ascontiguousarray(array, np.float32)


def _read_wav(path: Path, _: Sequence[str] | None) -> Recordings:
    sound = read_wav(path)
    count = sound.values.shape[1]
    names = ("sound",) if count == 1 else tuple(f"sound_{i}" for i in range(count))
    return Recordings(as_recordings(sound.values, str(path)), sound.rate_hz, channel_names=names)


def _read_arrays(path: Path, _: Sequence[str] | None) -> Recordings:
    arrays = read_arrays(path)
    if isinstance(arrays, np.ndarray):
        return Recordings(as_recordings(arrays, str(path)))
    key = next((k for k in ("recordings", "samples", "codes") if k in arrays), None)
    if key is None:
        raise SensorError(f"{path}: holds {', '.join(arrays)}; it needs 'recordings' or 'samples'")
    recordings = as_recordings(arrays[key], f"{path}: {key}")
    if key == "codes":
        recordings = recordings * _scale(arrays, recordings.shape[-1], path)
    times = None
    if TIME_COLUMN in arrays and len(recordings) == 1:
        times = _checked_times(arrays[TIME_COLUMN], recordings.shape[1], str(path))
    return Recordings(
        recordings,
        _scalar(arrays["sample_rate_hz"], path) if "sample_rate_hz" in arrays else None,
        times,
        _texts(arrays, "labels"),
        _texts(arrays, "channels"),
    )


def _scale(arrays: Mapping[str, npt.NDArray[Any]], channels: int, path: Path) -> _Array:
    """What one step of each channel's codes stands for."""
    scale = arrays.get("scale")
    if scale is None or scale.shape != (channels,) or scale.dtype.kind != "f":
        raise SensorError(f"{path}: 'codes' need a 'scale' of {channels} numbers, one a channel")
    return scale.astype(np.float32)


def _read_csv(path: Path, channels: Sequence[str] | None) -> Recordings:
    with path.open(newline="", encoding="utf-8-sig") as file:  # Excel puts a mark before it
        rows = csv.reader(file)
        header = [name.strip() for name in next(rows, [])]
        names = _csv_channels(header, channels, path)
        picked = [header.index(name) for name in names]
        time_at = [header.index(TIME_COLUMN)] if TIME_COLUMN in header else []
        values: list[list[float]] = []
        times: list[float] = []
        for row in rows:
            if not row:
                continue
            where = f"{path}:{rows.line_num}"
            numbers = _csv_numbers(row, header, [*picked, *time_at], where)
            values.append(numbers[: len(picked)])
            times += numbers[len(picked) :]
    return Recordings(
        as_recordings(np.asarray(values, np.float32), str(path)),
        None,
        _checked_times(np.asarray(times), len(values), str(path)) if time_at else None,
        None,
        tuple(names),
    )


def _csv_channels(header: Sequence[str], wanted: Sequence[str] | None, path: Path) -> list[str]:
    if wanted is None:
        names = [name for name in header if name not in (TIME_COLUMN, LABEL_COLUMN)]
        if not names:
            raise SensorError(
                f"{path}: the first line should name the columns; it is {','.join(header)!r}"
            )
        return names
    for name in wanted:
        if name not in header:
            there = f"it has {', '.join(header)}" if header else "it is empty"
            raise SensorError(f"{path}: no column {name!r}{nearest(name, header)}; {there}")
    return list(wanted)


def _csv_numbers(
    row: Sequence[str], header: Sequence[str], picked: Sequence[int], where: str
) -> list[float]:
    if len(row) != len(header):
        raise SensorError(f"{where}: {len(row)} values, but the header names {len(header)} columns")
    try:
        return [float(row[i]) for i in picked]
    except ValueError as exc:
        raise SensorError(f"{where}: {exc}; write a missing reading as nan") from exc


def _checked_times(times: npt.NDArray[Any], samples: int, where: str) -> npt.NDArray[np.float64]:
    times = np.asarray(times, np.float64)
    if times.shape != (samples,) or not np.isfinite(times).all():
        raise SensorError(
            f"{where}: time_s should be {samples} finite numbers, one for each sample"
        )
    return times


def _scalar(array: npt.NDArray[Any], path: Path) -> float:
    if array.size != 1 or array.dtype.kind not in "fiu":
        raise SensorError(f"{path}: sample_rate_hz should be one number")
    return float(array.reshape(-1)[0])


def _texts(arrays: Any, name: str) -> tuple[str, ...] | None:
    return tuple(str(text) for text in arrays[name].reshape(-1)) if name in arrays else None
