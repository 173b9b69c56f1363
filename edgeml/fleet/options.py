"""The options of `edgeml fleet`."""

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

AddBroker = Callable[[ArgumentParser], object]


def configure(parser: ArgumentParser, add_broker_options: AddBroker) -> None:
    """Add the verb's commands, and where a broker is needed what names it."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> ArgumentParser:
        return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")

    ingest = command("ingest", "store what devices send, and confirm it")
    add_broker_options(ingest)
    ingest.add_argument("--fleet", default="default", help="whose messages to take (%(default)s)")
    _add_store(ingest)
    status = command("status", "every device: online, results, gaps")
    _add_store(status)
    status.add_argument("--watch", action="store_true", help="show it again and again, until ^C")
    status.add_argument(
        "--interval-s", type=float, default=2.0, metavar="S", help="how often (%(default)s)"
    )
    export = command("export", "every result as CSV or Parquet")
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
    acl = command("mosquitto-acl", "a Mosquitto where devices keep to themselves")
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
    acl.add_argument(
        "--devices", type=int, default=5_000, metavar="N",
        help="how many there will be: Mosquitto queues as much as they need (%(default)s)",
    )  # fmt: skip
    prune = command("prune", "delete results and events that are old enough")
    _add_store(prune)
    prune.add_argument(
        "--older-than-days", type=float, required=True, metavar="N", help="received before that"
    )
    rollout = command("rollout", "let a release in by stages, halt by itself")
    _configure_rollout(rollout, add_broker_options)
    for one in (ingest, status, export, acl, prune, rollout):
        one.add_argument("--json", action="store_true", help="print one JSON object")


def _add_store(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        required=True,
        help="a SQLite file, or postgresql://[USER@]HOST[:PORT]/DATABASE with the password in "
        "~/.pgpass, in the file that PGPASSFILE names, or in PGPASSWORD",
    )


def _configure_rollout(parser: ArgumentParser, add_broker_options: AddBroker) -> None:
    parser.add_argument("release", metavar="RELEASE", help="NAME-VERSION, such as activity-2")
    parser.add_argument("--repo", type=Path, required=True, metavar="DIR", help="the repository")
    add_broker_options(parser)
    parser.add_argument("--fleet", default="default", help="whose devices (%(default)s)")
    parser.add_argument("--group", default="default", help="in which group (%(default)s)")
    parser.add_argument("--http", type=Path, metavar="DIR", help="publish in this folder, too")
    parser.add_argument(
        "--stages", default="1,10,50,100", metavar="P,P,…", help="in percent (%(default)s)"
    )
    parser.add_argument(
        "--max-failure-rate", type=float, default=0.05, metavar="R",
        help="of devices, that is borne (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--confidence", type=float, default=0.95, metavar="C",
        help="with which the rate must be known (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--soak", default="10m", metavar="TIME", help="a stage lasts at least so long (%(default)s)"
    )
    parser.add_argument("--spread", default="0s", metavar="TIME", help="spread a stage's downloads")
    parser.add_argument("--hours", metavar="HH-HH", help="devices install only then: 02-05")
    parser.add_argument(
        "--expires", default="2h", metavar="TIME",
        help="so long after this program ended nobody further gets it (%(default)s)",
    )  # fmt: skip
