"""The machines that models are made for, one file each: what runs there, and what it costs."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from edgeml.errors import ConfigError, nearest
from edgeml_converters.targets import (
    cpu_arm64,
    cpu_armv7,
    edgetpu,
    ethos_u55_128,
    ethos_u65_256,
    jetson,
    pi3,
    pi4,
    pi5,
    zero2w,
)
from edgeml_converters.targets.estimates import estimate
from edgeml_converters.targets.target import Estimate, Target

TARGETS: Final[Mapping[str, Target]] = MappingProxyType(
    {
        module.TARGET.name: module.TARGET
        for module in (
            *(pi3, pi4, pi5, zero2w, jetson, cpu_arm64, cpu_armv7),
            *(edgetpu, ethos_u55_128, ethos_u65_256),
        )
    }
)


def find_target(name: str) -> Target:
    """A target by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in TARGETS:
        known = ", ".join(TARGETS)
        raise ConfigError(f"target {name!r} is none of {known}{nearest(name, TARGETS)}")
    return TARGETS[name]


__all__ = ["TARGETS", "Estimate", "Target", "estimate", "find_target"]
