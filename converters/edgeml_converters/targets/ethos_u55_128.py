"""Arm Ethos-U55 with 128 multipliers, beside a Cortex-M."""

from typing import Final

from edgeml_converters.targets.target import EthosU, Target

TARGET: Final = Target(
    "ethos-u55-128",
    "Arm Ethos-U55-128",
    ("int8", "int16x8"),
    EthosU("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram"),
    elsewhere="on the CPU beside it",
)
