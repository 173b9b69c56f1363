"""A serial line: a microcontroller that prints one reading a line, as CSV or JSON.

At a steady rate a line that cannot be read stands for a reading that is missing, so it takes
its time: the gap shows. What a board says besides begins with `#`, and stands for nothing.
"""

from collections.abc import Sequence
from typing import Any, Final

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError, SensorError, nearest
from edgeml.sensors.driver import NOTHING, Batch
from edgeml.sensors.lines import CsvReading, JsonReading, LineSplitter, attempt
from edgeml.sensors.needs import needed
from edgeml.sensors.pace import BlockStamp, Stamp, checked_rate
from edgeml.sensors.sample import Sample

FORMATS: Final = ("csv", "json")
_MOST_BYTES: Final = 65536


class SerialLines:
    """Lines from a serial port; a driver for `Sensor`.

    Args:
        port: `/dev/ttyACM0`, `/dev/serial/by-id/…`, or a URL of pyserial's such as
            `socket://host:port`.
        channels: the channels' names; for CSV one for each field, in order.
        baud: bits a second; USB boards ignore it.
        format: `csv`, or `json` with one object a line.
        paths: for JSON, where in the object each channel is (`imu.accel[0]`); its name by
            default.
        rate_hz: lines a second, where the sender keeps a steady rate and its times are to be
            smoothed; it stands for `every_s` too.
        every_s: how often a line should come; None where silence means nothing.
        clock: the time.

    Raises:
        ConfigError: an argument that cannot work.
    """

    def __init__(
        self,
        port: str,
        channels: Sequence[str],
        *,
        baud: int = 115200,
        format: str = "csv",  # noqa: A002  what everybody calls it
        paths: Sequence[str] | None = None,
        rate_hz: float | None = None,
        every_s: float | None = 1.0,
        clock: Clock | None = None,
    ) -> None:
        if format not in FORMATS:
            raise ConfigError(
                f"format={format!r} is none of {', '.join(FORMATS)}{nearest(format, FORMATS)}"
            )
        if not channels or (paths is not None and len(paths) != len(channels)):
            raise ConfigError("channels names each channel, and paths says where each one is")
        self.name = f"serial line {port}"
        self.channel_names = tuple(channels)
        if every_s is not None and not every_s > 0:
            raise ConfigError(f"every_s={every_s}: a time above 0, or None")
        self.period_s = every_s if rate_hz is None else 1.0 / checked_rate(rate_hz)
        self.rate_hz = rate_hz
        self._port = port
        self._baud = baud
        self._read_line = (
            CsvReading(len(channels)) if format == "csv" else JsonReading(paths or channels)
        )
        self._stamp = Stamp(SystemClock() if clock is None else clock)
        self._times = BlockStamp(rate_hz or 1.0, self._stamp)
        self._splitter = LineSplitter()
        self._line: Any = None

    def open(self) -> None:
        """Open the port.

        Raises:
            SensorError: it is not there, is in use, or may not be opened.
            MissingDependencyError: pyserial is not installed.
        """
        serial = needed("serial", "a serial line")
        try:
            self._line = serial.serial_for_url(self._port, self._baud, timeout=0)
        except (OSError, ValueError) as exc:
            raise SensorError(
                f"{self.name}: {exc}; see which ports there are: ls /dev/serial/by-id; "
                "and be in their group: sudo usermod -aG dialout $USER"
            ) from exc
        self._splitter = LineSplitter()
        self._times = BlockStamp(self.rate_hz or 1.0, self._stamp)

    def read(self, timeout_s: float) -> Batch:
        """The lines that have come.

        Raises:
            SensorError: the port went away.
        """
        try:
            self._line.timeout = timeout_s
            data = self._line.read(1)
            if not data:
                return NOTHING
            self._line.timeout = 0
            data += self._line.read(_MOST_BYTES)
        except (OSError, TypeError) as exc:
            # TypeError: pyserial's answer to a port that was closed beneath it.
            raise SensorError(f"{self.name}: went away ({exc})") from exc
        return self._batch(data)

    def close(self) -> None:
        """Close the port."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def _batch(self, data: bytes) -> Batch:
        lines, malformed = self._splitter.push(data)
        complaint = f"{self.name}: a line without end; is the baud rate right?" * bool(malformed)
        if malformed:
            self._times.restart()
        lines = [line for line in lines if not line.startswith(b"#")]
        readings = []
        for i, line in enumerate(lines):
            values = attempt(self._read_line, line)
            if isinstance(values, ValueError):
                malformed += 1
                complaint = f"{self.name}: {values}"
            else:
                readings.append((i, values))
        if self.rate_hz is None:
            # One line is a reading of now; several at once came late, and share the moment.
            times = [self._stamp.now_s() + i * 1e-6 for i in range(len(lines))]
        else:
            times = self._times.times_s(len(lines)).tolist() if lines else []
        samples = [Sample(times[i], values) for i, values in readings]
        return Batch(samples, malformed, 0, complaint)
