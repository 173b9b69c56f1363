"""Raspberry Pis on an x86-64 workstation: the room's one door.

`prepare` builds an emulated machine, `python` is the path of its interpreter
(an ordinary executable: `subprocess.run([python(machine), "-c", ...])`), and
`count_instructions` measures a program on one of its cores without noise;
`cost_of_inference` does so for one run of a model.
"""

from armlab.build import install_wheel, prepare
from armlab.cost import cost_of_inference
from armlab.emulate import count_instructions, python
from armlab.errors import LabError
from armlab.machines import MACHINES, Core, Machine, machine_named

__all__ = [
    "MACHINES",
    "Core",
    "LabError",
    "Machine",
    "cost_of_inference",
    "count_instructions",
    "install_wheel",
    "machine_named",
    "prepare",
    "python",
]
