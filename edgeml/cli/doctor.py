"""Find what is wrong with this machine: each finding with its cause and the command that mends it.

Checks Python, the machine, the interpreter, numpy's fit with it, the optional
packages, the disk, the clock, the groups that sensors need and, with --broker,
whether the broker answers; with --config a device's models, its broker, and whether
what is published for it is believed. Exit status 1 where something is broken.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from edgeml.cli.output import print_json
from edgeml.doctor import Finding, Level, examine


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's options."""
    parser.add_argument(
        "--broker", metavar="URL", help="also try this broker: mqtt://host or mqtts://host"
    )
    parser.add_argument(
        "--state",
        metavar="DIR",
        type=Path,
        help="the folder that will hold the outbox (default: where edgeml keeps its state)",
    )
    parser.add_argument(
        "--config", metavar="CONFIG.toml", type=Path,
        help="a device's file: also try its models, its broker, and what it takes updates from",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Examine, print, and say by the exit status whether all is well."""
    from edgeml.sync.settings import state_directory

    config = None
    if args.config is not None:
        from edgeml.daemon.config import read_config

        config = read_config(args.config)
    state_folder = args.state or state_directory()
    findings = examine(broker=args.broker, state_folder=state_folder, config=config)
    broken = any(finding.level is Level.BROKEN for finding in findings)
    if args.json:
        print_json(
            {
                "healthy": not broken,
                "findings": [
                    {
                        "check": f.check,
                        "level": f.level.value,
                        "found": f.found,
                        "cause": f.cause,
                        "cure": f.cure,
                    }
                    for f in findings
                ],
            }
        )
    else:
        print(_as_text(findings))
    return 1 if broken else 0


_MARKS = {Level.GOOD: "ok     ", Level.WARNING: "warning", Level.BROKEN: "BROKEN "}


def _as_text(findings: Sequence[Finding]) -> str:
    lines = []
    for finding in findings:
        lines.append(f"{_MARKS[finding.level]}  {finding.check}: {finding.found}")
        if finding.cause:
            lines.append(f"           because {finding.cause}")
        if finding.cure:
            lines.append(f"           cure: {finding.cure}")
    worst = sum(finding.level is Level.BROKEN for finding in findings)
    lines.append("")
    lines.append(f"{worst} broken" if worst else "This machine is fit to run edgeml.")
    return "\n".join(lines)
