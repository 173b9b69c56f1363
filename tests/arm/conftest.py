"""The emulated machines as fixtures; a machine that does not stand yet is built first."""

import sys
from pathlib import Path

import pytest

# The lab is a program of its own, not a part of edgeml: it is found beside its tests.
sys.path.insert(0, str(Path(__file__).parent))

from armlab import MACHINES, Machine, install_wheel, prepare
from armlab.suite import newest_wheel

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", params=tuple(MACHINES))
def machine(request: pytest.FixtureRequest) -> Machine:
    """Each machine in turn, ready to run Python."""
    chosen = MACHINES[request.param]
    prepare(chosen)
    return chosen


@pytest.fixture(scope="session")
def machines_with_edgeml() -> tuple[Machine, ...]:
    """Every machine, with the newest wheel of edgeml installed."""
    for each in MACHINES.values():
        prepare(each)
        install_wheel(each, newest_wheel(CHECKOUT))
    return tuple(MACHINES.values())
