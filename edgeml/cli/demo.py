"""Run the whole story on real recordings, and count what arrived.

A device process classifies recordings of a smartwatch and delivers the results
to an ingest, both on this machine. Part way through, the broker is killed and
comes back with empty memory. Then ten devices take a release by stages, and undo
a bad one. Exit status 1 unless every result is in the store exactly once, the
good release is on every device and the bad one on none.

It takes Mosquitto where there is one, else the embedded broker (`pip install amqtt`).
"""

import argparse
import sys
from pathlib import Path

from edgeml.cli.output import format_table, print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's options."""
    parser.add_argument("--bundle", type=Path, help="another model than the one that is shipped")
    parser.add_argument("--recordings", type=Path, help="an NPZ with recordings and labels for it")
    parser.add_argument("--repeat", type=int, default=15, help="play all recordings so often (15)")
    parser.add_argument("--rate", type=float, default=60.0, help="recordings a second (60)")
    parser.add_argument("--outage", type=float, default=3.0, help="seconds without a broker (3)")
    parser.add_argument(
        "--broker", choices=("auto", "mosquitto", "embedded"), default="auto", help="which broker"
    )
    parser.add_argument(
        "--devices", type=int, default=10, help="in the rollout (10); 0 leaves it out"
    )
    parser.add_argument("--report", type=Path, metavar="OUT.html", help="also write a report")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Run it; exit status 1 unless everything went as the story says."""
    from edgeml.demo.playing import play

    complete, document, tables = play(args, _say)
    if args.json:
        print_json(document)
    else:
        print("\n\n".join(format_table(*table) for table in tables))
        if args.report is not None:
            print(f"\nThe report: {args.report}")
    return 0 if complete else 1


def _say(step: str) -> None:
    print(f"  · {step}", file=sys.stderr, flush=True)
