"""Run the whole story on real recordings, and count what arrived.

A device process classifies recordings of a smartwatch and delivers the results
to an ingest, both on this machine. Part way through, the broker is killed and
comes back with empty memory. Then ten devices take a release by stages, and undo
a bad one. Exit status 1 unless every result is in the store exactly once, the
good release is on every device and the bad one on none.

It takes Mosquitto where there is one, else the embedded broker (`pip install amqtt`).
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeml.cli.output import format_table, print_json
from edgeml.errors import ConfigError

if TYPE_CHECKING:
    from edgeml.demo.outcome import Outcome
    from edgeml.demo.rollout import Rollout

_MOST_DEVICES: Final = 50


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
    from edgeml.demo import rollout, story

    def end(*_: object) -> None:
        raise KeyboardInterrupt  # so that the processes of the demonstration end with it

    signal.signal(signal.SIGTERM, end)
    if not 0 <= args.devices <= _MOST_DEVICES:
        raise ConfigError(f"devices is {args.devices}; it should be 0 to {_MOST_DEVICES}")
    if args.report is not None:
        _claim(args.report)
    with story.shipped_files() as (bundle, recordings), tempfile.TemporaryDirectory() as home:
        plan = story.Plan(
            bundle=args.bundle or bundle,
            recordings=args.recordings or recordings,
            repeat=args.repeat,
            rate_hz=args.rate,
            outage_s=args.outage,
            broker=args.broker,
        )
        outcome = story.run(plan, Path(home), _say)
        second = None
        if args.devices:
            folder = Path(home) / "rollout"
            folder.mkdir()
            second = rollout.run(plan.bundle, plan.recordings, args.devices, folder, _say)
    _show(args, outcome, second)
    return 0 if outcome.tally.complete and (second is None or second.complete) else 1


def _say(step: str) -> None:
    print(f"  · {step}", file=sys.stderr, flush=True)


def _show(args: argparse.Namespace, outcome: "Outcome", second: "Rollout | None") -> None:
    from edgeml.demo.report import render

    if args.report is not None:
        args.report.write_text(render(outcome, second), encoding="utf-8")
    summary = outcome.summary()
    told = None if second is None else second.summary()
    if args.json:
        print_json(summary if told is None else {**summary, "rollout": told})
        return
    rows: list[tuple[str, object]] = [
        *summary.items(),
        ("broker", outcome.broker),
        ("interpreter", outcome.interpreter),
    ]
    print(format_table(("", outcome.model), rows))
    if told is not None:
        print("\n" + format_table(("", "rollout"), list(told.items())))
    if args.report is not None:
        print(f"\nThe report: {args.report}")


def _claim(report: Path) -> None:
    """Find out before the run, not after it, that the report cannot be written."""
    try:
        report.touch()
    except OSError as exc:
        raise ConfigError(f"{report}: cannot be written ({exc.strerror or exc})") from exc
