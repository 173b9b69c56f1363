r"""Quantise a trained model, measure what that costs, and write the bundle.

  edgeml convert model.keras --calibration train.npz --evaluation test.npz \
      --spec spec.toml -o model.tflite
  edgeml convert --init model.keras -o spec.toml

DATA is a .npz, .npy, .csv or .wav file, or a folder of .wav or images, labelled
by the names of its subfolders. Without --spec the channels are numbered and
nothing is preprocessed; --init writes a spec to fill in. Without labels files
are judged by their agreement with the float model.

The scores of every scheme tried go to stdout, as a table or with --json as one
object. Exit status 23 when no scheme keeps its score within --max-drop.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edgeml.cli.output import Progress, format_table, print_json
from edgeml.errors import ConfigError, InputError
from edgeml_converters.outcome import Candidate, Conversion, NoneFitsError
from edgeml_converters.schemes import IO_TYPES, SCHEMES
from edgeml_converters.targets import TARGETS

REASON_WIDTH: Final = 60
"""Characters of a line of the table's last column, so that the whole fits on a wide terminal."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", metavar="SOURCE", help="a model's file or folder")
    parser.add_argument(
        "--trust-pickle", action="store_true", help="load a pickle, which executes what is in it"
    )
    parser.add_argument(
        "--init", action="store_true", help="write a spec for SOURCE to fill in, and no more"
    )
    parser.add_argument("--calibration", metavar="DATA", help="raw windows, as in training")
    parser.add_argument(
        "--evaluation", metavar="DATA", help="raw windows to judge on, held out from training"
    )
    parser.add_argument(
        "--labels", metavar="Y", help="labels of the evaluation data, else of the calibration data"
    )
    parser.add_argument("--spec", metavar="SPEC.toml", help="sensors, labels, steps")
    parser.add_argument(
        "--scheme", default="auto", metavar="NAME", help=f"auto (default), {', '.join(SCHEMES)}"
    )
    parser.add_argument("--io", default="int8", choices=IO_TYPES, help="input and output (int8)")
    parser.add_argument(
        "--max-drop", type=float, metavar="X", help="how much score may be lost (auto: 0.01)"
    )
    parser.add_argument("--max-bytes", type=int, metavar="N", help="how large the model may be")
    parser.add_argument("--metric", help="accuracy, f1, auc, mse or agreement")
    parser.add_argument("--target", metavar="NAME", help=f"one of {', '.join(TARGETS)}")
    parser.add_argument("--report", metavar="OUT.html", help="a page to decide from")
    parser.add_argument("--created", metavar="TIME", help="ISO 8601, UTC; else SOURCE_DATE_EPOCH")
    parser.add_argument(
        "-o", "--out", metavar="OUT", help="the bundle (SOURCE.tflite), or with --init the spec"
    )
    parser.add_argument(
        "--limit-s", type=float, default=3600, metavar="S", help="give up after so long (3600)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Convert in a process of its own: a file that crashes TensorFlow ends only that."""
    from edgeml_converters.guard import run_guarded

    if not args.init and args.calibration is None:
        raise ConfigError("--calibration is missing: name the raw windows that training used")
    if not args.init:
        _check_places(args, _out(args))
        for path in (args.calibration, args.evaluation, args.labels):
            if path is not None and not Path(path).exists():  # before TensorFlow takes its seconds
                raise InputError(f"{path}: cannot be read (no such file or folder)")
    return run_guarded(vars(args), args.limit_s)


def work(args: argparse.Namespace) -> int:
    """Convert, write, print: what the guarded process does."""
    return _init(args) if args.init else _convert(args)


def _init(args: argparse.Namespace) -> int:
    from edgeml_converters.guess import guess_spec, name_of, spec_text
    from edgeml_converters.sources import open_source

    out = None if args.out is None else Path(args.out)
    if out is not None and out.exists():
        raise ConfigError(f"{out}: is there already; name another file with -o")
    model = open_source(args.source, trust_pickle=args.trust_pickle)
    text = spec_text(guess_spec(model, name_of(args.source)), model)
    if out is None and not args.json:
        sys.stdout.write(text)
        return 0
    if out is not None:
        try:
            out.write_text(text, "utf-8")
        except OSError as exc:
            raise ConfigError(f"{out}: cannot be written ({exc.strerror or exc})") from exc
    if args.json:
        print_json({"spec": None if out is None else str(out), "text": text})
    else:
        print(f"{out}: fill it in, then: edgeml convert {args.source} --spec {out} --calibration …")
    return 0


def _convert(args: argparse.Namespace) -> int:
    from edgeml_converters.conversion import convert, step_count
    from edgeml_converters.datafiles import read_labels
    from edgeml_converters.report import write_report
    from edgeml_converters.spec import read_spec

    started_s = time.monotonic()
    spec = None if args.spec is None else read_spec(args.spec)
    out = _out(args)
    try:
        with Progress("convert", step_count(args.scheme, args.target)) as bar:
            conversion = convert(
                args.source,
                args.calibration,
                spec=spec,
                evaluation=args.evaluation,
                labels=read_labels(args.labels) if args.labels else None,
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
        if args.json:
            print_json(exc.as_json(time.monotonic() - started_s))
        else:
            _print_candidates(exc.candidates, exc.metric)
        raise
    conversion.write(out)
    if args.report:
        write_report(conversion, args.report)
    _print(conversion, out, as_json=args.json)
    return 0


def _out(args: argparse.Namespace) -> Path:
    """Where the bundle goes: beside its source, where nobody named a place."""
    from edgeml_converters.guess import name_of

    if args.out:
        return Path(args.out)
    source = Path(args.source)
    if not source.name:
        raise ConfigError(f"{source}: has no name that the bundle could take; name it with -o")
    return source.with_name(f"{name_of(source)}.tflite")


def _check_places(args: argparse.Namespace, out: Path) -> None:
    """Object to places that cannot be written, or hold what was given, before any work."""
    given = (args.source, args.calibration, args.evaluation, args.labels, args.spec)
    taken = {Path(one).resolve(): "what it is made from" for one in given if one}
    written = [(out, "the bundle")]
    if args.report:
        written.append((Path(args.report), "the report"))
    for path, what in written:
        if not path.parent.is_dir():
            raise ConfigError(f"{path}: {path.parent} is no folder; make it, or name another")
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; name a file in it for {what}")
        if path.resolve() in taken:
            raise ConfigError(
                f"{path}: {what} would replace {taken[path.resolve()]}; name another file"
            )
        taken[path.resolve()] = what


def _print(conversion: Conversion, out: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(conversion.as_json(out))
        return
    _print_candidates(conversion.candidates, conversion.metric)
    for warning in conversion.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    hurts = conversion.analysis.hurts
    if hurts is not None:
        fall = next(one.fall_db for one in conversion.analysis.layers if one.name == hurts)
        print(f"\nthe layer that loses most is {hurts}: {fall:.1f} dB")
    said = conversion.chosen_estimate
    if said is not None:
        figures = ", ".join(f"{name} {value:,.6g}" for name, value in said.figures.items())
        cost = f"{figures}; source: {said.source}"
        nothing = f"cost not estimated: {said.why_none}"
        print(f"\non {said.target}: {cost if figures else nothing}")
    print(f"\n{out}: {len(conversion.bundle)} bytes, in {conversion.seconds:.1f} s")


def _print_candidates(candidates: Sequence[Candidate], metric: str) -> None:
    agreement = () if metric == "agreement" else ("agreement",)
    heads = ("scheme", "bytes", metric, "float", "drop", "95 %", "rmse", *agreement, "s", "")
    rows = [_row(candidate, len(agreement)) for candidate in candidates]
    print(format_table(heads, rows, REASON_WIDTH))


def _row(candidate: Candidate, agreements: int) -> list[object]:
    one = candidate.verdict
    scores: list[object] = [None] * (5 + agreements)
    if one is not None:
        between = f"{one.drop_low:.3f} to {one.drop_high:.3f}"
        scores = [one.score, one.score_float, one.drop, between, one.rmse]
        scores += [one.agreement] * agreements
    return [candidate.scheme, candidate.bytes, *scores, candidate.seconds, candidate.reason]
