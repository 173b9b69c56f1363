"""Looks whether a device could take updates: as it would itself, in a folder that is forgotten."""

import tempfile
from pathlib import Path

from edgeml.bundle import Bundle
from edgeml.clock import SystemClock
from edgeml.daemon.config import DaemonConfig
from edgeml.daemon.models import files
from edgeml.errors import EdgeMLError
from edgeml.ota.asking import Asking, Floor
from edgeml.ota.trustprocess import TrustProcess
from edgeml.updating import open_shelf, transports_of


def look(config: DaemonConfig) -> tuple[str | None, str]:
    """What is offered to a device, and why nothing is believed; None where it takes no updates."""
    settings = config.updates
    if settings is None:
        return None, ""
    clock = SystemClock()
    offered: list[str] = []
    try:
        shelf = open_shelf(f"{config.device_id}-doctor", config.mqtt, clock)
        ways = transports_of(settings, clock, shelf)
        where = ", ".join(way.name for way in ways)
        with tempfile.TemporaryDirectory() as folder:
            asking = Asking(TrustProcess(Path(folder), settings.read_root()), ways)
            try:
                for path in files(config.models):
                    name = Bundle.read(path).manifest.name
                    found, _ = asking.standing(settings.group, name, clock.now_s(), Floor())
                    offer = found.offers.get(name)
                    offered.append(f"nothing of {name}" if offer is None else offer.rule.release)
            finally:
                for way in ways:
                    way.close()
    except EdgeMLError as exc:
        return "from what is published", str(exc)
    return f"from {where}: {', '.join(offered)} is offered", ""
