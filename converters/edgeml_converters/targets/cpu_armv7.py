"""Any 32-bit ARM with tflite-runtime 2.14, which knows no int4 weights and no StableHLO."""

from typing import Final

from edgeml_converters.targets.target import BUILTINS, ON_CPU, ArmCore, Target

TARGET: Final = Target(
    "cpu-armv7",
    "32-bit ARM",
    ON_CPU,
    ArmCore("armhf", "pi4", "32-bit core with NEON and VFPv4"),
    operators=frozenset(name for name in BUILTINS if not name.startswith("STABLEHLO_")),
)
