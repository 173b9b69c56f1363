"""Raspberry Pi Zero 2 W, 64-bit: the cores of a Pi 3 with 512 MB of memory."""

from typing import Final

from edgeml_converters.targets.target import ON_CPU, ArmCore, Target

TARGET: Final = Target(
    "zero2w",
    "Raspberry Pi Zero 2 W",
    (*ON_CPU, "int4"),
    ArmCore("arm64", "pi3", "Cortex-A53"),
    note="the board has 512 MB of memory for everything",
)
