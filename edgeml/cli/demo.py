"""Run the whole story on real recordings, and count what arrived.

A device process classifies recordings of a smartwatch and delivers the results
to an ingest, both on this machine. Part way through, the broker is killed and
comes back with empty memory. Exit status 1 unless every result is in the store
exactly once.

It takes Mosquitto where there is one, else the embedded broker (`pip install amqtt`).
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from edgeml.cli.output import format_table, print_json
from edgeml.errors import ConfigError


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
    parser.add_argument("--report", type=Path, metavar="OUT.html", help="also write a report")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Run it; exit status 1 unless everything produced was delivered, each once."""
    from edgeml.demo.report import render
    from edgeml.demo.story import Plan, run, shipped_files

    def say(step: str) -> None:
        print(f"  · {step}", file=sys.stderr, flush=True)

    def end(*_: object) -> None:
        raise KeyboardInterrupt  # so that the processes of the demonstration end with it

    signal.signal(signal.SIGTERM, end)
    if args.report is not None:
        _claim(args.report)
    with shipped_files() as (bundle, recordings), tempfile.TemporaryDirectory() as folder:
        plan = Plan(
            bundle=args.bundle or bundle,
            recordings=args.recordings or recordings,
            repeat=args.repeat,
            rate_hz=args.rate,
            outage_s=args.outage,
            broker=args.broker,
        )
        outcome = run(plan, Path(folder), say)
    count = outcome.tally
    summary = {
        "produced": count.produced,
        "delivered": count.delivered,
        "lost": count.lost,
        "duplicates": count.duplicates,
        "accuracy": round(count.accuracy, 4),
        "p50_us": round(count.p50_us, 1),
        "p99_us": round(count.p99_us, 1),
        "outages": outcome.outages,
        "seconds": round(outcome.seconds, 2),
    }
    if args.report is not None:
        args.report.write_text(render(outcome), encoding="utf-8")
    if args.json:
        print_json(summary)
    else:
        rows: list[tuple[str, object]] = [
            *summary.items(),
            ("broker", outcome.broker),
            ("interpreter", outcome.interpreter),
        ]
        print(format_table(("", outcome.model), rows))
        if args.report is not None:
            print(f"\nThe report: {args.report}")
    return 0 if count.complete else 1


def _claim(report: Path) -> None:
    """Find out before the run, not after it, that the report cannot be written."""
    try:
        report.touch()
    except OSError as exc:
        raise ConfigError(f"{report}: cannot be written ({exc.strerror or exc})") from exc
