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

The keys of [source] are the driver's own arguments, those of [mqtt] the attributes of
`edgeml.Mqtt`, those of [duty] the attributes of `edgeml.sensors.DutyLimits` and those of
[samples] the attributes of `edgeml.Samples`, [updates] those of `edgeml.Updates`; [limits]
has a channel by name with its [low, high]. Several sources are sections [sources.NAME],
each with its own `model`. A path that is not absolute is relative to the file.

What is wrong in one section does not hide what is wrong in another: all of it is reported.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from edgeml.daemon.models import ModelConfig, read_models
from edgeml.daemon.typed import check_types
from edgeml.daemon.updates import read_updates
from edgeml.errors import ConfigError
from edgeml.jsonread import Fields
from edgeml.ota.settings import Updates
from edgeml.sampling import Samples
from edgeml.sensors.duty import DutyLimits
from edgeml.sync.settings import Mqtt
from edgeml.tomlread import read_toml

REPLAY: Final = "replay"
"""The driver whose source is a file."""

SECRET_KEYS: Final = ("password_file", "ca_file", "cert_file", "key_file")
"""Files that a service of least rights cannot open: systemd hands them over by these names."""

_PATH_KEYS: Final = ("outbox", *SECRET_KEYS)
_NO_OPTIONS: Final = ("driver", "model")
"""Keys of a section [sources.NAME] that are not its driver's."""

