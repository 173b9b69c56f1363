"""`edgeml fleet rollout`: leads a release through 1, 10, 50 and 100 % of a group, or halts it."""

import argparse
from dataclasses import asdict
from pathlib import Path

from edgeml.cli.connect import add_broker_options, broker_connection
from edgeml.cli.output import print_json
from edgeml.errors import UpdateError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
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


def run(args: argparse.Namespace) -> int:
    """Lead the rollout; 0 when everybody has it, `UpdateError`'s status when it was halted."""
    from edgeml.fleet.commands import lead

    ending = lead(args, broker_connection(args))
    if args.json:
        print_json(asdict(ending))
    else:
        print(f"{args.release}: {ending.reason}")
        for device, why in sorted(ending.failures.items()):
            print(f"  {device}: {why}")
    return UpdateError.exit_code if ending.halted else 0
