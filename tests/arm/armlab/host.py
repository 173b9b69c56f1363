"""What the workstation must bring: its emulator, its compiler, its apt, and a Debian archive.

The archive is never written here. On Debian it is the one apt already uses (any
release serves: its pool has them all); elsewhere, on Ubuntu, it is the default of
debootstrap, the tool whose business that address is. EDGEML_ARMLAB_MIRROR overrides both.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from armlab.errors import LabError

DEBIAN_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEBOOTSTRAP: Final = Path("/usr/sbin/debootstrap")
_STDINT: Final = Path("/usr/include/stdint.h")
_DEFAULT_MIRROR: Final = re.compile(r'^DEF_MIRROR="([^"]+)"', re.MULTILINE)


def lab_folder() -> Path:
    """Where the machines live: EDGEML_ARMLAB, or a folder of the user's cache."""
    chosen = os.environ.get("EDGEML_ARMLAB")
    return Path(chosen).resolve() if chosen else Path.home() / ".cache" / "edgeml-armlab"


def require_tools() -> None:
    """Make sure of every tool; as root the missing ones are installed through apt.

    Raises:
        LabError: no apt here, or something is missing and this user may not install it.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise LabError(
                f"{tool} is not on this machine: the emulated boards are unpacked from Debian "
                "packages, so tests/arm needs a Debian or Ubuntu host"
            )
    missing = missing_packages()
    if not missing:
        return
    install = f"apt-get install --yes --no-install-recommends {' '.join(missing)}"
    if os.geteuid() != 0:
        raise LabError(f"tests/arm needs {', '.join(missing)}; install with: sudo {install}")
    run_quietly(["apt-get", "update"], "apt-get update")
    run_quietly(install.split(), install)
    still = missing_packages()
    if still:
        raise LabError(f"apt installed {', '.join(missing)}, yet {', '.join(still)} is not usable")


def missing_packages() -> list[str]:
    """The host packages that tests/arm needs and this machine lacks."""
    missing = []
    if not all(shutil.which(qemu) for qemu in ("qemu-aarch64", "qemu-arm")):
        missing.append("qemu-user")
    if shutil.which("gcc") is None or not _STDINT.exists():
        missing.extend(["gcc", "libc6-dev"])
    if not DEBIAN_KEYRING.exists():
        missing.append("debian-archive-keyring")
    if not (os.environ.get("EDGEML_ARMLAB_MIRROR") or DEBOOTSTRAP.exists() or _apt_archive()):
        missing.append("debootstrap")
    return missing


def emulator(qemu: str) -> str:
    """The path of QEMU's user-mode emulator `qemu`.

    Raises:
        LabError: it is not installed.
    """
    path = shutil.which(qemu)
    if path is None:
        raise LabError(f"{qemu} is missing; install with: apt-get install qemu-user")
    return path


def debian_archive() -> str:
    """The URI of a Debian archive, as a line of sources.list names it.

    Raises:
        LabError: none is known on this machine.
    """
    archive = os.environ.get("EDGEML_ARMLAB_MIRROR") or _apt_archive()
    if not archive and DEBOOTSTRAP.exists():
        archive = default_mirror(DEBOOTSTRAP.read_text(encoding="utf-8"))
    if not archive:
        raise LabError(
            "no Debian archive is known here: set EDGEML_ARMLAB_MIRROR to the URI of one, "
            "as a deb line of a Debian machine's sources.list names it"
        )
    return archive


def default_mirror(debootstrap_script: str) -> str | None:
    """The archive that debootstrap uses when told of none."""
    found = _DEFAULT_MIRROR.search(debootstrap_script)
    return found.group(1) if found else None


def _apt_archive() -> str | None:
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    return debian_among(targets.stdout.splitlines())


def debian_among(repository_uris: Sequence[str]) -> str | None:
    """The first URI that ends in /debian/, as every mirror of Debian's main archive does."""
    return next((uri for uri in repository_uris if uri.rstrip("/").endswith("/debian")), None)


def run_quietly(command: Sequence[str], what: str) -> str:
    """Run `command` and return its output; a failure shows the end of what it said.

    Raises:
        LabError: it exited with another status than 0.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        list(command),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode != 0:
        raise LabError(f"{what} failed with status {done.returncode}:\n{done.stdout[-2000:]}")
    return done.stdout
