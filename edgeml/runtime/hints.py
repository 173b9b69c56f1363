"""How to install an interpreter on this machine: the cure that a missing one's error names."""

import platform
import sys
import sysconfig
from pathlib import Path


def install_hint(
    name: str | None = None,
    machine: str | None = None,
    version: tuple[int, int] | None = None,
    managed: bool | None = None,
) -> str:
    """The command that installs an interpreter here.

    Args:
        name: of the backend; None for what suits the machine.
        machine: as `platform.machine()` says; None for this one.
        version: of Python; None for this one.
        managed: whether the system's package manager owns this Python (PEP 668).
    """
    machine = platform.machine() if machine is None else machine
    version = sys.version_info[:2] if version is None else version
    managed = _externally_managed() if managed is None else managed
    small = machine in ("armv7l", "armv6l")
    backend = name or ("tflite" if small else "litert")
    if small and backend == "litert":
        return "LiteRT has no wheel for 32-bit ARM; use the tflite backend"
    if backend == "tflite" and version >= (3, 12):
        return (
            f"tflite-runtime has no wheel for Python {version[0]}.{version[1]}; use Python 3.11 "
            "(as in Raspberry Pi OS Bookworm)" + ("" if small else " or the litert backend")
        )
    packages = "'tflite-runtime>=2.14,<2.15' 'numpy<2'" if backend == "tflite" else "ai-edge-litert"
    install = f"install it with: pip install {packages}"
    if managed:
        return (
            "the system manages this Python, so make an environment first: "
            f"python3 -m venv --system-site-packages ~/edgeml && . ~/edgeml/bin/activate; {install}"
        )
    return install


def _externally_managed() -> bool:
    """PEP 668: a marker beside the standard library, outside of any virtual environment."""
    if sys.prefix != sys.base_prefix:
        return False
    return (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").exists()
