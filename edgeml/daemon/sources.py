"""Makes a source of a configuration's [source]: a literal table of drivers, loaded by name."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from typing import Any, Final

from edgeml.daemon.config import REPLAY, DaemonConfig, SourceConfig
from edgeml.daemon.typed import check_types
from edgeml.errors import ConfigError, EdgeMLError, nearest
from edgeml.jsonread import Fields
from edgeml.sensors.mqtt_topic import Subscriber
from edgeml.sensors.sample import Sample
from edgeml.sensors.sensor import Patience, Sensor
from edgeml.sync.connection import Connection

TOPIC: Final = "mqtt"
"""The driver that listens to others, by a line of its own to the broker of [mqtt], or of `url`."""

URL: Final = "url"

DRIVERS: Final[Mapping[str, tuple[str, str]]] = {
    REPLAY: ("edgeml.sensors.replay", "Replay"),
    "camera": ("edgeml.sensors.camera", "Camera"),
    "iio": ("edgeml.sensors.iio_polled", "IioPolled"),
    "iio-buffered": ("edgeml.sensors.iio_buffered", "IioBuffered"),
    "microphone": ("edgeml.sensors.microphone", "Microphone"),
    "mpu6050": ("edgeml.sensors.mpu6050", "Mpu6050"),
    TOPIC: ("edgeml.sensors.mqtt_topic", "MqttTopic"),
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
    "system": "video",
}
"""The group that a service needs to reach the driver's device on Raspberry Pi OS."""

NAMES: Final = "names"
"""The key of the model's names of a sensor's channels, an argument of `Sensor`."""

PATIENCE: Final = tuple(field.name for field in fields(Patience))
"""The keys of how long any sensor may be in trouble."""

_NOT_IN_A_FILE: Final = ("self", "clock", "root", "devices", "nodes", "library", "subscriber")


def open_sources(config: DaemonConfig) -> dict[str, Iterable[Sample]]:
    """Every source that a file describes, by its name; raises as `open_source` does."""
    mqtt = config.mqtt
    client = f"edgeml-{mqtt.fleet if mqtt else 'none'}-{config.device_id}-source"
    return {
        name: open_source(source, mqtt, client + name) for name, source in config.sources.items()
    }


def open_source(
    config: SourceConfig, broker: Connection | None = None, client_id: str = ""
) -> Iterable[Sample]:
    """The source that a configuration describes.

    Args:
        config: the section.
        broker: where a topic is listened to that names no broker of its own.
        client_id: for that line.

    Raises:
        ConfigError: an unknown driver, an argument it does not have (the message names the
            nearest right one), or one of another type.
        SensorError: a recording to be replayed cannot be read.
    """
    driver = driver_of(config)
    options = dict(config.options)
    names = options.pop(NAMES, None)
    times = {key: options.pop(key) for key in PATIENCE if key in options}
    try:
        if config.driver == TOPIC:
            options["subscriber"] = _line(config, options.pop(URL, None), broker, client_id)
        made = driver(**options)
        if config.driver != REPLAY:
            made = Sensor(made, names=names, patience=Patience(**times))
        source: Iterable[Sample] = made
    except (TypeError, ValueError, AttributeError) as exc:
        if isinstance(exc, EdgeMLError):
            raise
        raise ConfigError(f"{config.path}: a value of the wrong type ({exc})") from exc
    return source


def _line(
    config: SourceConfig, url: str | None, broker: Connection | None, client_id: str
) -> Subscriber:
    from edgeml.sync.subscription import Subscriptions  # the only driver with an MQTT client

    if url is not None:
        broker = Connection(url)
    if broker is None:
        raise ConfigError(f"{config.path}.{URL} is missing, and there is no [mqtt] to listen by")
    return Subscriptions(broker, client_id)


def driver_of(config: SourceConfig) -> Callable[..., Any]:
    """The driver that a configuration names, which takes all the keys that stand there.

    Raises:
        ConfigError: an unknown driver, an argument it does not have, or one of another type.
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
    known = {key: parameters[key].annotation for key in arguments}
    if config.driver == REPLAY:
        known["source"] = str
    else:
        known |= {NAMES: Sequence[str], **dict.fromkeys(PATIENCE, float)}
    if config.driver == TOPIC:
        known[URL] = str
    check_types(Fields(config.options, config.path, ConfigError), known)
    for key in arguments:
        if parameters[key].default is inspect.Parameter.empty and key not in config.options:
            raise ConfigError(f"{config.path}.{key} is missing")
