"""Replays recordings as if they were a sensor: CSV, NPZ and arrays, at any speed.

It knows the file formats. A CSV has a header that names its columns; `time_s`
and `label` are special, the rest are channels. An NPZ holds `recordings`
(n, samples, channels) or `samples` (samples, channels), and may hold
`sample_rate_hz`, `time_s` and `labels`.
"""

import csv
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError, SensorError, nearest
from edgeml.sensors.sample import Sample

PAUSE_PERIODS: Final = 10.0
"""The silence between two recordings, in sample periods: long enough to be a gap."""

TIME_COLUMN: Final = "time_s"
LABEL_COLUMN: Final = "label"

_Array = npt.NDArray[np.float32]


class Replay:
    """Recordings as a source of samples.

    Args:
        source: a `.csv`, `.npz` or `.npy` file; or an array (samples, channels)
            of one recording or (n, samples, channels) of several.
        sample_rate_hz: where the file does not say; wins over what it says.
        channels: the CSV columns to read, in this order; all by default.
        start_s: unix time of the first sample; now by default, and ignored
            where a CSV has a `time_s` column.
        speed: 1 replays in real time, 10 ten times as fast, None as fast as it goes.
        repeat: how often to play it all.
        clock: paces the replay.

    Raises:
        SensorError: the file is missing or cannot be read as what it is.
        ConfigError: an argument is out of range, or no sample rate is known.
    """

    live: Final = False

    def __init__(
        self,
        source: str | os.PathLike[str] | npt.ArrayLike,
        *,
        sample_rate_hz: float | None = None,
        channels: Sequence[str] | None = None,
        start_s: float | None = None,
        speed: float | None = None,
        repeat: int = 1,
        clock: Clock | None = None,
    ) -> None:
        if speed is not None and not (math.isfinite(speed) and speed > 0):
            raise ConfigError(f"speed={speed}: a positive number, or None for as fast as it goes")
        if repeat < 1:
            raise ConfigError(f"repeat={repeat}: play it at least once")
        self._clock: Clock = SystemClock() if clock is None else clock
        self._speed = speed
        self._repeat = repeat
        self._start_s = start_s
        self._times: npt.NDArray[np.float64] | None = None
        self.labels: tuple[str, ...] | None = None
        self.channel_names: tuple[str, ...] | None = None
        rate: float | None = None
        if isinstance(source, (str, os.PathLike)):
            rate = self._read_file(Path(source), channels)
        else:
            self.recordings = _as_recordings(np.asarray(source, np.float32), "the array")
        self.sample_rate_hz = self._settle_rate(sample_rate_hz, rate)

    def __iter__(self) -> Iterator[Sample]:
        """Samples in order; a pause between two recordings."""
        clock = self._clock
        start_s = clock.now_s() if self._start_s is None else self._start_s
        began_s = clock.monotonic_s()
        for time_s, values in self._timed(start_s):
            if self._speed is not None:
                wait_s = began_s + (time_s - start_s) / self._speed - clock.monotonic_s()
                if wait_s > 0:
                    clock.sleep(wait_s)
            yield Sample(time_s, values)

    def start_times_s(self, start_s: float) -> tuple[float, ...]:
        """When each recording of each repeat begins, if the first begins at `start_s`."""
        step_s = self._recording_period_s()
        return tuple(start_s + i * step_s for i in range(self._repeat * len(self.recordings)))

    def _recording_period_s(self) -> float:
        samples = len(self.recordings[0])
        return (samples - 1 + PAUSE_PERIODS) / self.sample_rate_hz

    def _timed(self, start_s: float) -> Iterator[tuple[float, _Array]]:
        if self._times is not None:
            offset_s = 0.0
            for _ in range(self._repeat):
                for time_s, values in zip(self._times, self.recordings[0], strict=True):
                    yield float(time_s) + offset_s, values
                span_s = float(self._times[-1] - self._times[0])
                offset_s += span_s + PAUSE_PERIODS / self.sample_rate_hz
            return
        period_s = 1.0 / self.sample_rate_hz
        starts_s = self.start_times_s(start_s)
        for i, begin_s in enumerate(starts_s):
            for j, values in enumerate(self.recordings[i % len(self.recordings)]):
                yield begin_s + j * period_s, values

    def _settle_rate(self, wanted: float | None, found: float | None) -> float:
        rate = found if wanted is None else wanted
        if rate is None and self._times is not None and len(self._times) > 1:
            rate = float(1.0 / np.median(np.diff(self._times)))
        if rate is None:
            raise ConfigError(
                "no sample rate: pass sample_rate_hz=…, or give the file a time_s column"
            )
        if not (math.isfinite(rate) and rate > 0):
            raise ConfigError(f"sample_rate_hz={rate}: a rate is a positive number")
        return float(rate)

    def _read_file(self, path: Path, channels: Sequence[str] | None) -> float | None:
        suffix = path.suffix.lower()
        readers = {".csv": self._read_csv, ".npz": self._read_npz, ".npy": self._read_npy}
        if suffix not in readers:
            raise SensorError(
                f"{path}: reads {', '.join(readers)}, not {suffix or 'a file without ending'}"
            )
        try:
            return readers[suffix](path, channels)
        except OSError as exc:
            if isinstance(exc, SensorError):
                raise
            raise SensorError(f"{path}: cannot be read ({exc.strerror or exc})") from exc

    def _read_npy(self, path: Path, _: Sequence[str] | None) -> None:
        self.recordings = _as_recordings(_load(path), str(path))

    def _read_npz(self, path: Path, _: Sequence[str] | None) -> float | None:
        arrays = _load(path)
        key = next((k for k in ("recordings", "samples") if k in arrays), None)
        if key is None:
            raise SensorError(
                f"{path}: holds {', '.join(arrays)}; it needs 'recordings' or 'samples'"
            )
        self.recordings = _as_recordings(arrays[key], f"{path}: {key}")
        if "labels" in arrays:
            self.labels = tuple(str(label) for label in arrays["labels"])
        if "channels" in arrays:
            self.channel_names = tuple(str(name) for name in arrays["channels"])
        if TIME_COLUMN in arrays and len(self.recordings) == 1:
            self._times = _checked_times(arrays[TIME_COLUMN], self.recordings.shape[1], str(path))
        return float(arrays["sample_rate_hz"]) if "sample_rate_hz" in arrays else None

    def _read_csv(self, path: Path, channels: Sequence[str] | None) -> None:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            names = _csv_channels(header, channels, path)
            picked = [header.index(name) for name in names]
            time_at = header.index(TIME_COLUMN) if TIME_COLUMN in header else None
            values: list[list[float]] = []
            times: list[float] = []
            for row in rows:
                if not row:
                    continue
                numbers = _csv_numbers(
                    row,
                    header,
                    [*picked, *([] if time_at is None else [time_at])],
                    f"{path}:{rows.line_num}",
                )
                values.append(numbers[: len(picked)])
                times += numbers[len(picked) :]
        self.recordings = _as_recordings(np.asarray(values, np.float32), str(path))
        self.channel_names = tuple(names)
        if time_at is not None:
            self._times = _checked_times(np.asarray(times), len(values), str(path))


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
            raise SensorError(f"{path}: no column {name!r}{nearest(name, header)}")
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


def _load(path: Path) -> Any:
    try:
        loaded = np.load(path, allow_pickle=False)
        return dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else loaded
    except (ValueError, EOFError, zipfile.BadZipFile) as exc:
        raise SensorError(f"{path}: not an array file that can be read safely ({exc})") from exc


def _as_recordings(array: npt.NDArray[Any], where: str) -> _Array:
    if array.ndim == 2:
        array = array[np.newaxis]
    if array.ndim < 3 or not array.size or array.dtype.kind not in "fiu":
        raise SensorError(
            f"{where} is {array.dtype} {array.shape}; it should hold numbers as "
            "(samples, channels) or (recordings, samples, channels)"
        )
    return np.ascontiguousarray(array, np.float32)


def _checked_times(times: npt.NDArray[Any], samples: int, where: str) -> npt.NDArray[np.float64]:
    times = np.asarray(times, np.float64)
    if times.shape != (samples,) or not np.isfinite(times).all():
        raise SensorError(
            f"{where}: time_s should be {samples} finite numbers, one for each sample"
        )
    return times
