"""Any 64-bit ARM with LiteRT, counted on a core without dot product instructions."""

from typing import Final

from edgeml_converters.targets.target import ON_CPU, ArmCore, Target

TARGET: Final = Target(
    "cpu-arm64", "64-bit ARM", (*ON_CPU, "int4"), ArmCore("arm64", "pi4", "Cortex-A72")
)
