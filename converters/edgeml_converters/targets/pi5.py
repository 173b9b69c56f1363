"""Raspberry Pi 5: four Cortex-A76, whose dot product instructions int8 kernels use."""

from typing import Final

from edgeml_converters.targets.target import ON_CPU, ArmCore, Target

TARGET: Final = Target(
    "pi5", "Raspberry Pi 5", (*ON_CPU, "int4"), ArmCore("arm64", "pi5", "Cortex-A76")
)
