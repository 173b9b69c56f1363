"""An IIO sensor through its buffer: the kernel takes the samples, and this reads them in blocks."""

import contextlib
import os
import select
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError, SensorError, nearest
from edgeml.sensors.driver import NOTHING, Batch
from edgeml.sensors.iio_scan import Element, Layout, ScanType
from edgeml.sensors.iio_sysfs import (
    DEVICES,
    Conversion,
    attribute,
    conversion,
    find_device,
    read_number,
    read_text,
    write_text,
)
from edgeml.sensors.pace import BlockStamp, Stamp, checked_rate
from edgeml.sensors.sample import Block
from edgeml.sensors.tempo import same_rate

TIMESTAMP: Final = "timestamp"
_RECORDS_PER_READ: Final = 1024
_COLLECT_S: Final = 0.02
"""Records wait this long in the kernel, so that a fast sensor does not wake this for each."""


class IioBuffered:
    """A sensor of the kernel's IIO subsystem, through its buffer; a driver for `Sensor`.

    Units are those of `IioPolled`. Times are the kernel's where the device has
    a timestamp element; otherwise they follow the rate.

    Args:
        device: the chip's name (`lsm6dsl`) or the device's (`iio:device0`).
        channels: the scan elements: `accel_x` for `in_accel_x_en`.
        rate_hz: set as the sampling frequency; None leaves what is set.
        trigger: the trigger's name, for devices that need one.
        length: how many records the kernel holds.
        devices: where the devices are in sysfs.
        nodes: where their character devices are.
        clock: the time.

    Raises:
        ConfigError: no channel, or a rate or a length that is not positive.
    """

    def __init__(
        self,
        device: str,
        channels: Sequence[str],
        *,
        rate_hz: float | None = None,
        trigger: str | None = None,
        length: int = 256,
        devices: Path = DEVICES,
        nodes: Path = Path("/dev"),
        clock: Clock | None = None,
    ) -> None:
        if not channels:
            raise ConfigError("channels is empty; name them as in_NAME_en does: accel_x")
        if length < 1:
            raise ConfigError(f"length={length}: a buffer holds one record at least")
        self.name = f"IIO buffer of {device}"
        self.channel_names = tuple(channels)
        self.period_s: float | None = None if rate_hz is None else 1.0 / checked_rate(rate_hz)
        self._rate_hz = rate_hz
        self._device = device
        self._trigger = trigger
        self._length = length
        self._devices = devices
        self._nodes = nodes
        self._stamp = Stamp(SystemClock() if clock is None else clock)
        self._times = BlockStamp(rate_hz or 1.0, self._stamp)
        self._folder: Path | None = None
        self._fd: int | None = None
        self._layout: Layout | None = None
        self._conversions: tuple[Conversion, ...] = ()
        self._rest = b""

    @property
    def rate_hz(self) -> float | None:
        """Samples a second: as asked, else as the device is set, where it is there to tell."""
        if self._rate_hz is not None:
            return self._rate_hz
        with contextlib.suppress(SensorError):
            return self._settle_rate(find_device(self._device, self._devices))
        return None

    def open(self) -> None:
        """Choose the elements, set the rate, and start the buffer.

        Raises:
            SensorError: the device, an element or the permission is missing.
            ConfigError: nothing says when a sample was taken, or the device takes another rate.
        """
        folder = self._folder = find_device(self._device, self._devices)
        write_text(folder / "buffer" / "enable", "0")
        elements = self._enable_elements(folder / "scan_elements")
        self._layout = Layout(elements)
        self._conversions = tuple(conversion(folder, name) for name in self.channel_names)
        if self._trigger is not None:
            write_text(folder / "trigger" / "current_trigger", self._trigger)
        rate_hz = self._settle_rate(folder)
        if rate_hz is not None:
            self.period_s = 1.0 / rate_hz
            self._times = BlockStamp(rate_hz, self._stamp)
        elif not any(element.name == TIMESTAMP for element in elements):
            raise ConfigError(
                f"{self.name}: it has no timestamp and no sampling_frequency; pass rate_hz=…"
            )
        write_text(folder / "buffer" / "length", str(self._length))
        watermark = folder / "buffer" / "watermark"
        if rate_hz is not None and watermark.exists():  # kernels before 4.2 wake for every record
            together = min(round(rate_hz * _COLLECT_S), self._length // 2)
            write_text(watermark, str(max(together, 1)))
        self._rest = b""
        node = self._nodes / folder.name
        try:
            self._fd = os.open(node, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as exc:
            raise SensorError(
                f"{node}: cannot be opened ({exc.strerror}); a user needs a udev rule for it, "
                "docs/sensors.md has one"
            ) from exc
        write_text(folder / "buffer" / "enable", "1")

    def read(self, timeout_s: float) -> Batch:
        """The records that the kernel holds.

        Raises:
            SensorError: the device went away.
        """
        if self._fd is None or self._layout is None:
            raise SensorError(f"{self.name}: is not open")
        if not select.select([self._fd], [], [], timeout_s)[0]:
            return NOTHING
        size = self._layout.record_bytes
        try:
            data = os.read(self._fd, size * _RECORDS_PER_READ)
        except BlockingIOError:
            return NOTHING
        except OSError as exc:
            raise SensorError(f"{self.name}: went away ({exc.strerror})") from exc
        if not data:
            raise SensorError(f"{self.name}: went away")
        data = self._rest + data
        whole = len(data) // size * size
        self._rest = data[whole:]
        return Batch(self._samples(self._layout.decode(data[:whole]))) if whole else NOTHING

    def close(self) -> None:
        """Stop the buffer and let go of it."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
        folder, self._folder = self._folder, None
        if folder is not None:
            with contextlib.suppress(SensorError):  # what is unplugged needs no stopping
                write_text(folder / "buffer" / "enable", "0")

    def _enable_elements(self, folder: Path) -> list[Element]:
        found = {path.name[3:-3]: path for path in sorted(folder.glob("in_*_en"))}
        for name in self.channel_names:
            if name not in found:
                raise SensorError(
                    f"{folder}: no element {name!r}{nearest(name, found)}; "
                    f"it has {', '.join(found) or 'none'}"
                )
        wanted = {*self.channel_names, TIMESTAMP}
        for name, path in found.items():
            write_text(path, "1" if name in wanted else "0")
        if TIMESTAMP in found and (folder.parent / "current_timestamp_clock").exists():
            write_text(folder.parent / "current_timestamp_clock", "realtime")
        return [
            Element(
                name=name,
                index=int(read_number(folder / f"in_{name}_index")),
                type=ScanType.parse(
                    read_text(folder / f"in_{name}_type"), str(folder / f"in_{name}_type")
                ),
            )
            for name in found
            if name in wanted
        ]

    def _settle_rate(self, folder: Path) -> float | None:
        """Set the rate where one is asked for; what the device says of it, or was asked."""
        path: Path | None = folder / "sampling_frequency"
        if path is not None and not path.exists():
            path = attribute(folder, self.channel_names[0], "sampling_frequency")
        asked_hz = self._rate_hz
        if path is None:
            return asked_hz
        if asked_hz is not None:
            write_text(path, f"{asked_hz:g}")
        rate_hz = read_number(path)
        if asked_hz is not None and rate_hz > 0 and not same_rate(rate_hz, asked_hz):
            raise ConfigError(
                f"{self.name}: asked for rate_hz={asked_hz:g} it gives {rate_hz:g}; "
                f"{path.name}_available beside {path} may say what it can"
            )
        return rate_hz if rate_hz > 0 else asked_hz

    def _samples(self, raw: dict[str, npt.NDArray[np.float64]]) -> Block:
        columns = [
            (raw[name] + how.offset) * how.scale
            for name, how in zip(self.channel_names, self._conversions, strict=True)
        ]
        values = np.concatenate(columns, axis=1).astype(np.float32)
        times = self._times_of(raw, len(values))
        return Block(times, values)

    def _times_of(
        self, raw: dict[str, npt.NDArray[np.float64]], count: int
    ) -> npt.NDArray[np.float64]:
        if TIMESTAMP in raw:
            return raw[TIMESTAMP][:, 0] / 1e9
        return self._times.times_s(count)
