"""Raspberry Pi 3, 64-bit: four Cortex-A53, LiteRT."""

from typing import Final

from edgeml_converters.targets.target import ON_CPU, ArmCore, Target

TARGET: Final = Target(
    "pi3", "Raspberry Pi 3", (*ON_CPU, "int4"), ArmCore("arm64", "pi3", "Cortex-A53")
)
