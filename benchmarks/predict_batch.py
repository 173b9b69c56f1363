"""What `Model.predict_batch` takes for a window, beside the bare interpreter with a resized batch.

The peer is `set_tensor; invoke; get_tensor` on an interpreter whose input is
resized to all the windows at once. It runs twice: bare, on windows that are
already quantised, with outputs left as they are; and on the same job as
`predict_batch`, from sensor units to the best class. All run in turn. For each
model it prints one JSON line; a graph that takes no batch has no peer.

    python benchmarks/predict_batch.py [MODEL.tflite …] [--windows 512] [--rounds 15]
"""

import argparse
import json
import statistics
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter

import numpy as np

from edgeml.runtime.backend import BACKENDS
from edgeml.runtime.model import Model
from edgeml.runtime.quiet import quiet_native_log
from edgeml.runtime.tensors import dequantise, quantise

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
DEFAULT = ("classifier_float", "classifier_int8")


def peers(
    tflite: bytes, package: str, windows: np.ndarray, model: Model
) -> tuple[Callable[[], object], Callable[[], object]]:
    """All windows in one run of the interpreter: bare, and the same job."""
    given = model.input_spec
    shape = (len(windows), *given.shape[1:])
    api = import_module(f"{package}.interpreter")
    with quiet_native_log():
        interpreter = api.Interpreter(model_content=tflite, num_threads=1)
        interpreter.resize_tensor_input(given.number, shape)
        interpreter.allocate_tensors()
    x = quantise(windows.reshape(shape), given)
    out = interpreter.get_output_details()[0]["index"]

    def bare(given_x: np.ndarray = x) -> np.ndarray:
        interpreter.set_tensor(given.number, given_x)
        interpreter.invoke()
        out_copy: np.ndarray = interpreter.get_tensor(out)
        return out_copy

    def same_job() -> object:
        raw = bare(quantise(windows.reshape(shape), given))
        real = dequantise(raw, model.output_specs[0]).reshape(len(windows), -1)
        return real.argmax(axis=1), real.tolist()

    return bare, same_job


def seconds(work: Callable[[], object]) -> float:
    """What one call takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def measure(path: Path, count: int, rounds: int) -> dict[str, object]:
    """Medians of both, for one window."""
    tflite = path.read_bytes()
    with Model.load(tflite) as model:
        shape = model.manifest.inputs.shape
        windows = np.random.default_rng(1).normal(0, 1, (count, *shape)).astype(np.float32)
        try:
            bare, same_job = peers(tflite, BACKENDS[model.info.backend].package, windows, model)
        except RuntimeError:
            return {"model": path.stem, "no_peer": "its graph runs one window at a time"}
        model.predict_batch(windows)
        works = (lambda: model.predict_batch(windows), bare, same_job)
        times = [[seconds(work) for work in works] for _ in range(rounds)]
        ours, alone, job = (
            statistics.median(column) / count * 1e6 for column in zip(*times, strict=True)
        )
        return {
            "model": path.stem,
            "backend": f"{model.info.backend} {model.info.backend_version}",
            "windows": count,
            "rows_of_a_batch": model.batch_rows,
            "predict_batch_us_a_row": round(ours, 3),
            "bare_us_a_row": round(alone, 3),
            "bare_same_job_us_a_row": round(job, 3),
            "ratio_to_bare": round(ours / alone, 3),
            "ratio_to_same_job": round(ours / job, 3),
        }


def main() -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--windows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    for path in arguments.models or [FIXTURES / f"{name}.tflite" for name in DEFAULT]:
        print(json.dumps(measure(path, arguments.windows, arguments.rounds)), flush=True)


if __name__ == "__main__":
    main()
