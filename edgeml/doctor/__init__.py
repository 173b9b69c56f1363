"""What can be wrong with a machine, found before it costs somebody an evening.

`gather` looks at the machine (all I/O is there), `checks` decides what the facts
mean (pure, so that a Pi's troubles are tested on any machine).
"""

from pathlib import Path

from edgeml.doctor.checks import Finding, Level, judge
from edgeml.doctor.gather import gather

__all__ = ["Finding", "Level", "examine"]


def examine(*, broker: str | None, state_folder: Path) -> list[Finding]:
    """Look at this machine and judge what is found.

    Args:
        broker: a broker's URL to try; None to leave the network alone.
        state_folder: where the outbox will be.
    """
    return judge(gather(broker=broker, state_folder=state_folder))
