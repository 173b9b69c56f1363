"""What one inference of a model costs on a core: the difference of two exact counts."""

from pathlib import Path
from typing import Final

from armlab.emulate import count_instructions
from armlab.machines import Machine

_GUEST: Final = Path(__file__).resolve().parents[1] / "guest" / "infer.py"
_FIRST: Final = (1, 6)
_MORE: Final = (100, 500)
_SMALL: Final = 5_000_000
"""Of a model below, more runs are counted: what the allocator does now and then must not show."""


def cost_of_inference(machine: Machine, core: str, model: Path) -> int:
    """The ARM instructions of one inference on zeros, one thread, rounded.

    Raises:
        LabError: the interpreter refused the model, or the emulator could not count.
    """
    rough = _difference(machine, core, model, *_FIRST)
    return rough if rough >= _SMALL else _difference(machine, core, model, *_MORE)


def _difference(machine: Machine, core: str, model: Path, few: int, many: int) -> int:
    """What the first inference prepares for the later ones is in both counts."""
    counts = [
        count_instructions(machine, core, [str(_GUEST), str(runs), str(model.resolve())])
        for runs in (few, many)
    ]
    return round((counts[1] - counts[0]) / (many - few))
