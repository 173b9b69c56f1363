"""What can be wrong with a machine, found before it costs somebody an evening.

`gather` looks at the machine (all I/O is there), `checks` decides what the facts
mean (pure, so that a Pi's troubles are tested on any machine).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from edgeml.doctor.checks import Finding, Level, judge
from edgeml.doctor.gather import gather

if TYPE_CHECKING:
    from edgeml.daemon.config import DaemonConfig

__all__ = ["Finding", "Level", "examine"]


def examine(
    *, broker: str | None, state_folder: Path, config: "DaemonConfig | None" = None
) -> list[Finding]:
    """Look at this machine and judge what is found.

    Args:
        broker: a broker's URL to try; None for that of `config`.
        state_folder: where the outbox will be.
        config: a device's file, whose models, broker and updates are tried; None for none.
    """
    return judge(gather(broker=broker, state_folder=state_folder, config=config))
