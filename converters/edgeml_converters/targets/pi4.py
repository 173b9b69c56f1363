"""Raspberry Pi 4, 64-bit: four Cortex-A72, LiteRT."""

from typing import Final

from edgeml_converters.targets.target import ON_CPU, ArmCore, Target

TARGET: Final = Target(
    "pi4", "Raspberry Pi 4", (*ON_CPU, "int4"), ArmCore("arm64", "pi4", "Cortex-A72")
)
