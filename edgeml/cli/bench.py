"""Measure a bundle on this machine: latency, what edgeml adds, memory, cold start.

Times are medians unless named otherwise. `overhead` is what `predict` takes
above the interpreter alone on an input that is already quantised, the two
measured call by call in turn. The model runs in a process of its own.
"""

import argparse

from edgeml.cli.output import format_table, print_json

_TEXT = (
    ("p50_us", "predict, median", "µs"),
    ("p95_us", "predict, 95th percentile", "µs"),
    ("p99_us", "predict, 99th percentile", "µs"),
    ("pre_us", "  preprocessing", "µs"),
    ("invoke_us", "  quantisation and interpreter", "µs"),
    ("post_us", "  postprocessing", "µs"),
    ("overhead_us", "above the interpreter alone", "µs"),
    ("peak_rss_mb", "peak RSS of the process", "MiB"),
    ("cold_start_ms", "from the start of Python to a result", "ms"),
    ("instructions", "instructions a prediction (ARM lab)", ""),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's options."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle or a plain .tflite")
    parser.add_argument("--backend", choices=("litert", "tflite"), help="the interpreter to use")
    parser.add_argument("--threads", type=int, help="to compute with (default: 1)")
    parser.add_argument("--runs", type=int, default=2000, help="timed predictions (default: 2000)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from edgeml.runtime.bench import bench

    report = bench(args.bundle, args.runs, backend=args.backend, threads=args.threads)
    if args.json:
        print_json(report)
        return 0
    rows = [(title, report[key], unit) for key, title, unit in _TEXT]
    print(
        f"{report['name']} version {report['version']} on {report['backend']} "
        f"{report['backend_version']}, {report['runs']} predictions\n"
    )
    print(format_table(("what", "measured", "unit"), rows))
    return 0
