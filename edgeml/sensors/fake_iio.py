"""A sysfs tree of one IIO device, as the kernel's ABI lays it out, and its character device."""

import contextlib
import os
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ACCEL: Final = ("accel_x", "accel_y", "accel_z")
TEMP: Final = "temp"


class FakeIio:
    """An accelerometer of 12 bits left-aligned in 16, with a temperature and timestamps.

    Pass its `devices` and `nodes` to `IioPolled` and `IioBuffered`.

    Args:
        root: an empty folder to build it in.
        channels: the scan elements besides the time, in their order.
    """

    def __init__(self, root: Path, channels: Sequence[str] = (*ACCEL, TEMP)) -> None:
        self.devices = root / "devices"
        self.nodes = root / "dev"
        self.folder = self.devices / "iio:device0"
        self._write("name", "bma180")
        for axis in "xyz":
            self._write(f"in_accel_{axis}_raw", "0")
        self._write("in_accel_scale", "0.5")
        self._write("in_temp_raw", "100")
        self._write("in_temp_offset", "-20")
        self._write("in_temp_scale", "250")
        self._write("in_pressure_input", "101.325")
        self._write("sampling_frequency", "100")
        self._write("current_timestamp_clock", "monotonic")
        self._write("buffer/enable", "0")
        self._write("buffer/length", "2")
        self._write("buffer/watermark", "1")
        for index, name in enumerate(channels):
            self._element(name, index, "le:s12/16>>4")
        self._element("timestamp", len(channels), "le:s64/64>>0")
        self.nodes.mkdir()
        os.mkfifo(self.nodes / "iio:device0")
        # Held open for both, so that the reader never meets an end before it is unplugged.
        self._node = os.open(self.nodes / "iio:device0", os.O_RDWR | os.O_NONBLOCK)

    def set(self, name: str, value: object) -> None:
        """Set an attribute, as the chip would."""
        self._write(name, str(value))

    def get(self, name: str) -> str:
        """An attribute as it was left."""
        return (self.folder / name).read_text().strip()

    def record(self, accel: tuple[int, int, int], time_ns: int) -> None:
        """One record: three of 16 bits, two bytes of padding, and the time."""
        self.write_raw(struct.pack("<3h2xq", *(a << 4 for a in accel), time_ns))

    def write_raw(self, data: bytes) -> None:
        """Bytes into the buffer, as they are."""
        with contextlib.suppress(BlockingIOError):  # full: the kernel drops what is new, too
            os.write(self._node, data)

    def unplug(self) -> None:
        """The device goes, its attributes with it."""
        if self._node >= 0:
            os.close(self._node)
            self._node = -1
        shutil.rmtree(self.devices, ignore_errors=True)

    def _element(self, name: str, index: int, kind: str) -> None:
        self._write(f"scan_elements/in_{name}_en", "1")
        self._write(f"scan_elements/in_{name}_index", str(index))
        self._write(f"scan_elements/in_{name}_type", kind)

    def _write(self, name: str, value: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")
