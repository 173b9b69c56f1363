"""An IIO sensor asked through sysfs: for slow ones, and those without a buffer."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError, SensorError, nearest
from edgeml.sensors.driver import NOTHING, Batch
from edgeml.sensors.iio_sysfs import (
    DEVICES,
    channels,
    conversion,
    find_device,
    read_number,
)
from edgeml.sensors.pace import Stamp, Ticker, checked_rate
from edgeml.sensors.sample import Sample


class IioPolled:
    """A sensor of the kernel's IIO subsystem, polled; a driver for `Sensor`.

    Values are in the units of the IIO ABI: m/s² for accel, rad/s for anglvel,
    gauss for magn, thousandths of a degree Celsius for temp, kilopascal for
    pressure, millivolt for voltage, thousandths of a percent for humidity.

    Args:
        device: the chip's name (`bmp280`) or the device's (`iio:device0`).
        channels: the channels as in the file names: `accel_x` for `in_accel_x_raw`.
        rate_hz: how often to read.
        devices: where the devices are.
        clock: the time.

    Raises:
        ConfigError: no channel, or a rate that is not positive.
    """

    def __init__(
        self,
        device: str,
        channels: Sequence[str],
        *,
        rate_hz: float = 10.0,
        devices: Path = DEVICES,
        clock: Clock | None = None,
    ) -> None:
        if not channels:
            raise ConfigError("channels is empty; name them as in_NAME_raw does: accel_x")
        self.name = f"IIO device {device}"
        self.channel_names = tuple(channels)
        self.rate_hz = checked_rate(rate_hz)
        self.period_s = 1.0 / self.rate_hz
        self._device = device
        self._devices = devices
        self._clock: Clock = SystemClock() if clock is None else clock
        self._stamp = Stamp(self._clock)
        self._ticker = Ticker(self.period_s, self._clock)
        self._readers: tuple[Callable[[], float], ...] = ()

    def open(self) -> None:
        """Find the device and how each channel is converted.

        Raises:
            SensorError: the device or a channel is not there.
        """
        folder = find_device(self._device, self._devices)
        self._readers = tuple(_reader(folder, name) for name in self.channel_names)
        self._ticker = Ticker(self.period_s, self._clock)

    def read(self, timeout_s: float) -> Batch:
        """One reading of every channel, when it is due.

        Raises:
            SensorError: the device went away.
        """
        if not self._ticker.wait(timeout_s):
            return NOTHING
        time_s = self._stamp.now_s()
        values = np.array([read() for read in self._readers], np.float32)
        return Batch((Sample(time_s, values),))

    def close(self) -> None:
        """Nothing is held open between two readings."""
        self._readers = ()


def _reader(folder: Path, channel: str) -> Callable[[], float]:
    processed = folder / f"in_{channel}_input"
    if processed.exists():
        return partial(read_number, processed)
    raw = folder / f"in_{channel}_raw"
    if not raw.exists():
        known = channels(folder)
        raise SensorError(
            f"{folder}: no channel {channel!r}{nearest(channel, known)}; "
            f"it has {', '.join(known) or 'none'}"
        )
    how = conversion(folder, channel)
    return lambda: (read_number(raw) + how.offset) * how.scale
