"""NVIDIA Jetson, JetPack 6 or 7, on its CPU: TFLite has no delegate for its GPU."""

from typing import Final

from edgeml_converters.targets.target import ON_CPU, ArmCore, Target

TARGET: Final = Target(
    "jetson",
    "NVIDIA Jetson (CPU)",
    (*ON_CPU, "int4"),
    ArmCore("arm64", "pi5", "Cortex-A76"),
    note="an Orin's Cortex-A78AE has the instructions of the Cortex-A76 that is counted on; "
    "TFLite does not use the GPU",
)
