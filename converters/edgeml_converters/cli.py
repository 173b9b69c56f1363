"""Quantise a trained model, measure what that costs, and write the bundle.

  edgeml convert model.keras --calibration train.npz --evaluation test.npz \
      --spec spec.toml -o model.tflite

The scores of every scheme tried go to stdout, as a table or with --json as one
object. Exit status 23 when no scheme keeps its score within --max-drop.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edgeml.cli.output import Progress, format_table, print_json
from edgeml.errors import ConfigError
from edgeml_converters.outcome import Candidate, Conversion, NoneFitsError
from edgeml_converters.schemes import IO_TYPES, SCHEMES


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "source", metavar="SOURCE", help="a .keras, .h5, .skops, .pkl or .joblib file, a SavedModel"
    )
    parser.add_argument(
        "--trust-pickle", action="store_true", help="load a pickle, which executes what is in it"
    )
    parser.add_argument(
        "--calibration", metavar="DATA", help="raw windows: npz, npy or csv", required=True
    )
    parser.add_argument(
        "--evaluation", metavar="DATA", help="raw windows to judge on, held out from training"
    )
    parser.add_argument(
        "--labels", metavar="Y", help="labels of the evaluation data, else of the calibration data"
    )
    parser.add_argument("--spec", metavar="SPEC.toml", required=True, help="sensors, labels, steps")
    parser.add_argument(
        "--scheme", default="int8", metavar="NAME", help=f"auto, {', '.join(SCHEMES)} (int8)"
    )
    parser.add_argument("--io", default="int8", choices=IO_TYPES, help="input and output (int8)")
    parser.add_argument(
        "--max-drop", type=float, metavar="X", help="how much score may be lost (auto: 0.01)"
    )
    parser.add_argument("--max-bytes", type=int, metavar="N", help="how large the model may be")
    parser.add_argument("--metric", help="accuracy, f1, auc, mse or agreement")
    parser.add_argument("--target", metavar="NAME", help="what it is made for")
    parser.add_argument("--created", metavar="TIME", help="ISO 8601, UTC; else SOURCE_DATE_EPOCH")
    parser.add_argument("-o", "--out", metavar="OUT.tflite", help="the bundle (SOURCE.tflite)")
    parser.add_argument(
        "--limit-s", type=float, default=3600, metavar="S", help="give up after so long (3600)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Convert in a process of its own: a file that crashes TensorFlow ends only that."""
    from edgeml_converters.guard import run_guarded

    return run_guarded(vars(args), args.limit_s)


def work(args: argparse.Namespace) -> int:
    """Convert, write, print: what the guarded process does."""
    from edgeml_converters.conversion import convert, step_count
    from edgeml_converters.datafiles import read_labels, read_windows
    from edgeml_converters.spec import read_spec

    spec = read_spec(args.spec)
    out = Path(args.out) if args.out else Path(args.source).with_suffix(".tflite")
    if out.resolve() == Path(args.source).resolve():
        raise ConfigError(f"{out}: the bundle would replace its source; name another with -o")
    calibration, labels = read_windows(args.calibration, spec.inputs)
    windows = calibration
    if args.evaluation:
        windows, labels = read_windows(args.evaluation, spec.inputs)
    if args.labels:
        labels = read_labels(args.labels)
    try:
        with Progress("convert", step_count(args.scheme)) as bar:
            conversion = convert(
                args.source,
                calibration,
                spec=spec,
                evaluation=(windows, labels),
                scheme=args.scheme,
                io=args.io,
                max_drop=args.max_drop,
                max_bytes=args.max_bytes,
                metric=args.metric,
                target=args.target,
                created=args.created,
                trust_pickle=args.trust_pickle,
                progress=bar.update,
            )
    except NoneFitsError as exc:
        _print_candidates(exc.candidates, exc.metric, as_json=args.json)
        raise
    conversion.write(out)
    _print(conversion, out, as_json=args.json)
    return 0


def _print(conversion: Conversion, out: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(conversion.as_json(out))
        return
    _print_candidates(conversion.candidates, conversion.metric, as_json=False)
    for warning in conversion.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"\n{out}: {len(conversion.bundle)} bytes, in {conversion.seconds:.1f} s")


def _print_candidates(candidates: Sequence[Candidate], metric: str, *, as_json: bool) -> None:
    """The table, or, where nothing was chosen, the JSON object that says so."""
    if as_json:
        rows = [candidate.as_json() for candidate in candidates]
        print_json({"chosen": None, "metric": metric, "candidates": rows, "bundle": None})
        return
    print(
        format_table(
            ("scheme", "bytes", metric, "float", "rmse", "agreement", "s", ""),
            [_row(candidate) for candidate in candidates],
        )
    )


def _row(candidate: Candidate) -> list[object]:
    verdict = candidate.verdict
    scores: list[object] = [None] * 4
    if verdict is not None:
        scores = [verdict.score, verdict.score_float, verdict.rmse, verdict.agreement]
    return [candidate.scheme, candidate.bytes, *scores, candidate.seconds, candidate.reason]
