"""Measure a bundle on this machine: latency, what edgeml adds, memory, cold start.

Times are medians unless named otherwise. `overhead` is what `predict` takes
above the interpreter alone on an input that is already quantised, the two
measured call by call in turn. The model runs in a process of its own.

Instructions are counted where EDGEML_ARM_LAB names the lab of emulated Raspberry
Pis, as for `edgeml convert`; in a checkout of edgeml: EDGEML_ARM_LAB=tests/arm/lab.py
"""

import argparse

from edgeml.cli.output import INTERPRETERS, format_table, print_json

_NO_OPERATORS = (
    "Times by operator: the Python package of {backend} gives none; TFLite's own C++ "
    "benchmark_model does (--enable_op_profiling=true), and opens this file as it is."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's options."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle or a plain .tflite")
    parser.add_argument("--backend", choices=INTERPRETERS, help="the interpreter to use")
    parser.add_argument("--threads", type=int, help="to compute with (default: 1)")
    parser.add_argument("--runs", type=int, default=2000, help="timed predictions (default: 2000)")
    parser.add_argument(
        "--board",
        choices=("arm64", "armhf"),
        default="arm64",
        help="the emulated Raspberry Pi 4 on which instructions are counted (default: arm64)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from edgeml.runtime.bench import MEASURES, bench

    report = bench(
        args.bundle, args.runs, backend=args.backend, threads=args.threads, board=args.board
    )
    if args.json:
        print_json({key: report[key] for key, _, _ in MEASURES})
        return 0
    rows = [(title, report[key], unit) for key, title, unit in MEASURES]
    print(
        f"{report['name']} version {report['version']} on {report['backend']} "
        f"{report['backend_version']}, {report['runs']} predictions\n"
    )
    print(format_table(("what", "measured", "unit"), rows))
    print(f"\n{_NO_OPERATORS.format(**report)}")
    return 0
