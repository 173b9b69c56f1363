"""Both acts of `edgeml demo`, from the verb's options to what there is to say of them."""

import signal
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from edgeml.demo import rollout, story
from edgeml.demo.report import render
from edgeml.errors import ConfigError

_MOST_DEVICES: Final = 50

Table = tuple[tuple[str, str], list[tuple[str, object]]]


def play(
    args: Namespace, say: Callable[[str], None]
) -> tuple[bool, Mapping[str, Any], list[Table]]:
    """Play it.

    Args:
        args: of the verb.
        say: told of each step in one line.

    Returns:
        Whether everything went as the story says; the same in numbers, and in tables.

    Raises:
        ConfigError: an option cannot be, or the report cannot be written.
    """

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
        outcome = story.run(plan, Path(home), say)
        second = None
        if args.devices:
            folder = Path(home) / "rollout"
            folder.mkdir()
            second = rollout.run(plan.bundle, plan.recordings, args.devices, folder, say)
    if args.report is not None:
        args.report.write_text(render(outcome, second), encoding="utf-8")
    summary = outcome.summary()
    ran = [("broker", outcome.broker), ("interpreter", outcome.interpreter)]
    tables: list[Table] = [(("", outcome.model), [*summary.items(), *ran])]
    if second is None:
        return outcome.tally.complete, summary, tables
    told = second.summary()
    tables.append((("", "rollout"), list(told.items())))
    return outcome.tally.complete and second.complete, {**summary, "rollout": told}, tables


def _claim(report: Path) -> None:
    """Find out before the run, not after it, that the report cannot be written."""
    try:
        report.touch()
    except OSError as exc:
        raise ConfigError(f"{report}: cannot be written ({exc.strerror or exc})") from exc
