"""Makes a source of a configuration's [source]: a literal table of drivers, loaded by name."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Final

from edgeml.daemon.config import REPLAY, SourceConfig
from edgeml.errors import ConfigError, EdgeMLError, nearest
from edgeml.sensors.sample import Sample
from edgeml.sensors.sensor import Sensor

DRIVERS: Final[Mapping[str, tuple[str, str]]] = {
    REPLAY: ("edgeml.sensors.replay", "Replay"),
    "camera": ("edgeml.sensors.camera", "Camera"),
    "iio": ("edgeml.sensors.iio_polled", "IioPolled"),
    "iio-buffered": ("edgeml.sensors.iio_buffered", "IioBuffered"),
    "microphone": ("edgeml.sensors.microphone", "Microphone"),
    "mpu6050": ("edgeml.sensors.mpu6050", "Mpu6050"),
    "serial": ("edgeml.sensors.serial_lines", "SerialLines"),
    "system": ("edgeml.sensors.system", "System"),
}
"""Name in the file, to module and class; the class's arguments are the section's keys."""

GROUPS: Final[Mapping[str, str]] = {
    "camera": "video",
    "iio": "iio",
    "iio-buffered": "iio",
    "microphone": "audio",
    "mpu6050": "i2c",
    "serial": "dialout",
}
"""The group that a service needs to reach the driver's device on Raspberry Pi OS."""

NAMES: Final = "names"
"""The key of the model's names of a sensor's channels, an argument of `Sensor`."""

_NOT_IN_A_FILE: Final = ("self", "clock", "root", "devices", "nodes", "library")


def open_source(config: SourceConfig) -> Iterable[Sample]:
    """The source that a configuration describes.

    Raises:
        ConfigError: an unknown driver, or an argument it does not have; the message
            names the nearest right one.
        SensorError: a recording to be replayed cannot be read.
    """
    driver = driver_of(config)
    options = dict(config.options)
    names = options.pop(NAMES, None)
    try:
        made = driver(**options)
        return made if config.driver == REPLAY else Sensor(made, names=names)
    except (TypeError, ValueError) as exc:
        if isinstance(exc, EdgeMLError):
            raise
        raise ConfigError(f"{config.path}: a value of the wrong type ({exc})") from exc


def driver_of(config: SourceConfig) -> Callable[..., Any]:
    """The driver that a configuration names, which takes all the keys that stand there.

    Raises:
        ConfigError: an unknown driver, or an argument it does not have.
    """
    if config.driver not in DRIVERS:
        raise ConfigError(
            f"{config.path}.driver: {config.driver!r} is none of {', '.join(DRIVERS)}"
            f"{nearest(config.driver, DRIVERS)}"
        )
    module, name = DRIVERS[config.driver]
    driver: Callable[..., Any] = getattr(import_module(module), name)
    _check(config, inspect.signature(driver).parameters)
    return driver


def _check(config: SourceConfig, parameters: Mapping[str, inspect.Parameter]) -> None:
    arguments = [key for key in parameters if key not in _NOT_IN_A_FILE]
    known = arguments if config.driver == REPLAY else [*arguments, NAMES]
    for key in config.options:
        if key not in known:
            raise ConfigError(f"{config.path}.{key} is not a known key{nearest(key, known)}")
    for key in arguments:
        if parameters[key].default is inspect.Parameter.empty and key not in config.options:
            raise ConfigError(f"{config.path}.{key} is missing")
