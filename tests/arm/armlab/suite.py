"""Which of the project's tests belong to a device, and how they run on an emulated one.

The checkout gives the tests, the machine's wheel gives edgeml: PYTHONSAFEPATH keeps the
checkout off the guest's import path, in every child too, and the run begins by proving it.
"""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from armlab.build import folder
from armlab.emulate import python
from armlab.errors import LabError
from armlab.machines import Machine

_DEVICE_TESTS: Final = ("tests/unit", "tests/contract", "tests/integration")
_BOUNDED_TESTS: Final = ("tests/contract",)
_DEVICES: Final = 3
_BOUNDED_DEVICES: Final = {"arm64": 1}
"""An update takes minutes under emulation; one board of two shows a rollout by stages."""
_NOT_A_DEVICES: Final = "not workstation and not slow and not arm"

# Deadlines of a few hundred milliseconds mean nothing under emulation: Hypothesis's
# own `ci` profile has none, and draws the same examples every time.
# A test that stands still for minutes says where, and a run that never ends is ended.
_PYTEST: Final = (
    *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
    *("--hypothesis-profile=ci", "-o", "faulthandler_timeout=400"),
)
_NO_TESTS: Final = 5
_LIMIT_S: Final = 3600.0


def newest_wheel(checkout: Path) -> Path:
    """The last wheel of edgeml that was built.

    Raises:
        LabError: `dist` holds none.
    """
    wheels = sorted((checkout / "dist").glob("edgeml-*.whl"), key=lambda p: p.stat().st_mtime)
    if not wheels:
        raise LabError(f"{checkout / 'dist'} holds no wheel of edgeml; build one: make wheel")
    return wheels[-1]


def run_suite(machine: Machine, checkout: Path, *, bounded: bool, extra: Sequence[str]) -> int:
    """Run the device tests, then `edgeml demo`, on the machine; the first failing status, or 0.

    Each folder has a process of its own: one for all grows to 3.4 GB under emulation, where a
    native one takes 0.2, and an hour is short for it. `extra` are further arguments of pytest.

    Raises:
        LabError: the guest would import edgeml from elsewhere than the machine's wheel,
            or one of these did not end within an hour.
    """
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONPATH", None)
    _refuse_a_checkout(machine, checkout, environment)
    statuses = [
        _timed(machine, [*_PYTEST, "-m", _NOT_A_DEVICES, tests, *extra], checkout, environment)
        for tests in (_BOUNDED_TESTS if bounded else _DEVICE_TESTS)
    ]
    if extra:  # such as `-k NAME`, which may leave nothing in a folder
        statuses = [0 if status == _NO_TESTS else status for status in statuses]
    devices = _BOUNDED_DEVICES.get(machine.name, _DEVICES) if bounded else _DEVICES
    play = ["-m", "edgeml", "demo", "--devices", str(devices), "--json"]
    demo = _timed(machine, play, checkout, environment)
    return next(filter(None, [*statuses, demo]), 0)


def _refuse_a_checkout(machine: Machine, checkout: Path, environment: Mapping[str, str]) -> None:
    found = subprocess.run(
        [str(python(machine)), "-c", "import edgeml; print(edgeml.__file__)"],
        cwd=checkout,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    origin = found.stdout.strip()
    if found.returncode != 0 or not origin.startswith(f"{folder(machine)}/"):
        raise LabError(
            f"{machine.name} should import edgeml from {folder(machine)}, "
            f"and says {origin or found.stderr.strip()!r}"
        )


def _timed(
    machine: Machine, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]
) -> int:
    print(f"[{machine.name}] python {' '.join(arguments)}", flush=True)
    started_s = time.monotonic()
    command = [str(python(machine)), *arguments]
    try:
        done = subprocess.run(command, cwd=cwd, env=environment, check=False, timeout=_LIMIT_S)
    except subprocess.TimeoutExpired as exc:
        raise LabError(f"{machine.name}: no end after {_LIMIT_S:.0f} s: {arguments}") from exc
    spent_s = time.monotonic() - started_s
    print(f"[{machine.name}] status {done.returncode} after {spent_s:.0f} s", flush=True)
    return done.returncode
