"""The boards, as values: which Debian, which emulator, which core stands for which Raspberry Pi.

Both machines are Debian 12, the base of Raspberry Pi OS Bookworm, whatever the
workstation runs, so Python is 3.11 everywhere and the hashed requirements hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from armlab.errors import LabError

SUITE: Final = "bookworm"
PYTHON_VERSION: Final = "3.11"
GLIBC_MINOR: Final = 36
"""Debian 12 has glibc 2.36: wheels built for that version or an older one run on it."""

_OLDEST_MANYLINUX_MINOR: Final = 17
_CORES_A_BOARD: Final = 4

_PYTHON_PACKAGES: Final = (
    "python3.11",
    "libpython3.11-stdlib",
    "libstdc++6",
    "libatomic1",
    "libgomp1",
)


@dataclass(frozen=True, slots=True)
class Core:
    """One ARM core: QEMU's model of it, and what Linux says of it in /proc/cpuinfo."""

    board: str
    qemu_cpu: str
    part: str
    features: str

    def cpuinfo(self) -> str:
        """The text of /proc/cpuinfo on a board with four of these cores.

        XNNPACK chooses its kernels by this file and crashes where it describes an x86 processor.
        """
        core = (
            f"BogoMIPS\t: 108.00\nFeatures\t: {self.features}\nCPU implementer\t: 0x41\n"
            f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {self.part}\n"
            "CPU revision\t: 3\n"
        )
        cores = "".join(f"processor\t: {n}\n{core}\n" for n in range(_CORES_A_BOARD))
        return f"{cores}Model\t\t: {self.board} (emulated)\n"


@dataclass(frozen=True, slots=True)
class Machine:
    """One Debian architecture under one user-mode emulator; `cores` begins with the default."""

    name: str
    machine: str
    triple: str
    qemu: str
    interpreter: str
    cores: Mapping[str, Core]
    debian_packages: tuple[str, ...]

    @property
    def default_core(self) -> str:
        return next(iter(self.cores))

    def core(self, name: str) -> Core:
        """The core called `name`.

        Raises:
            LabError: this machine has no such core.
        """
        if name not in self.cores:
            known = ", ".join(self.cores)
            raise LabError(f"{self.name} has no core {name!r}; it has {known}")
        return self.cores[name]

    def wheel_platforms(self) -> tuple[str, ...]:
        """The platform tags of the wheels that run here, best first."""
        minors = range(GLIBC_MINOR, _OLDEST_MANYLINUX_MINOR - 1, -1)
        modern = tuple(f"manylinux_2_{minor}_{self.machine}" for minor in minors)
        return (*modern, f"manylinux2014_{self.machine}")


_ARM64_CORES: Final[Mapping[str, Core]] = MappingProxyType(
    {
        "pi4": Core("Raspberry Pi 4", "cortex-a72", "0xd08", "fp asimd evtstrm crc32 cpuid"),
        "pi3": Core("Raspberry Pi 3", "cortex-a53", "0xd03", "fp asimd evtstrm crc32 cpuid"),
        "pi5": Core(
            "Raspberry Pi 5",
            "cortex-a76",
            "0xd0b",
            "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm "
            "lrcpc dcpop asimddp",
        ),
    }
)

# QEMU's 32-bit emulator has no Cortex-A53 or A72; an A15 has the instructions that they
# offer to a 32-bit system, and the Cortex-A7 is the Raspberry Pi 2's own.
_ARMHF_FEATURES: Final = (
    "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm"
)
_ARMHF_CORES: Final[Mapping[str, Core]] = MappingProxyType(
    {
        "pi4": Core("Raspberry Pi 4", "cortex-a15", "0xc0f", _ARMHF_FEATURES),
        "pi2": Core("Raspberry Pi 2", "cortex-a7", "0xc07", _ARMHF_FEATURES),
    }
)

MACHINES: Final[Mapping[str, Machine]] = MappingProxyType(
    {
        "arm64": Machine(
            name="arm64",
            machine="aarch64",
            triple="aarch64-linux-gnu",
            qemu="qemu-aarch64",
            interpreter="ai_edge_litert",
            cores=_ARM64_CORES,
            debian_packages=_PYTHON_PACKAGES,
        ),
        "armhf": Machine(
            name="armhf",
            machine="armv7l",
            triple="arm-linux-gnueabihf",
            qemu="qemu-arm",
            interpreter="tflite_runtime",
            cores=_ARMHF_CORES,
            debian_packages=(
                *_PYTHON_PACKAGES,
                "python3-argon2",
                "python3-cffi-backend",
                "python3-numpy",
                "python3-psutil",
                "python3-yaml",
            ),
        ),
    }
)


def machine_named(name: str) -> Machine:
    """The machine called `name`.

    Raises:
        LabError: there is none.
    """
    if name not in MACHINES:
        raise LabError(f"no machine {name!r}; there are {', '.join(MACHINES)}")
    return MACHINES[name]
