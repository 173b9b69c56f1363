"""Test a bundle on this machine: golden vectors, latency and memory against its own budgets.

The file is opened in a process of its own, limited in memory, time and files,
so a corrupt or hostile one can kill that process and nothing else.

Exit status: 0 where every promise holds, 25 where one does not, 11 to 15 where
the file cannot be used at all.
"""

import argparse
from typing import Any

from edgeml.cli.output import INTERPRETERS, format_table, print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's options."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle or a plain .tflite")
    parser.add_argument("--backend", choices=INTERPRETERS, help="the interpreter to use")
    parser.add_argument("--threads", type=int, help="to compute with (default: 1)")
    parser.add_argument("--runs", type=int, default=100, help="timed predictions (default: 100)")
    parser.add_argument("--timeout-s", type=float, default=60.0, help="then it is stopped")
    parser.add_argument("--memory-mb", type=int, default=512, help="the most it may take")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Probe, print, and say by the exit status whether the model may serve."""
    from edgeml.errors import ConfigError, VerificationError
    from edgeml.runtime.probe import ProbeLimits, probe

    if args.runs < 1:
        raise ConfigError(f"--runs is {args.runs}; it takes at least one to measure")
    limits = ProbeLimits(timeout_s=args.timeout_s, memory_mb=args.memory_mb, runs=args.runs)
    report = probe(args.bundle, limits, backend=args.backend, threads=args.threads)
    if args.json:
        print_json(report.as_dict())
    elif report.error is None:
        print(_as_text(report.as_dict()))
    report.raise_error()
    return 0 if report.ok else VerificationError.exit_code


def _as_text(facts: dict[str, Any]) -> str:
    golden = facts["golden"]
    test = "none in the file"
    if golden is not None:
        good = golden["windows"] - golden["failed"]
        test = f"{good} of {golden['windows']} windows within {golden['tolerance']:g}"
    rows = [
        ("model", f"{facts['name']} version {facts['version']} ({facts['task']})"),
        ("digest", facts["digest"]),
        ("interpreter", f"{facts['backend']} {facts['backend_version']}"),
        ("delegate", facts["delegate_error"] or facts["delegate"] or "none asked for"),
        ("golden test", test),
        ("latency", f"p50 {facts['p50_ms']:.3f} ms, p95 {facts['p95_ms']:.3f} ms"),
        (
            "peak RSS",
            "unknown" if facts["peak_rss_mb"] is None else f"{facts['peak_rss_mb']:.0f} MiB",
        ),
    ]
    verdict = [
        "This model keeps its promises on this machine."
        if facts["bundle"]
        else "It runs on this machine. A plain .tflite promises nothing that could be tested."
    ]
    if facts["violations"]:
        verdict = ["BROKEN  " + violation for violation in facts["violations"]]
    return "\n".join([format_table(("what", "found"), rows), "", *verdict])
