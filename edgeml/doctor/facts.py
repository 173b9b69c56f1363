"""The facts about a machine that the checks judge, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a machine.

    Attributes:
        python: version of the running interpreter.
        python_command: how it was started.
        externally_managed: pip refuses this environment (PEP 668).
        machine: as `uname -m` says.
        pointer_bits: of this Python: 32 on a 64-bit kernel is a trap.
        board: the board's name, from the device tree; empty elsewhere.
        interpreters: installed ones and their versions.
        interpreter_errors: the last line of those that cannot be imported.
        numpy: its version, None where it is missing.
        missing_packages: of those that every device needs.
        clock_synchronised: None where nobody knows.
        broker: its URL, as it was asked for or as a device's file has it; None for none.
        broker_error: why no session with it came about.
        models: files that a device's file names, and why each could not serve; "" where it could.
        updates: what a device's file says where updates come from, and what is offered there;
            None where no file was given, or it takes none.
        updates_error: why nothing is believed of what is published there.
        missing_groups: group to the devices it opens, where such devices exist.
    """

    python: tuple[int, ...]
    python_command: str
    externally_managed: bool
    machine: str
    system: str
    pointer_bits: int
    board: str
    interpreters: Mapping[str, str]
    interpreter_errors: Mapping[str, str]
    numpy: tuple[int, ...] | None
    missing_packages: tuple[str, ...]
    state_folder: str
    state_writable: bool
    free_mb: int
    year: int
    clock_synchronised: bool | None
    missing_groups: Mapping[str, str] = field(default_factory=dict)
    broker: str | None = None
    broker_error: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    updates: str | None = None
    updates_error: str = ""
