"""Write the systemd unit that keeps a device running.

  sudo edgeml install-service device.toml
  sudo systemctl enable --now edgeml-NAME

The service runs as a user of its own with the least rights that its sensor
needs. --print shows the unit instead of writing it.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Final

from edgeml.cli.output import print_json
from edgeml.daemon.config import SECRET_KEYS, DaemonConfig, naming, read_config
from edgeml.daemon.models import files
from edgeml.daemon.sources import GROUPS, driver_of
from edgeml.daemon.unit import closed_part, unit_text
from edgeml.errors import ConfigError

UNITS = Path("/etc/systemd/system")
log: Final = logging.getLogger("edgeml.daemon")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's options."""
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help="the device's file")
    parser.add_argument("--print", action="store_true", dest="show", help="show it, write nothing")
    parser.add_argument(
        "--folder", type=Path, default=UNITS, metavar="DIR", help="where units are (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Check the configuration, then write the unit."""
    config = read_config(args.config)
    with naming(args.config):
        for source in config.sources.values():
            driver_of(source)
    command = Path(sys.executable).with_name("edgeml")
    needed = (command, args.config.absolute(), *files(config.models))
    for closed in sorted({part for path in needed if (part := closed_part(path)) is not None}):
        log.warning(
            "%s: the service's own user may not read it, and needs what is there: move that to "
            "where every user may, such as /opt/edgeml, or: chmod o+rX %s",
            closed,
            closed,
        )
    drivers = {source.driver for source in config.sources.values()}
    groups = {GROUPS[driver] for driver in drivers if driver in GROUPS}
    text = unit_text(
        config.device_id,
        str(command),
        args.config.absolute(),
        tuple(sorted(groups)),
        _secrets(config),
        quiet=config.mqtt is not None,
        sysfs="iio-buffered" in drivers,
    )
    unit = args.folder / f"edgeml-{config.device_id}.service"
    if args.show and args.json:
        print_json({"unit": str(unit), "text": text})
        return 0
    if args.show:
        print(text, end="")
        return 0
    try:
        unit.write_text(text, encoding="utf-8")
    except OSError as exc:
        cure = "run it with sudo" if args.folder.is_dir() else f"{args.folder} is no folder"
        raise ConfigError(f"{unit}: cannot be written ({exc.strerror}); {cure}") from exc
    start = f"sudo systemctl enable --now edgeml-{config.device_id}"
    if args.json:
        print_json({"unit": str(unit), "start": start})
    else:
        print(f"{unit} is written. Start it with: {start}")
    return 0


def _secrets(config: DaemonConfig) -> dict[str, str]:
    """The files that systemd must hand to a service that cannot read them itself."""
    if config.mqtt is None:
        return {}
    found = {key: getattr(config.mqtt, key) for key in SECRET_KEYS}
    return {key: str(path) for key, path in found.items() if path is not None}
