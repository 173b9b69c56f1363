"""Judges a machine's facts. Pure, so that any machine can be examined in a test."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from edgeml.doctor.facts import Facts

MIN_FREE_MB: Final = 200
EARLIEST_SANE_YEAR: Final = 2024
ARM32: Final = ("armv7l", "armv6l")


class Level(Enum):
    """How bad it is."""

    GOOD = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome: what was found, why, and the command that mends it."""

    check: str
    level: Level
    found: str
    cause: str = ""
    cure: str = ""


def judge(facts: Facts) -> list[Finding]:
    """Every check, in the order in which a person would want to mend things."""
    return [finding for check in _CHECKS if (finding := check(facts)) is not None]


def _pip(facts: Facts, requirement: str) -> str:
    """The pip command that works on this machine."""
    if facts.externally_managed:
        return f"python3 -m venv ~/edgeml && ~/edgeml/bin/pip install {requirement}"
    return f"{facts.python_command} -m pip install {requirement}"


def _python(facts: Facts) -> Finding:
    found = f"{facts.python[0]}.{facts.python[1]}.{facts.python[2]}"
    if facts.python < (3, 10):
        return Finding(
            "Python",
            Level.BROKEN,
            found,
            "edgeml needs Python 3.10 or later",
            "sudo apt install python3.11 python3.11-venv",
        )
    if facts.machine in ARM32 and facts.python >= (3, 12):
        return Finding(
            "Python",
            Level.BROKEN,
            f"{found} on {facts.machine}",
            "tflite-runtime, 32-bit ARM's only interpreter, has no wheel for Python 3.12 or later",
            "use Raspberry Pi OS Bookworm (Python 3.11), or a 64-bit system on this board",
        )
    return Finding("Python", Level.GOOD, found)


def _environment(facts: Facts) -> Finding:
    if facts.externally_managed:
        return Finding(
            "environment",
            Level.WARNING,
            "the system's own Python",
            "this Python belongs to the operating system: pip refuses to install into it (PEP 668)",
            "python3 -m venv ~/edgeml, and install the wheel with ~/edgeml/bin/pip",
        )
    return Finding("environment", Level.GOOD, "pip may install here")


def _machine(facts: Facts) -> Finding:
    found = f"{facts.board or facts.machine}, {facts.system}"
    if facts.machine == "armv6l":
        return Finding(
            "machine",
            Level.BROKEN,
            found,
            "ARMv6 (Pi 1, Pi Zero W) has no interpreter wheel at all",
            "use a Pi Zero 2 W or later",
        )
    if facts.machine == "aarch64" and facts.pointer_bits == 32:
        return Finding(
            "machine",
            Level.WARNING,
            f"{found}, 32-bit Python on a 64-bit kernel",
            "pip believes this is aarch64 and picks wheels that cannot load",
            "install the 64-bit Raspberry Pi OS, or put arm_64bit=0 into "
            "/boot/firmware/config.txt and reboot",
        )
    return Finding("machine", Level.GOOD, found)


def _interpreter(facts: Facts) -> Finding:
    found = facts.interpreters
    if not found:
        package = "tflite-runtime 'numpy<2'" if facts.machine in ARM32 else "ai-edge-litert"
        return Finding(
            "interpreter",
            Level.BROKEN,
            "none",
            "neither LiteRT nor tflite-runtime is installed",
            _pip(facts, package),
        )
    working = [f"{name} {version}" for name, version in found.items()]
    failed = [name for name in found if name in facts.interpreter_errors]
    if len(failed) == len(found):
        name = failed[0]
        return Finding(
            "interpreter",
            Level.BROKEN,
            ", ".join(working),
            f"importing {name} fails: {facts.interpreter_errors[name]}",
            _pip(facts, f"--force-reinstall {name}")
            if not _numpy_clash(facts)
            else _numpy_cure(facts),
        )
    return Finding("interpreter", Level.GOOD, ", ".join(working))


def _numpy_clash(facts: Facts) -> bool:
    return (
        "tflite-runtime" in facts.interpreters
        and "ai-edge-litert" not in facts.interpreters
        and facts.numpy is not None
        and facts.numpy >= (2,)
    )


def _numpy_cure(facts: Facts) -> str:
    return _pip(facts, "'numpy<2'")


