"""What a target is: the schemes and operators it takes, and what can say what a model costs there.

One small file for each target holds one of these; nothing here runs anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from edgeml.runtime.graph import BUILTIN_OPERATORS

_NOT_OPERATORS: Final = {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"}
BUILTINS: Final = frozenset(BUILTIN_OPERATORS) - _NOT_OPERATORS
"""What LiteRT runs on a CPU without anything beside it."""


@dataclass(frozen=True, slots=True)
class ArmCore:
    """Instructions counted on an emulated core.

    Attributes:
        machine: of the ARM lab: "arm64" or "armhf".
        core: of that machine, "pi4" for example.
        stands_for: the processor core, as a person knows it.
    """

    machine: str
    core: str
    stands_for: str


@dataclass(frozen=True, slots=True)
class EthosU:
    """Arm's compiler Vela says what runs on the accelerator and for how long.

    Attributes:
        accelerator: Vela's name for it.
        system: its system configuration in Vela's own Arm/vela.ini.
        memory: its memory mode there.
    """

    accelerator: str
    system: str
    memory: str


@dataclass(frozen=True, slots=True)
class EdgeTpu:
    """The compiler is closed: only its published rules can be applied here.

    Attributes:
        parameter_bytes: of on-chip memory that weights may take before they are streamed.
    """

    parameter_bytes: int


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of machine that models are made for.

    Attributes:
        name: on the command line and in the manifest.
        title: what a person calls it.
        schemes: those that run there; `auto` tries no others.
        operators: those that run there.
        elsewhere: what becomes of other operators: "" where the file is refused, else
            where they run instead, which a warning then says.
        cost: what says what a model costs there.
        note: what to know of the estimate; "" for nothing.
    """

    name: str
    title: str
    schemes: tuple[str, ...]
    cost: ArmCore | EthosU | EdgeTpu
    operators: frozenset[str] = BUILTINS
    elsewhere: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a model costs on a target, and who says so.

    Attributes:
        target: its name.
        source: what the figures come from, with its version; where there are none, "none: "
            and why.
        figures: by name, with the unit in it; empty where nothing could be said.
        remarks: what else to know.
        command: what to run for more than is known here; "" for nothing.
    """

    target: str
    source: str
    figures: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    command: str = ""

    @property
    def why_none(self) -> str:
        """Why there are no figures, where there are none."""
        return self.source.removeprefix("none: ")


ON_CPU: Final = ("float32", "float16", "dynamic", "int8", "int16x8", "mixed")
"""What every interpreter of a device runs on its CPU."""
