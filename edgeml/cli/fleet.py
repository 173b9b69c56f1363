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
import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict
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
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "ingest": _ingest,
        "status": _status,
        "export": _export,
        "mosquitto-acl": _mosquitto_acl,
        "prune": _prune,
        "rollout": fleet_rollout.run,
    }
    return commands[args.command](args)


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        required=True,
        help="a SQLite file, or postgresql://[USER@]HOST[:PORT]/DATABASE with the password in "
        "~/.pgpass, in the file that PGPASSFILE names, or in PGPASSWORD",
    )


def _ingest(args: argparse.Namespace) -> int:
    from edgeml.fleet.ingest import Ingest
    from edgeml.fleet.stores import open_store

    # Somebody who starts a server wants to see that it reached the broker.
    logging.getLogger("edgeml").setLevel(logging.INFO)
    stop = threading.Event()
    ingests: list[Ingest] = []

    def end(*_: object) -> None:
        stop.set()
        for ingest in ingests:
            ingest.wake()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    store = open_store(args.store, create=True)
    ingest = Ingest(broker_connection(args), args.fleet, store)
    ingests.append(ingest)
    try:
        ingest.run(stop)
    finally:
        store.close()
    tally = ingest.tally
    if args.json:
        print_json(asdict(tally))
    else:
        print(
            f"{tally.rows} rows stored, {tally.duplicates} came twice, "
            f"{tally.dead_letters} messages could not be read"
        )
    return 0


def _status(args: argparse.Namespace) -> int:
    from edgeml.cli.fleet_status import print_once, watch
    from edgeml.fleet.stores import open_store

    if not args.interval_s > 0:
        raise ConfigError(f"--interval-s is {args.interval_s}; it should be above 0")
    store = open_store(args.store)
    try:
        if not args.watch:
            print_once(store, as_json=args.json)
            return 0
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        watch(store, stop, args.interval_s, as_json=args.json)
    finally:
        store.close()
    return 0


def _export(args: argparse.Namespace) -> int:
    from edgeml.fleet.export import export
    from edgeml.fleet.stores import open_store

    if args.model is not None and not args.samples:
        raise ConfigError("--model goes with --samples; results name their model in a column")
    store = open_store(args.store)
    try:
        if args.samples:
            from edgeml.fleet.samplefile import export_samples

            samples = store.samples(args.device)
            wanted = (row for row in samples if args.model in (None, row["model"]))
            rows = export_samples(wanted, args.output)
        else:
            rows = export(store.results(args.device), args.output)
    finally:
        store.close()
    if args.json:
        print_json({"rows": rows, "output": str(args.output)})
    else:
        print(f"{rows} {'samples' if args.samples else 'results'} in {args.output}")
    return 0


def _mosquitto_acl(args: argparse.Namespace) -> int:
    from edgeml.fleet.mosquitto import PASSWORDS, BrokerPlan, write_files

    plan = BrokerPlan(
        fleet=args.fleet,
        directory=args.output.absolute(),
        ca_file=args.ca_file.absolute(),
        cert_file=args.cert_file.absolute(),
        key_file=args.key_file.absolute(),
        port=args.port,
        client_certificates=args.client_certificates,
        ingest_user=args.ingest_user,
        publisher_user=args.publisher_user,
        data_directory=args.data_directory,
    )
    conf, acl = write_files(plan)
    passwords = None if plan.client_certificates else plan.directory / PASSWORDS
    if args.json:
        print_json(
            {"configuration": str(conf), "acl": str(acl), "passwords": passwords and str(passwords)}
        )
    else:
        print(f"{conf}\n{acl}")
        if passwords is not None:
            print(f"add each device, its id as its name: mosquitto_passwd {passwords} DEVICE")
    return 0


def _prune(args: argparse.Namespace) -> int:
    from edgeml.clock import SystemClock
    from edgeml.fleet.report import retention_limit
    from edgeml.fleet.stores import open_store

    if not args.older_than_days > 0:
        raise ConfigError(f"--older-than-days is {args.older_than_days}; it should be above 0")
    store = open_store(args.store)
    try:
        rows = store.prune(retention_limit(SystemClock().now_s(), args.older_than_days))
    finally:
        store.close()
    if args.json:
        print_json({"deleted": rows})
    else:
        print(f"{rows} results and events deleted")
    return 0
