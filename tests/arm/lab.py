"""The command line of the emulated boards: build one, run Python on it, count, run the suite.

Examples:
    python tests/arm/lab.py setup arm64 armhf
    python tests/arm/lab.py run arm64 -- -c "import platform; print(platform.machine())"
    python tests/arm/lab.py count arm64 --core pi3 -- script.py
    python tests/arm/lab.py cost arm64 --core pi5 model.tflite other.tflite
    python tests/arm/lab.py suite armhf
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from armlab import (
    MACHINES,
    LabError,
    cost_of_inference,
    count_instructions,
    install_wheel,
    machine_named,
    prepare,
)
from armlab.emulate import enter
from armlab.suite import newest_wheel, run_suite

_CHECKOUT: Final = Path(__file__).resolve().parents[2]


def main(argv: Sequence[str]) -> int:
    """Do what `argv` says; the exit status, 2 where the lab itself failed."""
    split = argv.index("--") if "--" in argv else len(argv)
    own, guests = argv[:split], argv[split + 1 :]
    try:
        return _dispatch(_parser().parse_args(own), guests)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2


def _dispatch(arguments: argparse.Namespace, guests: Sequence[str]) -> int:
    if arguments.verb == "setup":
        for name in arguments.machines:
            prepare(machine_named(name))
        return 0
    machine = machine_named(arguments.machine)
    prepare(machine)
    if arguments.wheel:
        install_wheel(machine, arguments.wheel)
    if arguments.verb == "run":
        return enter(machine, arguments.core, guests)
    if arguments.verb == "count":
        core = arguments.core or machine.default_core
        print(count_instructions(machine, core, guests))
        return 0
    if arguments.verb == "cost":
        core = arguments.core or machine.default_core
        counts = {str(path): cost_of_inference(machine, core, path) for path in arguments.models}
        print(json.dumps(counts))
        return 0
    if not arguments.wheel:
        install_wheel(machine, newest_wheel(_CHECKOUT))
    return run_suite(machine, _CHECKOUT, bounded=arguments.bounded, extra=guests)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lab.py",
        description="Raspberry Pis under emulation.",
        epilog="What follows -- is for the machine's python, or for pytest in `suite`.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    setup = verbs.add_parser("setup", help="build machines that are not built yet")
    setup.add_argument("machines", nargs="+", choices=tuple(MACHINES))
    run = verbs.add_parser("run", help="run python with these arguments")
    count = verbs.add_parser("count", help="print the ARM instructions that python executes")
    cost = verbs.add_parser("cost", help="print what one inference of each model executes, as JSON")
    suite = verbs.add_parser("suite", help="the device tests and `edgeml demo`")
    for verb in (run, count, cost, suite):
        verb.add_argument("machine", choices=tuple(MACHINES))
        verb.add_argument("--wheel", type=Path, help="install this wheel of edgeml first")
    for verb in (run, count, cost):
        verb.add_argument("--core", help="pi3, pi4 or pi5; on armhf pi2 or pi4")
    cost.add_argument("models", nargs="+", type=Path, metavar="MODEL.tflite")
    suite.add_argument("--bounded", action="store_true", help="contract tests and demo only")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
