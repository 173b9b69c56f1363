"""A Pi's usual troubles, each as facts: the doctor names the cause and a command that mends it."""

from dataclasses import replace

import pytest

from edgeml.doctor.checks import Finding, Level, judge
from edgeml.doctor.facts import Facts

HEALTHY = Facts(
    python=(3, 11, 2),
    python_command="python3",
    externally_managed=False,
    machine="aarch64",
    system="Linux 6.6",
    pointer_bits=64,
    board="Raspberry Pi 4 Model B",
    interpreters={"ai-edge-litert": "2.3.0"},
    interpreter_errors={},
    numpy=(2, 2),
    missing_packages=(),
    state_folder="/var/lib/edgeml",
    state_writable=True,
    free_mb=12_000,
    year=2026,
    clock_synchronised=True,
)
ON_ARM32 = replace(
    HEALTHY,
    machine="armv7l",
    pointer_bits=32,
    interpreters={"tflite-runtime": "2.14.0"},
    numpy=(1, 24),
)

TROUBLES = {
    "old Python": (
        replace(HEALTHY, python=(3, 9, 2)),
        "Python",
        Level.BROKEN,
        "3.10",
        "apt install",
    ),
    "Python 3.12 on armv7l": (
        replace(ON_ARM32, python=(3, 12, 1)),
        "Python",
        Level.BROKEN,
        "no wheel",
        "Bookworm",
    ),
    "PEP 668": (
        replace(HEALTHY, externally_managed=True),
        "environment",
        Level.WARNING,
        "PEP 668",
        "venv",
    ),
    "ARMv6": (replace(ON_ARM32, machine="armv6l"), "machine", Level.BROKEN, "Pi Zero W", "Zero 2"),
    "32-bit Python, 64-bit kernel": (
        replace(HEALTHY, pointer_bits=32),
        "machine",
        Level.WARNING,
        "cannot load",
        "arm_64bit=0",
    ),
    "no interpreter": (
        replace(HEALTHY, interpreters={}),
        "interpreter",
        Level.BROKEN,
        "neither",
        "ai-edge-litert",
    ),
    "no interpreter on armv7l": (
        replace(ON_ARM32, interpreters={}),
        "interpreter",
        Level.BROKEN,
        "neither",
        "tflite-runtime",
    ),
    "an interpreter that does not import": (
        replace(HEALTHY, interpreter_errors={"ai-edge-litert": "GLIBC_2.35 not found"}),
        "interpreter",
        Level.BROKEN,
        "GLIBC_2.35",
        "--force-reinstall",
    ),
    "numpy 2 with tflite-runtime": (
        replace(ON_ARM32, numpy=(2, 0)),
        "numpy",
        Level.BROKEN,
        "built against numpy 1",
        "'numpy<2'",
    ),
    "no numpy": (replace(HEALTHY, numpy=None), "numpy", Level.BROKEN, "needs it", "install numpy"),
    "no dependencies": (
        replace(HEALTHY, missing_packages=("tuf",)),
        "packages",
        Level.BROKEN,
        "without",
        "install tuf",
    ),
    "a folder that cannot be written": (
        replace(HEALTHY, state_writable=False),
        "disk",
        Level.BROKEN,
        "outbox",
        "install -d",
    ),
    "a full disk": (replace(HEALTHY, free_mb=20), "disk", Level.WARNING, "oldest", "vacuum"),
    "a clock in 1970": (replace(HEALTHY, year=1970), "clock", Level.BROKEN, "TLS", "set-ntp"),
    "a clock never set": (
        replace(HEALTHY, clock_synchronised=False),
        "clock",
        Level.WARNING,
        "battery",
        "set-ntp",
    ),
    "a missing group": (
        replace(HEALTHY, missing_groups={"i2c": "/dev/i2c-*"}),
        "groups",
        Level.WARNING,
        "/dev/i2c",
        "usermod -aG i2c",
    ),
    "a model that fails its self-test": (
        replace(HEALTHY, models={"a.tflite": "", "b.tflite": "golden: 3 of 8 windows differ"}),
        "models",
        Level.BROKEN,
        "3 of 8",
        "edgeml verify b.tflite",
    ),
    "a broker that wants a password": (
        replace(HEALTHY, broker="mqtt://b", broker_error="refused the connection: Not authorized"),
        "broker",
        Level.BROKEN,
        "Not authorized",
        "password_file",
    ),
    "a broker whose certificate nobody vouches for": (
        replace(HEALTHY, broker="mqtts://b", broker_error="CERTIFICATE_VERIFY_FAILED"),
        "broker",
        Level.BROKEN,
        "VERIFY",
        "ca_file",
    ),
    "a dead broker": (
        replace(HEALTHY, broker="mqtt://b", broker_error="refused"),
        "broker",
        Level.BROKEN,
        "refused",
        "mosquitto",
    ),
}


def _finding(facts: Facts, check: str) -> Finding:
    return next(finding for finding in judge(facts) if finding.check == check)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_the_doctor_names_the_cause_and_the_cure(trouble: str) -> None:
    facts, check, level, cause, cure = TROUBLES[trouble]
    finding = _finding(facts, check)
    assert finding.level is level
    assert cause in finding.cause
    assert cure in finding.cure


@pytest.mark.parametrize("facts", [HEALTHY, ON_ARM32], ids=["64-bit", "32-bit"])
def test_a_healthy_machine_has_nothing_but_good_findings(facts: Facts) -> None:
    assert {finding.level for finding in judge(facts)} == {Level.GOOD}


def test_every_trouble_is_found_alone() -> None:
    for name, (facts, check, _, _, _) in TROUBLES.items():
        troubled = {f.check for f in judge(facts) if f.level is not Level.GOOD}
        assert troubled == {check}, name


def test_on_a_managed_python_the_cure_is_a_virtual_environment() -> None:
    facts = replace(HEALTHY, externally_managed=True, interpreters={})
    assert _finding(facts, "interpreter").cure.startswith("python3 -m venv")
