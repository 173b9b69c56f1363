"""Run a bundle over files: recordings (CSV) or arrays of windows (NPY, NPZ), to CSV or JSON lines.

A CSV has a header; `time_s` and `label` are special, the other columns are the
model's channels, in any order. It is cut into windows by the manifest's length
and stride. An NPY or NPZ holds windows (n, …) or recordings (n, samples,
channels), in the sensor's units; of an NPZ the array `windows` or `x`, else
`recordings`, `samples` or `codes`, else the only one is read. A WAV, and a
folder of WAVs or of images, are read too.

Without -o the results go to stdout as CSV: a column p_LABEL for each label, or
where the numbers have no names of their own one column `outputs` with all of
them. Each window is answered by itself: what steadies a device's answers over
time, the manifest's `smoothing`, is left out. With --json stdout holds one JSON
object that sums up, and -o is needed.
"""

import argparse
import contextlib
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import IO, TYPE_CHECKING, Any

from edgeml.cli.output import INTERPRETERS, Progress, print_json, result_row
from edgeml.errors import ConfigError, EdgeMLError, InputError

if TYPE_CHECKING:
    from edgeml.result import Result
    from edgeml.runtime.model import Model

BATCH = 1024
"""Windows that are held and predicted together."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this verb's options."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle or a plain .tflite")
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+", help="a .csv, .npy, .npz or .wav file, or a folder"
    )
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, help="a .csv or .jsonl file (default: stdout)"
    )
    parser.add_argument("--backend", choices=INTERPRETERS, help="the interpreter to use")
    parser.add_argument("--threads", type=int, help="to compute with (default: 1)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Predict every window of every file."""
    from edgeml.runtime.model import Model

    if args.json and args.output is None:
        raise ConfigError("--json keeps stdout for its summary; name the results' file with -o")
    labels: Counter[str] = Counter()
    windows = 0
    start = perf_counter()
    with Model.load(args.bundle, backend=args.backend, threads=args.threads) as model:
        title = f"{model.ref.name}"
        with (
            _writer(args.output, model) as write,
            Progress(title, len(args.inputs), quiet=args.output is None) as bar,
        ):
            for done, name in enumerate(args.inputs, 1):
                for i, result in enumerate(_predict_file(model, Path(name))):
                    write(name, i, result)
                    labels[result.label or ""] += 1
                    windows += 1
                bar.update(done, name)
        seconds = perf_counter() - start
        summary = {
            "model": model.ref.name,
            "version": model.ref.version,
            "digest": model.ref.digest,
            "files": len(args.inputs),
            "windows": windows,
            "labels": {label: count for label, count in labels.most_common() if label},
            "seconds": seconds,
        }
    if args.json:
        print_json({**summary, "output": str(args.output)})
    elif args.output is not None:
        print(f"{windows} windows of {len(args.inputs)} files in {seconds:.2f} s → {args.output}")
    return 0


def _predict_file(model: "Model", path: Path) -> "Iterator[Result]":
    if path.suffix.lower() == ".csv":
        yield from _predict_recording(model, path)
    else:
        yield from _predict_windows(model, path)


def _predict_recording(model: "Model", path: Path) -> "Iterator[Result]":
    """Window by window in time, so that filters run on as they do on a device."""
    from edgeml.sensors import Replay, Windower
    from edgeml.sourcecheck import complain_of_holes, complain_of_nothing

    inputs = model.manifest.inputs
    names = [channel.name for channel in inputs.channels]
    source = Replay(path, sample_rate_hz=inputs.sample_rate_hz, channels=names, start_s=0.0)
    windower = Windower(inputs)
    for sample in source:
        window = windower.push(sample)
        if window is None:
            continue
        try:
            result = model.predict(window.data, window.start_s, window.end_s, window.new)
        except InputError:  # as a device does with a reading that preprocessing cannot hold
            windower.leave_out()
        else:
            yield result
    complain_of_holes(windower.stats, path)
    complain_of_nothing(windower.stats, model)


def _predict_windows(model: "Model", path: Path) -> "Iterator[Result]":
    """Windows that are each complete in themselves."""
    from edgeml.sensors.windowfile import read_windows

    windows = read_windows(path, model.manifest.inputs).windows
    for start in range(0, len(windows), BATCH):
        yield from model.predict_batch(windows[start : start + BATCH])


@contextlib.contextmanager
def _writer(path: Path | None, model: "Model") -> Iterator[Any]:
    """A function that writes one result; the file appears whole or not at all."""
    if path is None:
        yield _csv_writer(sys.stdout, model)
        return
    writers = {".csv": _csv_writer, ".jsonl": _json_writer}
    if path.suffix.lower() not in writers:
        raise ConfigError(f"{path}: results are written as {' or '.join(writers)}")
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", newline="", encoding="utf-8") as file:
            yield writers[path.suffix.lower()](file, model)
        part.replace(path)
    except EdgeMLError:
        raise  # the input's fault, though a SensorError is an OSError too
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be written ({exc.strerror or exc})") from exc
    finally:
        part.unlink(missing_ok=True)


def _csv_writer(file: IO[str], model: "Model") -> Any:
    outputs = model.manifest.outputs
    # A detector's labels are those of objects, and its numbers rows of six for each of them.
    named = outputs.labels if outputs.task != "detection" else ()
    columns = [f"p_{label}" for label in named] or ["outputs"]
    writer = csv.writer(file)
    writer.writerow(["file", "window", "start_s", "end_s", "label", "score", *columns])

    def write(name: str, i: int, result: "Result") -> None:
        numbers: Sequence[object] = (
            result.outputs if named else [" ".join(map(str, result.outputs))]
        )
        label = "" if result.label is None else result.label
        writer.writerow([name, i, result.start_s, result.end_s, label, result.score, *numbers])

    return write


def _json_writer(file: IO[str], _: "Model") -> Any:
    def write(name: str, i: int, result: "Result") -> None:
        row = {"file": name, "window": i, **result_row(result)}
        file.write(json.dumps(row, ensure_ascii=False) + "\n")

    return write
