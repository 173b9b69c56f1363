"""Arm Ethos-U65 with 256 multipliers, beside a Cortex-A or a Cortex-M."""

from typing import Final

from edgeml_converters.targets.target import EthosU, Target

TARGET: Final = Target(
    "ethos-u65-256",
    "Arm Ethos-U65-256",
    ("int8", "int16x8"),
    EthosU("ethos-u65-256", "Ethos_U65_High_End", "Dedicated_Sram"),
    elsewhere="on the CPU beside it",
)
