"""What to do with a machine that stands: enter it, and count what a core executes.

A count is exact: the same program gives the same number every time, because
nothing in it is left to chance (hash seed, stack canary, background threads). What a
program itself draws from the kernel's entropy is its own: numpy.random's import does.
QEMU counts the guest's instructions, not the time they take; the difference
between two runs of N and M inferences is the cost of M - N of them.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from armlab import host
from armlab.build import folder
from armlab.errors import LabError
from armlab.machines import PYTHON_VERSION, Machine

_PLUGIN_SOURCE: Final = Path(__file__).with_name("count.c")
_FIRST_QEMU_WITH_API_2: Final = 9

_NOTHING_TO_CHANCE: Final[Mapping[str, str]] = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
}


def python(machine: Machine) -> Path:
    """The machine's interpreter: an executable file, to be run like any other."""
    return folder(machine) / "venv" / "bin" / "python"


def enter(machine: Machine, core: str | None, arguments: Sequence[str]) -> int:
    """Run `python ARGUMENTS` on a core of the machine, on this terminal; return its status."""
    chosen = core or machine.default_core
    machine.core(chosen)
    environment = {**os.environ, "EDGEML_ARMLAB_CORE": chosen}
    return subprocess.run(
        [str(python(machine)), *arguments], check=False, env=environment
    ).returncode


def count_instructions(
    machine: Machine,
    core: str,
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
) -> int:
    """The ARM instructions that `python ARGUMENTS` executes on `core`, start-up included.

    The guest sees a fixed environment plus `environment`; its output goes to stderr.
    Children that it starts are not counted.

    Raises:
        LabError: the program failed, or QEMU could not load the plugin.
    """
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "instructions"
        command = counting_command(machine, core, report, arguments)
        done = subprocess.run(
            command,
            stdout=sys.stderr.fileno(),
            check=False,
            env={**_NOTHING_TO_CHANCE, "EDGEML_ARMLAB_CORE": core, **(environment or {})},
        )
        if done.returncode != 0:
            raise LabError(f"{' '.join(arguments)} ended with status {done.returncode} on {core}")
        if not report.exists():
            raise LabError(f"{machine.qemu} ran without the counting plugin: {' '.join(command)}")
        return int(report.read_text(encoding="utf-8"))


def counting_command(
    machine: Machine, core: str, report: Path, arguments: Sequence[str]
) -> list[str]:
    """The emulator's command line that runs Python under the counting plugin."""
    place = folder(machine)
    return [
        host.emulator(machine.qemu),
        *("-cpu", machine.core(core).qemu_cpu),
        *("-seed", "1"),
        *("-L", str(place / "view" / core)),
        *("-plugin", f"{_plugin(machine)},out={report}"),
        *("-0", str(python(machine))),
        str(place / "root" / "usr" / "bin" / f"python{PYTHON_VERSION}"),
        *arguments,
    ]


def plugin_api(qemu_version: str) -> int:
    """The plugin API for the QEMU whose `--version` says this: 9.0 dropped version 1.

    Raises:
        LabError: the text names no version.
    """
    found = re.search(r"version (\d+)\.", qemu_version)
    if found is None:
        raise LabError(f"cannot read a QEMU version from {qemu_version!r}")
    return 2 if int(found.group(1)) >= _FIRST_QEMU_WITH_API_2 else 1


def _plugin(machine: Machine) -> Path:
    """The compiled plugin, built on first use beside the machine and after each change."""
    built = folder(machine) / "count.so"
    if built.exists() and built.stat().st_mtime >= _PLUGIN_SOURCE.stat().st_mtime:
        return built
    api = plugin_api(host.run_quietly([host.emulator(machine.qemu), "--version"], machine.qemu))
    fresh = built.with_suffix(f".{os.getpid()}")
    compiler = ["gcc", "-std=gnu11", "-Wall", "-Werror", "-O2", "-shared", "-fPIC"]
    target = [f"-DPLUGIN_API={api}", "-o", str(fresh), str(_PLUGIN_SOURCE)]
    host.run_quietly([*compiler, *target], "compiling the counting plugin")
    return fresh.replace(built)
