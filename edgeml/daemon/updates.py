"""The section [updates]: the attributes of `edgeml.Updates`, and [updates.probation] its limits.

Every key is looked at, so that all that is wrong with the section is said at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from edgeml.errors import ConfigError
from edgeml.jsonread import Fields
from edgeml.ota.probation import Limits
from edgeml.ota.settings import Updates

_PATHS: Final = ("root", "folder", "state")


def read_updates(section: Fields, folder: Path) -> Updates:
    """The policy that a section describes.

    Args:
        section: `[updates]`.
        folder: what relative paths are relative to.

    Raises:
        ConfigError: what is wrong with it, a line for each key.
    """
    wrong: list[str] = []
    values = _values(section, _KINDS, wrong)
    trial = section.optional_child("probation")
    if trial is not None:
        limits = _values(trial, _LIMITS, wrong)
        values["probation"] = Limits(**limits)
        _finish(trial, wrong)
    _finish(section, wrong)
    if "root" not in section.raw:
        wrong.append(f"{section.path}.root is missing: the publisher's metadata/1.root.json")
    if wrong:
        raise ConfigError("\n  ".join(wrong))
    for key in _PATHS:
        if key in values:
            values[key] = folder / values[key]
    try:
        return Updates(**values)
    except ConfigError as exc:
        raise ConfigError(f"{section.path}: {exc}") from exc


def _hours(section: Fields, key: str) -> tuple[int, int]:
    pair = section.integers(key)
    if len(pair) != 2 or not all(0 <= hour <= 24 for hour in pair):
        raise ConfigError(f"{section.path}.{key} is {list(pair)}; it should be two hours: [2, 5]")
    return pair[0], pair[1]


_Read = Callable[[Fields, str], Any]

_KINDS: Final[Mapping[str, _Read]] = {
    "root": Fields.text,
    "http": Fields.text,
    "folder": Fields.text,
    "policy": Fields.text,
    "hours": _hours,
    "group": Fields.text,
    "check_interval_s": Fields.number,
    "slower": Fields.number,
    "larger": Fields.number,
    "shadow_windows": Fields.integer,
    "shadow_agreement": Fields.number,
    "max_bytes_per_s": Fields.number,
    "state": Fields.text,
}

_WHOLE: Final = ("windows", "starts", "least")
_LIMITS: Final[Mapping[str, _Read]] = {
    one.name: Fields.integer if one.name in _WHOLE else Fields.number for one in fields(Limits)
}


def _values(section: Fields, kinds: Mapping[str, _Read], wrong: list[str]) -> dict[str, Any]:
    found = {}
    for key, read in kinds.items():
        if key not in section.raw:
            section.value(key)  # so that a typo is told the nearest right one
            continue
        try:
            found[key] = read(section, key)
        except ConfigError as exc:
            wrong.append(str(exc))
    return found


def _finish(section: Fields, wrong: list[str]) -> None:
    try:
        section.finish()
    except ConfigError as exc:
        wrong.append(str(exc))
