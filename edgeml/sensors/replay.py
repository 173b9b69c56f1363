"""Replays recordings as if they were a sensor, at any speed.

It knows when each sample is due; what files hold is in `recordings`.
"""

import math
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError, SensorError
from edgeml.sensors.recordings import Recordings, as_recordings, rate_of, read_recordings
from edgeml.sensors.sample import Sample
from edgeml.sensors.sensor import POLL_S
from edgeml.sensors.tempo import same_rate

PAUSE_PERIODS: Final = 10.0
"""The silence between two recordings, in sample periods: long enough to be a gap."""

_Array = npt.NDArray[np.float32]


class Replay:
    """Recordings as a source of samples.

    Args:
        source: a `.csv`, `.npz`, `.npy` or `.wav` file, or a folder of images; or an array
            (samples, channels) of one recording or (n, samples, channels) of several.
        sample_rate_hz: where the file does not say; wins over the rate that it says, and
            where it holds the time of each sample, must be theirs.
        channels: the CSV columns to read, in this order; all by default.
        start_s: unix time of the first sample; now by default, and ignored
            where a CSV has a `time_s` column.
        speed: 1 replays in real time, 10 ten times as fast, None as fast as it goes.
        repeat: how often to play it all.
        size: height and width to scale images to; as they are by default.
        colour: of images, `rgb` or `grey`.
        clock: paces the replay.

    Raises:
        SensorError: the file is missing or cannot be read as what it is, or its times
            are of another rate.
        ConfigError: an argument is out of range, or no sample rate is known.
        MissingDependencyError: images need Pillow, and it is not installed.
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
        size: Sequence[int] | None = None,
        colour: str = "rgb",
        clock: Clock | None = None,
    ) -> None:
        if speed is not None and not (math.isfinite(speed) and speed > 0):
            raise ConfigError(f"speed={speed}: a positive number, or None for as fast as it goes")
        if repeat < 1:
            raise ConfigError(f"repeat={repeat}: play it at least once")
        self._clock: Clock = SystemClock() if clock is None else clock
        self._speed = speed
        self._stop = threading.Event()
        self._repeat = repeat
        self._start_s = start_s
        if isinstance(source, (str, os.PathLike)):
            found = read_recordings(Path(source), channels=channels, size=size, colour=colour)
        else:
            found = Recordings(as_recordings(_array(source), "the array"))
        self._played = found.played
        self._times = found.times_s
        self.labels = found.labels
        self.channel_names = found.channel_names
        self.sample_rate_hz = self._settle_rate(sample_rate_hz, found.rate_hz)
        self._check_times(source)

    @property
    def paced(self) -> bool:
        """Whether it takes its time: a device reads it in a thread of its own, as a sensor."""
        return self._speed is not None

    @property
    def measured_rate_hz(self) -> float | None:
        """Samples a second by the file's own times, gaps left out; None where it has none."""
        return rate_of(self._times)

    @property
    def recordings(self) -> _Array:
        """All of it: float32 (recordings, samples, channels…); images are one recording.

        Raises:
            SensorError: images that are not of one size, or cannot be read.
        """
        if isinstance(self._played, np.ndarray):
            return self._played
        try:
            return np.stack([np.stack(list(recording)) for recording in self._played])
        except ValueError as exc:
            raise SensorError(f"the images are not of one size; pass size=… ({exc})") from exc

    def __iter__(self) -> Iterator[Sample]:
        """Samples in order; a pause between two recordings."""
        clock = self._clock
        self._stop.clear()
        start_s = clock.now_s() if self._start_s is None else self._start_s
        began_s = clock.monotonic_s()
        first_s = start_s if self._times is None else float(self._times[0])
        for time_s, values in self._timed(start_s):
            if self._speed is not None:
                due_s = began_s + (time_s - first_s) / self._speed
                while (wait_s := due_s - clock.monotonic_s()) > 0:
                    if self._stop.is_set():
                        return
                    clock.sleep(min(wait_s, POLL_S))
            yield Sample(time_s, values)

    def stop(self) -> None:
        """End the pause that an iteration is in, and with it the iteration; from any thread."""
        self._stop.set()

    def start_times_s(self, start_s: float) -> tuple[float, ...]:
        """When each recording of each repeat begins, if the first begins at `start_s`."""
        step_s = self._recording_period_s()
        return tuple(start_s + i * step_s for i in range(self._repeat * len(self._played)))

    def _recording_period_s(self) -> float:
        samples = len(self._played[0])
        return (samples - 1 + PAUSE_PERIODS) / self.sample_rate_hz

    def _timed(self, start_s: float) -> Iterator[tuple[float, _Array]]:
        if self._times is not None:
            offset_s = 0.0
            for _ in range(self._repeat):
                for time_s, values in zip(self._times, self._played[0], strict=True):
                    yield float(time_s) + offset_s, values
                span_s = float(self._times[-1] - self._times[0])
                offset_s += span_s + PAUSE_PERIODS / self.sample_rate_hz
            return
        period_s = 1.0 / self.sample_rate_hz
        starts_s = self.start_times_s(start_s)
        for i, begin_s in enumerate(starts_s):
            for j, values in enumerate(self._played[i % len(self._played)]):
                yield begin_s + j * period_s, values

    def _settle_rate(self, wanted: float | None, found: float | None) -> float:
        rate = found if wanted is None else wanted
        rate = self.measured_rate_hz if rate is None else rate
        if rate is None:
            raise ConfigError(
                "no sample rate: pass sample_rate_hz=…, or give the file a time_s column"
            )
        if not (math.isfinite(rate) and rate > 0):
            raise ConfigError(f"sample_rate_hz={rate}: a rate is a positive number")
        return float(rate)

    def _check_times(self, source: object) -> None:
        """Times decide, so a rate that is said beside them must be theirs."""
        found_hz, said_hz = self.measured_rate_hz, self.sample_rate_hz
        if found_hz is not None and not same_rate(found_hz, said_hz):
            raise SensorError(
                f"{source}: by its times it gives {found_hz:g} samples a second, and {said_hz:g} "
                "are wanted: resample it, or leave its times out where they are wrong"
            )


def _array(source: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        return np.asarray(source)
    except ValueError as exc:
        raise SensorError(f"the recording is no array: {exc}") from exc
