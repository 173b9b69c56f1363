"""The receiving end of a fleet.

edgeml fleet ingest --broker URL --fleet NAME --store STORE  store what devices send, and confirm it
edgeml fleet status --store STORE [--watch]                  every device: online, results, gaps
edgeml fleet export --store STORE -o OUT.csv                 every result as CSV or Parquet
edgeml fleet export --store STORE --samples -o OUT.npz        every window that devices sent home
edgeml fleet prune --store STORE --older-than-days N         delete what is old enough
edgeml fleet rollout RELEASE --repo DIR --broker URL         let it in by stages, halt by itself
edgeml fleet mosquitto-acl -o DIR --ca-file CA …             a broker for devices that keep apart

STORE is a file (SQLite) or postgresql://[USER@]HOST[:PORT]/DATABASE.
"""

import argparse
from pathlib import Path

from edgeml.cli import fleet_rollout
from edgeml.cli.connect import add_broker_options, broker_connection
from edgeml.cli.output import print_json
from edgeml.errors import ConfigError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's commands."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    ingest = commands.add_parser("ingest", help="store what devices send, and confirm it")
    add_broker_options(ingest)
    ingest.add_argument("--fleet", default="default", help="whose messages to take (%(default)s)")
    _add_store(ingest)
    status = commands.add_parser("status", help="every device: online, results, gaps")
    _add_store(status)
    status.add_argument("--watch", action="store_true", help="show it again and again, until ^C")
    status.add_argument(
        "--interval-s", type=float, default=2.0, metavar="S", help="how often (%(default)s)"
    )
    export = commands.add_parser("export", help="every result as CSV or Parquet")
    _add_store(export)
    export.add_argument("--device", help="this device only")
    export.add_argument(
        "--samples", action="store_true", help="the windows that devices sent, as .npz"
    )
    export.add_argument("--model", metavar="NAME", help="with --samples: this model's only")
    export.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="where to, .csv or .parquet; .npz with --samples",
    )
    acl = commands.add_parser("mosquitto-acl", help="a Mosquitto where devices keep to themselves")
    acl.add_argument("--fleet", default="default", help="the fleet it serves (%(default)s)")
    acl.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where to")
    acl.add_argument(
        "--ca-file", type=Path, required=True, metavar="FILE", help="the CA's certificate"
    )
    acl.add_argument("--cert-file", type=Path, required=True, metavar="FILE", help="the broker's")
    acl.add_argument("--key-file", type=Path, required=True, metavar="FILE", help="its key")
    acl.add_argument("--port", type=int, default=8883, help="where it listens (%(default)s)")
    acl.add_argument(
        "--client-certificates",
        action="store_true",
        help="devices show certificates instead of passwords",
    )
    acl.add_argument("--ingest-user", default="ingest", help="the ingests' name (%(default)s)")
    acl.add_argument(
        "--publisher-user",
        default="publisher",
        help="the name of whoever publishes models (%(default)s)",
    )
    acl.add_argument(
        "--data-directory",
        type=Path,
        default=Path("/var/lib/mosquitto"),
        metavar="DIR",
        help="where Mosquitto keeps its memory (%(default)s)",
    )
    prune = commands.add_parser("prune", help="delete results and events that are old enough")
    _add_store(prune)
    prune.add_argument(
        "--older-than-days", type=float, required=True, metavar="N", help="received before that"
    )
    rollout = commands.add_parser("rollout", help="let a release in by stages, halt by itself")
    fleet_rollout.configure(rollout)
    for command in (ingest, status, export, acl, prune, rollout):
        command.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run one command."""
    if args.command == "status":
        return _status(args)
    if args.command == "rollout":
        return fleet_rollout.run(args)
    from edgeml.fleet import commands

    if args.command == "ingest":
        document, said = commands.ingest(args, broker_connection(args))
    else:
        work = {
            "export": commands.export,
            "mosquitto-acl": commands.mosquitto_acl,
            "prune": commands.prune,
        }
        document, said = work[args.command](args)
    if args.json:
        print_json(document)
    else:
        print(said)
    return 0


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        required=True,
        help="a SQLite file, or postgresql://[USER@]HOST[:PORT]/DATABASE with the password in "
        "~/.pgpass, in the file that PGPASSFILE names, or in PGPASSWORD",
    )


def _status(args: argparse.Namespace) -> int:
    from edgeml.cli.fleet_status import print_once, watch
    from edgeml.fleet.commands import until_told_to_stop
    from edgeml.fleet.stores import open_store

    if not args.interval_s > 0:
        raise ConfigError(f"--interval-s is {args.interval_s}; it should be above 0")
    store = open_store(args.store)
    try:
        if not args.watch:
            print_once(store, as_json=args.json)
            return 0
        watch(store, until_told_to_stop(), args.interval_s, as_json=args.json)
    finally:
        store.close()
    return 0
