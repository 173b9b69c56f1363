"""The daemon's configuration file: every key, its type, and what is wrong with it.

    [device]
    id = "pump-7"
    model = "activity.tflite"

    [source]
    driver = "serial"
    port = "/dev/ttyUSB0"

    [mqtt]
    url = "mqtts://broker.local"
    fleet = "plant-a"

The keys of [source] are the driver's own arguments and those of [mqtt] are the
attributes of `edgeml.Mqtt`. A path that is not absolute is relative to the file.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from edgeml.errors import ConfigError, nearest
from edgeml.jsonread import Fields
from edgeml.sync.settings import Mqtt
from edgeml.tomlread import read_toml

REPLAY: Final = "replay"
"""The driver whose source is a file."""

SECRET_KEYS: Final = ("password_file", "ca_file", "cert_file", "key_file")
"""Files that a service of least rights cannot open: systemd hands them over by these names."""

_PATH_KEYS: Final = ("outbox", *SECRET_KEYS)


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Which driver, and its arguments as the file has them."""

    driver: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DaemonConfig:
    """A device, as its file describes it.

    Attributes:
        device_id: the device's id in the fleet.
        model: the bundle's file.
        source: where samples come from.
        on_nan: what a reading that is not finite does.
        overrun: what happens when a live source outruns the model.
        mqtt: where results go; None keeps them here.
    """

    device_id: str
    model: Path
    source: SourceConfig
    on_nan: str
    overrun: str
    mqtt: Mqtt | None


def read_config(path: str | os.PathLike[str]) -> DaemonConfig:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read, is not TOML, or a key is wrong; the message
            has the file and the key, and the nearest right one for a typo.
    """
    where = os.fspath(path)
    try:
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        return parse_config(
            read_toml(path),
            Path(path).absolute().parent,
            Path(credentials) if credentials else None,
        )
    except ConfigError as exc:
        raise exc if str(exc).startswith(where) else ConfigError(f"{where}: {exc}") from exc


def parse_config(
    raw: Mapping[str, Any], folder: Path, credentials: Path | None = None
) -> DaemonConfig:
    """Make a configuration of parsed TOML.

    Args:
        raw: the file's table.
        folder: what relative paths are relative to.
        credentials: where systemd put the secrets that the unit names, by their keys.

    Raises:
        ConfigError: a key or a value is wrong.
    """
    top = Fields(raw, "config", ConfigError)
    device, source, mqtt = top.child("device"), top.child("source"), top.optional_child("mqtt")
    top.finish()
    config = DaemonConfig(
        device_id=device.text("id"),
        model=folder / device.text("model"),
        on_nan=device.text("on_nan", default="restart"),
        overrun=device.text("overrun", default="drop_oldest"),
        source=_source(source, folder),
        mqtt=None if mqtt is None else _mqtt(mqtt, folder, credentials),
    )
    device.finish()
    return config


def _source(section: Fields, folder: Path) -> SourceConfig:
    driver = section.text("driver")
    options = {key: value for key, value in section.raw.items() if key != "driver"}
    if driver == REPLAY and isinstance(options.get("source"), str):
        options["source"] = str(folder / options["source"])
    return SourceConfig(driver, options)


def _mqtt(section: Fields, folder: Path, credentials: Path | None) -> Mqtt:
    known = [field.name for field in fields(Mqtt)]
    for key in section.raw:
        if key == "password":
            raise ConfigError(
                f"{section.path}.password: a secret does not belong into this file; "
                "use password_file or password_env"
            )
        if key not in known:
            raise ConfigError(f"{section.path}.{key} is not a known key{nearest(key, known)}")
    section.text("url")
    options: dict[str, Any] = {
        key: str(folder / value) if key in _PATH_KEYS and isinstance(value, str) else value
        for key, value in section.raw.items()
    }
    if credentials is not None:
        for key in SECRET_KEYS:
            if key in options and (credentials / key).exists():
                options[key] = str(credentials / key)
    try:
        return Mqtt(**options)
    except TypeError as exc:
        raise ConfigError(f"{section.path}: {exc}") from exc
