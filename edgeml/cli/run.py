"""Run a device as its configuration file says, until it is told to stop.

  edgeml run device.toml

It tests the model on this machine first. Under systemd it says when it is
ready and feeds the watchdog; SIGTERM delivers what it can within five seconds
and ends, SIGHUP reads the file again. `edgeml install-service` writes the unit.
"""

import argparse
import logging
from pathlib import Path

from edgeml.cli.output import print_json, result_row
from edgeml.result import Result


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's options."""
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help="the device's file")
    parser.add_argument("--quiet", action="store_true", help="print no results")
    parser.add_argument("--json", action="store_true", help="each result as a line of JSON")


def run(args: argparse.Namespace) -> int:
    """Run until stopped."""
    from edgeml.daemon.service import Service

    def show(result: Result) -> None:
        if args.json:
            print_json({"model": result.model.name, **result_row(result)})
        else:
            name, label = result.model.name, result.label or "-"
            print(f"{result.start_s:.3f} {name} {label} {result.score:.4g}", flush=True)

    logging.getLogger("edgeml").setLevel(logging.INFO)
    service = Service(args.config, (lambda _: None) if args.quiet else show)
    service.handle_signals()
    service.run()
    return 0