_Found = TypeVar("_Found")
_Numbers = TypeVar("_Numbers", DutyLimits, Samples)
"""Sections that are a dataclass of numbers."""


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Which driver, its arguments as the file has them, and where they stand."""

    driver: str
    options: Mapping[str, Any]
    path: str = "config.source"


@dataclass(frozen=True, slots=True)
class DaemonConfig:
    """A device, as its file describes it.

    Attributes:
        device_id: the device's id in the fleet.
        models: what sees each source, by the source's name; "" for the one of [source].
        sources: where samples come from, by the same names.
        on_nan: what a reading that is not finite does.
        limits: the range of a channel, by name.
        on_out_of_range: what a reading beyond its range does.
        duty: when the stride is widened; None for never.
        samples: which windows are delivered themselves; None for none.
        updates: where new models come from; None for never.
        overrun: what happens when a live source outruns the model.
        mqtt: where results go; None keeps them here.
    """

    device_id: str
    models: Mapping[str, tuple[ModelConfig, ...]]
    sources: Mapping[str, SourceConfig]
    on_nan: str
    limits: Mapping[str, tuple[float, float]]
    on_out_of_range: str
    duty: DutyLimits | None
    samples: Samples | None
    updates: Updates | None
    overrun: str
    mqtt: Mqtt | None


def read_config(path: str | os.PathLike[str]) -> DaemonConfig:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read, is not TOML, or a key is wrong; the message
            has the file and the key, and the nearest right one for a typo.
    """
    with naming(path):
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        return parse_config(
            read_toml(path),
            Path(path).absolute().parent,
            Path(credentials) if credentials else None,
        )


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let a ConfigError begin with the file that the wrong thing stands in."""
    where = os.fspath(path)
    try:
        yield
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
    wrong: list[str] = []

    def section(name: str, read: Callable[[Fields], _Found]) -> _Found | None:
        """What a section says; None where it is not there, or wrong, which is noted."""
        with _Noted(wrong):
            found = top.optional_child(name)
            return None if found is None else read(found)
        return None

    device: Fields | None = None
    models: dict[str, tuple[ModelConfig, ...]] = {}
    sources: dict[str, SourceConfig] = {}
    with _Noted(wrong):
        device = top.child("device")
        device.text("id")
    with _Noted(wrong):
        if device is not None and "sources" not in raw:
            models[""] = read_models(device, folder)
    with _Noted(wrong):
        if "sources" in raw:
            _several(top.child("sources"), folder, models, sources, wrong)
        else:
            sources[""] = _only_source(top.child("source"), folder)
    limits = section("limits", _limits)
    duty = section("duty", lambda found: _numbers(found, DutyLimits, ("widest",)))
    samples = section("samples", lambda found: _numbers(found, Samples, ("one_in", "per_hour")))
    updates = section("updates", lambda found: read_updates(found, folder))
    mqtt = section("mqtt", lambda found: _mqtt(found, folder, credentials))
    if "mqtt" not in raw:
        if samples is not None:
            wrong.append("config.samples: they go home by [mqtt], which is missing")
        if updates is not None and not (updates.http or updates.folder):
            wrong.append("config.updates: name where they come from: [mqtt], http or folder")
    with _Noted(wrong):
        top.finish()
    policies: dict[str, str] = {}
    for key, default in _POLICIES.items():
        with _Noted(wrong):
            policies[key] = default if device is None else device.text(key, default=default)
    with _Noted(wrong):
        if device is not None:
            device.finish()
    if wrong or device is None:
        raise ConfigError(wrong[0] if len(wrong) == 1 else "\n  ".join([_MANY, *wrong]))
    return DaemonConfig(
        device_id=device.text("id"),
        models=models,
        sources=sources,
        limits=limits or {},
        duty=duty,
        samples=samples,
        updates=updates,
        mqtt=mqtt,
        **policies,
    )


_POLICIES: Final = {
    "on_nan": "restart",
    "on_out_of_range": "restart",
    "overrun": "drop_oldest",
}
_MANY: Final = "several things are wrong:"


class _Noted:
    """Notes what is wrong in the block, so that the rest is looked at too."""

    def __init__(self, wrong: list[str]) -> None:
        self._wrong = wrong

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, ConfigError):
            return False
        self._wrong.append(str(error))
        return True


def _several(
    section: Fields,
    folder: Path,
    models: dict[str, tuple[ModelConfig, ...]],
    sources: dict[str, SourceConfig],
    wrong: list[str],
) -> None:
    """The sections [sources.NAME], each with its models."""
    if not section.raw:
        raise ConfigError(f"{section.path} is empty; a device has one source at least")
    for name in section.raw:
        with _Noted(wrong):
            one = section.child(name)
            models[name] = read_models(one, folder)
            sources[name] = _source(one, folder)


def _only_source(section: Fields, folder: Path) -> SourceConfig:
    if "model" in section.raw:
        raise ConfigError(f"{section.path}.model: with one [source] it stands in [device]")
    return _source(section, folder)


def _source(section: Fields, folder: Path) -> SourceConfig:
    driver = section.text("driver")
    options = {key: value for key, value in section.raw.items() if key not in _NO_OPTIONS}
    if driver == REPLAY and isinstance(options.get("source"), str):
        options["source"] = str(folder / options["source"])
    return SourceConfig(driver, options, section.path)


def _limits(section: Fields) -> dict[str, tuple[float, float]]:
    found = {}
    for channel in section.raw:
        pair = section.numbers(channel)
        if len(pair) != 2:
            raise ConfigError(f"{section.path}.{channel} is {list(pair)}; it should be [low, high]")
        found[channel] = (pair[0], pair[1])
    return found


def _numbers(section: Fields, kind: type[_Numbers], whole: Sequence[str]) -> _Numbers:
    """A dataclass of numbers; those in `whole` are integers."""
    values: dict[str, Any] = {}
    for name in [field.name for field in fields(kind)]:
        if name in section.raw:
            values[name] = (section.integer if name in whole else section.number)(name)
        else:
            section.value(name)  # so that a typo is told the nearest right one
    section.finish()
    try:
        return kind(**values)
    except ConfigError as exc:
        raise ConfigError(f"{section.path}: {exc}") from exc


def _mqtt(section: Fields, folder: Path, credentials: Path | None) -> Mqtt:
    if "password" in section.raw:
        raise ConfigError(
            f"{section.path}.password: a secret does not belong into this file; "
            "use password_file or password_env"
        )
    check_types(section, {field.name: field.type for field in fields(Mqtt)})
    section.text("url")
    options: dict[str, Any] = {
        key: str(folder / value) if key in _PATH_KEYS and isinstance(value, str) else value
        for key, value in section.raw.items()
    }
    if credentials is not None:
        for key in SECRET_KEYS:
            if key in options and (credentials / key).exists():
                options[key] = str(credentials / key)
    return Mqtt(**options)
