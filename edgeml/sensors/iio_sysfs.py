"""Finds an IIO device in sysfs and reads its attributes: names, scales, offsets."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeml.errors import SensorError, nearest

DEVICES: Final = Path("/sys/bus/iio/devices")

_DIGITS: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Conversion:
    """From a raw number to the unit of the IIO ABI: (raw + offset) · scale."""

    offset: float
    scale: float


def find_device(name: str, devices: Path = DEVICES) -> Path:
    """The folder of a device, by the name of its chip or its own (`iio:device0`).

    Raises:
        SensorError: there is none; the message names those that there are.
    """
    known: dict[str, Path] = {}
    for folder in sorted(devices.glob("iio:device*")):
        known.setdefault(read_text(folder / "name", default=folder.name), folder)
    direct = devices / name
    if name.startswith("iio:device") and direct.is_dir():
        return direct
    if name not in known:
        raise SensorError(
            f"no IIO device {name!r} in {devices}: there is {', '.join(known) or 'none'}"
            f"{nearest(name, known)}; is its driver loaded and its overlay in config.txt?"
        )
    return known[name]


def read_text(path: Path, default: str | None = None) -> str:
    """An attribute, stripped.

    Raises:
        SensorError: it cannot be read, and there is no default for one that is not there.
    """
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError as exc:
        if default is not None:
            return default
        raise SensorError(f"{path}: is not there; was the sensor unplugged?") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise SensorError(f"{path}: cannot be read ({exc})") from exc


def read_number(path: Path) -> float:
    """An attribute that is a number.

    Raises:
        SensorError: it cannot be read, or is none.
    """
    text = read_text(path)
    try:
        return float(text)
    except ValueError as exc:
        raise SensorError(f"{path}: {text!r} is not a number") from exc


def write_text(path: Path, value: str) -> None:
    """Set an attribute.

    Raises:
        SensorError: it cannot be set.
    """
    try:
        path.write_text(value, encoding="ascii")
    except OSError as exc:
        raise SensorError(
            f"{path}: cannot be set to {value!r} ({exc.strerror or exc}); a user needs a udev rule "
            "for it, docs/sensors.md has one"
        ) from exc


def conversion(folder: Path, channel: str) -> Conversion:
    """How a channel's raw numbers become its unit; attributes may be shared by its type.

    Raises:
        SensorError: an attribute is there and cannot be read.
    """
    return Conversion(
        offset=_shared(folder, channel, "offset", 0.0), scale=_shared(folder, channel, "scale", 1.0)
    )


def attribute(folder: Path, channel: str, name: str) -> Path | None:
    """The file of a channel's attribute: its own, or that of its type (`in_accel_scale`)."""
    without_digits = _DIGITS.sub("", channel)
    kind = without_digits.split("_")[0]
    for stem in (channel, without_digits, kind, kind.split("-")[0]):
        path = folder / f"in_{stem}_{name}"
        if path.exists():
            return path
    return None


def channels(folder: Path) -> tuple[str, ...]:
    """The channels that can be polled, in alphabetical order."""
    return tuple(
        sorted(
            {
                path.name.removeprefix("in_").rsplit("_", 1)[0]
                for pattern in ("in_*_raw", "in_*_input")
                for path in folder.glob(pattern)
            }
        )
    )


def _shared(folder: Path, channel: str, name: str, default: float) -> float:
    path = attribute(folder, channel, name)
    return default if path is None else read_number(path)
