"""The machine itself as a sensor: the one that every device has.

It knows where Linux and the Raspberry Pi's firmware tell how a machine is: the
CPU's temperature, the load, the memory in use, and whether the firmware holds
the clock down.
"""

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError, SensorError, nearest
from edgeml.sensors.driver import NOTHING, Batch
from edgeml.sensors.pace import Stamp, Ticker, checked_rate
from edgeml.sensors.sample import Sample

_THERMAL: Final = "sys/class/thermal"
_CPU_ZONES: Final = ("cpu", "soc", "x86_pkg_temp", "coretemp")
_GET_THROTTLED: Final = "sys/devices/platform/soc/soc:firmware/get_throttled"
_THROTTLED_NOW: Final = 0b1111
"""Under-voltage, frequency capped, throttled, soft temperature limit; bits 16 on are history."""
_VCGENCMD_TIMEOUT_S: Final = 2.0


def cpu_temperature_c(root: Path = Path("/")) -> float:
    """The CPU's temperature in degrees Celsius; the first zone's where none is the CPU's.

    Raises:
        SensorError: the machine does not tell.
    """
    return _number(_cpu_zone(root)) / 1000.0


def thermometer(root: Path = Path("/")) -> Callable[[], float]:
    """`cpu_temperature_c` that looks for the zone once: one short read a call.

    Where the machine tells no temperature, each call raises SensorError.
    """
    try:
        zone = _cpu_zone(root)
    except SensorError:
        return lambda: cpu_temperature_c(root)
    return lambda: _number(zone) / 1000.0


def _cpu_zone(root: Path) -> Path:
    zones = sorted((root / _THERMAL).glob("thermal_zone*"))
    if not zones:
        raise SensorError(f"{root / _THERMAL}: this machine tells no temperature")
    named = {zone: _text(zone / "type").lower() for zone in zones}
    zone = next(
        (zone for zone, kind in named.items() if any(word in kind for word in _CPU_ZONES)), zones[0]
    )
    return zone / "temp"


def load_per_cpu(root: Path = Path("/")) -> float:
    """Processes that run or wait, over the last minute, for each CPU.

    Raises:
        SensorError: the machine does not tell.
    """
    cpus = sum(line.startswith("processor") for line in _text(root / "proc/cpuinfo").splitlines())
    return _parsed(root / "proc/loadavg", lambda text: float(text.split()[0])) / max(cpus, 1)


def memory_used(root: Path = Path("/")) -> float:
    """The share of memory in use, 0 to 1.

    Raises:
        SensorError: the machine does not tell.
    """

    def used(text: str) -> float:
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        kib = {name: float(fields[name].split()[0]) for name in ("MemTotal", "MemAvailable")}
        return 1.0 - kib["MemAvailable"] / kib["MemTotal"]

    return _parsed(root / "proc/meminfo", used)


def throttled(root: Path = Path("/")) -> float:
    """1 while a Raspberry Pi's firmware holds the clock down or sees too little voltage, else 0.

    Raises:
        SensorError: the machine is no Raspberry Pi, or does not tell.
    """
    path = root / _GET_THROTTLED
    text = _text(path) if path.exists() else _vcgencmd(root)
    try:
        return float(bool(int(text.partition("=")[2] or text, 16) & _THROTTLED_NOW))
    except ValueError as exc:
        raise SensorError(f"get_throttled says {text!r}, which is no number") from exc


CHANNELS: Final[Mapping[str, Callable[[Path], float]]] = {
    "cpu_temperature_c": cpu_temperature_c,
    "load_per_cpu": load_per_cpu,
    "memory_used": memory_used,
    "throttled": throttled,
}


def available(root: Path = Path("/")) -> tuple[str, ...]:
    """The channels that this machine has."""
    found = []
    for name, read in CHANNELS.items():
        try:
            read(root)
        except SensorError:
            continue
        found.append(name)
    return tuple(found)


class System:
    """The machine's own state; a driver for `Sensor`.

    Args:
        channels: some of `CHANNELS`, in order; by default all that this machine has.
        rate_hz: how often to read.
        root: where the file system begins.
        clock: the time.

    Raises:
        ConfigError: a channel that is unknown or that this machine has not.
    """

    def __init__(
        self,
        channels: Sequence[str] | None = None,
        *,
        rate_hz: float = 1.0,
        root: Path = Path("/"),
        clock: Clock | None = None,
    ) -> None:
        has = available(root)
        self.channel_names = has if channels is None else tuple(channels)
        for name in self.channel_names:
            if name not in CHANNELS:
                raise ConfigError(f"no channel {name!r}{nearest(name, CHANNELS)}")
            if name not in has:
                raise ConfigError(
                    f"this machine does not tell {name}; it has {', '.join(has) or 'nothing'}"
                )
        if not self.channel_names:
            raise ConfigError("this machine tells nothing of itself: there is no /proc")
        self.name = "this machine"
        self.rate_hz = checked_rate(rate_hz)
        self.period_s = 1.0 / self.rate_hz
        self._root = root
        self._clock: Clock = SystemClock() if clock is None else clock
        self._stamp = Stamp(self._clock)
        self._ticker = Ticker(self.period_s, self._clock)

    def open(self) -> None:
        """Begin the ticks anew."""
        self._ticker = Ticker(self.period_s, self._clock)

    def read(self, timeout_s: float) -> Batch:
        """One reading, when it is due.

        Raises:
            SensorError: a file is not there any more.
        """
        if not self._ticker.wait(timeout_s):
            return NOTHING
        time_s = self._stamp.now_s()
        values = [CHANNELS[name](self._root) for name in self.channel_names]
        return Batch((Sample(time_s, np.array(values, np.float32)),))

    def close(self) -> None:
        """Nothing is held open."""


def _vcgencmd(root: Path) -> str:
    command = shutil.which("vcgencmd") if root == Path("/") else None
    if command is None:
        raise SensorError(f"{root / _GET_THROTTLED}: is not there, and neither is vcgencmd")
    try:
        return subprocess.run(
            [command, "get_throttled"],
            capture_output=True,
            text=True,
            timeout=_VCGENCMD_TIMEOUT_S,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError) as exc:
        raise SensorError(f"vcgencmd get_throttled: {exc}; be in the group video") from exc


def _parsed(path: Path, parse: Callable[[str], float]) -> float:
    text = _text(path)
    try:
        return parse(text)
    except (ValueError, KeyError, IndexError, ZeroDivisionError) as exc:
        raise SensorError(f"{path}: cannot be read as what it is ({exc!r})") from exc


def _number(path: Path) -> float:
    return _parsed(path, float)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError as exc:
        raise SensorError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