def _numpy(facts: Facts) -> Finding:
    if facts.numpy is None:
        return Finding(
            "numpy", Level.BROKEN, "not installed", "every model needs it", _pip(facts, "numpy")
        )
    found = ".".join(map(str, facts.numpy))
    if _numpy_clash(facts):
        return Finding(
            "numpy",
            Level.BROKEN,
            found,
            "tflite-runtime 2.14 was built against numpy 1 and fails on numpy 2 without saying so",
            _numpy_cure(facts),
        )
    return Finding("numpy", Level.GOOD, found)


def _packages(facts: Facts) -> Finding:
    if facts.missing_packages:
        names = " ".join(facts.missing_packages)
        return Finding(
            "packages",
            Level.BROKEN,
            f"missing: {names}",
            "edgeml was installed without its dependencies",
            _pip(facts, names),
        )
    return Finding("packages", Level.GOOD, "paho-mqtt and tuf are there")


def _disk(facts: Facts) -> Finding:
    if not facts.state_writable:
        return Finding(
            "disk",
            Level.BROKEN,
            f"{facts.state_folder} cannot be written",
            "the outbox needs a folder of its own",
            f"sudo install -d -o $USER {facts.state_folder}",
        )
    found = f"{facts.free_mb:,} MB free in {facts.state_folder}"
    if facts.free_mb < MIN_FREE_MB:
        return Finding(
            "disk",
            Level.WARNING,
            found,
            f"under {MIN_FREE_MB} MB an offline device drops its oldest results soon",
            "sudo apt clean && sudo journalctl --vacuum-size=50M",
        )
    return Finding("disk", Level.GOOD, found)


def _clock(facts: Facts) -> Finding:
    state = "synchronised" if facts.clock_synchronised else "not known to be synchronised"
    found = f"{facts.year}, {state}"
    if facts.year < EARLIEST_SANE_YEAR:
        return Finding(
            "clock",
            Level.BROKEN,
            found,
            "the clock is years behind: TLS certificates and updates will look not yet valid",
            "sudo timedatectl set-ntp true",
        )
    if facts.clock_synchronised is False:
        return Finding(
            "clock",
            Level.WARNING,
            found,
            "a Pi has no clock battery: until it hears a time server, times are wrong",
            "sudo timedatectl set-ntp true",
        )
    return Finding("clock", Level.GOOD, found)


def _groups(facts: Facts) -> Finding | None:
    if not facts.missing_groups:
        return None
    names = ",".join(facts.missing_groups)
    return Finding(
        "groups",
        Level.WARNING,
        f"not in: {names}",
        "sensors on " + ", ".join(facts.missing_groups.values()) + " cannot be read by this user",
        f"sudo usermod -aG {names} $USER, then log in again",
    )


_BROKER_CURES: Final = (
    ("run: ", "the command that it names"),
    ("author", "username and password_file under [mqtt] of the device's file, and --config"),
    ("certificate", "ca_file under [mqtt] of the device's file, and --config"),
    ("", "check the address; for a broker on this machine: sudo apt install mosquitto"),
)
"""By a word in what the line to the broker said, in small letters."""


def _broker(facts: Facts) -> Finding | None:
    if facts.broker is None:
        return None
    if facts.broker_error:
        said = facts.broker_error.lower()
        cure = next(cure for sign, cure in _BROKER_CURES if sign in said)
        return Finding("broker", Level.BROKEN, facts.broker, facts.broker_error, cure)
    return Finding("broker", Level.GOOD, f"{facts.broker} answers")


def _models(facts: Facts) -> Finding | None:
    if not facts.models:
        return None
    bad = [path for path, error in facts.models.items() if error]
    if bad:
        return Finding(
            "models",
            Level.BROKEN,
            ", ".join(bad),
            "; ".join(error for error in facts.models.values() if error),
            f"mend the file, or its path; more of it: edgeml verify {bad[0]}",
        )
    return Finding("models", Level.GOOD, f"{', '.join(facts.models)} passed")


def _updates(facts: Facts) -> Finding | None:
    if facts.updates is None:
        return None
    if facts.updates_error:
        return Finding(
            "updates",
            Level.BROKEN,
            facts.updates,
            facts.updates_error,
            "expired: edgeml repo refresh and publish; unsigned: carry this publisher's "
            "metadata/1.root.json to this device; missing: check the address in [updates]",
        )
    return Finding("updates", Level.GOOD, facts.updates)


_CHECKS: Final[tuple[Callable[[Facts], Finding | None], ...]] = (
    _python,
    _machine,
    _environment,
    _interpreter,
    _numpy,
    _packages,
    _disk,
    _clock,
    _groups,
    _broker,
    _models,
    _updates,
)
