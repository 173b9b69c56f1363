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

from edgeml.cli.output import format_table, print_json
from edgeml.fleet import options
from edgeml.fleet.connecting import add_broker_options, broker_connection


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's commands."""
    options.configure(parser, add_broker_options)


def run(args: argparse.Namespace) -> int:
    """Run one command; a rollout that was halted ends with `UpdateError`'s status."""
    from edgeml.errors import UpdateError
    from edgeml.fleet import commands

    if args.command == "status":
        commands.status(args, format_table, print_json)
        return 0
    if args.command in commands.CONNECTED:
        document, said = commands.CONNECTED[args.command](args, broker_connection(args))
    else:
        document, said = commands.ALONE[args.command](args)
    if args.json:
        print_json(document)
    else:
        print(said)
    return UpdateError.exit_code if document.get("halted") else 0
