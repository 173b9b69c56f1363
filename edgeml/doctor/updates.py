"""Looks whether a device could run its models and take updates, as it would itself.

Models are tried in processes of their own, updates in a folder that is forgotten.
"""

import tempfile
from pathlib import Path

from edgeml.bundle import Bundle
from edgeml.clock import SystemClock
from edgeml.daemon.config import DaemonConfig
from edgeml.daemon.models import files
from edgeml.errors import EdgeMLError
from edgeml.ota.asking import Asking, Floor
from edgeml.ota.trustprocess import TrustProcess
from edgeml.runtime.probe import probe
from edgeml.updating import open_shelf, transports_of


def try_models(config: DaemonConfig) -> dict[str, str]:
    """The files that a device's file names, and what speaks against each; "" for nothing."""
    return {str(path): _objection(path) for path in files(config.models)}


def _objection(path: Path) -> str:
    try:
        report = probe(path)
    except EdgeMLError as exc:  # it cannot even be read
        return str(exc)
    return report.error or "; ".join(report.violations)


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
