"""`edgeml fleet rollout`: leads a release through 1, 10, 50 and 100 % of a group, or halts it."""

import argparse
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from edgeml.cli.connect import add_broker_options, broker_connection
from edgeml.cli.output import print_json
from edgeml.cli.units import hours, seconds
from edgeml.errors import ConfigError, UpdateError


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
    from edgeml.fleet.conductor import Conductor, Ending
    from edgeml.fleet.repo.repository import Repository
    from edgeml.fleet.repo.ruling import RepositoryRuling
    from edgeml.fleet.staging import Policy

    connection = broker_connection(args)
    expires_s = seconds(args.expires)
    ruling = RepositoryRuling(
        Repository(args.repo),
        args.release,
        args.group,
        connection,
        args.fleet,
        folder=args.http,
        spread_s=seconds(args.spread),
        hours=None if args.hours is None else hours(args.hours),
        expires_s=expires_s,
    )
    policy = Policy(
        _stages(args.stages), args.max_failure_rate, args.confidence, seconds(args.soak)
    )
    conductor = Conductor(
        args.release, ruling, policy, connection, args.fleet, expires_s=expires_s, tell=_tell
    )
    stop = threading.Event()

    def end(*_: object) -> None:
        stop.set()
        conductor.wake()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    ending: Ending = conductor.run(stop)
    if args.json:
        print_json(asdict(ending))
    else:
        print(f"{args.release}: {ending.reason}")
        for device, why in sorted(ending.failures.items()):
            print(f"  {device}: {why}")
    return UpdateError.exit_code if ending.halted else 0


def _tell(upto: int, reason: str) -> None:
    print(f"{upto / 100:g} %: {reason}", file=sys.stderr, flush=True)


def _stages(text: str) -> tuple[int, ...]:
    try:
        return tuple(round(float(part) * 100) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--stages is {text!r}; expected percents, as in 1,10,50,100") from None
