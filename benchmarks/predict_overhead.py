"""What `Model.predict` costs above the bare interpreter, side by side in one run.

The peer is `set_tensor; invoke; get_tensor` on an interpreter of its own. It runs
twice: bare, on an input that is already quantised, with the output left as it is;
and on the same job as `predict`, from sensor units to the best class, written with
numpy as one would. Calls alternate, so all meet the same machine. For each model it
prints one JSON line: medians, what `predict` takes above each, and their ratio.

    python benchmarks/predict_overhead.py [MODEL.tflite …] [--calls 5000]
"""

import argparse
import json
import statistics
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from edgeml.runtime.backend import BACKENDS
from edgeml.runtime.model import Model
from edgeml.runtime.quiet import quiet_native_log
from edgeml.runtime.tensors import quantise

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
DEFAULT = ("identity_float", "classifier_float", "classifier_int8")


def peers(
    tflite: bytes, package: str, window: np.ndarray, model: Model
) -> tuple[Callable[[], object], Callable[[], object]]:
    """The least that the interpreter's own API asks for, and the same job."""
    api = import_module(f"{package}.interpreter")
    with quiet_native_log():
        interpreter = api.Interpreter(model_content=tflite, num_threads=1)
        interpreter.allocate_tensors()
    given = model.input_spec
    x = quantise(window, given).reshape(given.shape)
    into, out = given.number, interpreter.get_output_details()[0]["index"]

    def bare(given_x: np.ndarray = x) -> np.ndarray:
        interpreter.set_tensor(into, given_x)
        interpreter.invoke()
        out_copy: np.ndarray = interpreter.get_tensor(out)
        return out_copy

    made = model.output_specs[0]
    limits = np.iinfo(given.dtype) if given.quantised else None

    def same_job() -> object:
        if not np.isfinite(window).all():
            raise ValueError("NaN or infinity")
        if limits is None:
            real = bare(window.reshape(given.shape)).ravel()
        else:
            steps = np.rint(window / given.scale) + given.zero_point
            whole = np.clip(steps, limits.min, limits.max).astype(given.dtype)
            raw = bare(whole.reshape(given.shape)).ravel()
            real = (raw.astype(np.float32) - made.zero_point) * made.scale
        return int(real.argmax()), real.tolist()

    return bare, same_job


def measure(path: Path, calls: int) -> dict[str, object]:
    """Medians of both, from alternating calls."""
    tflite = path.read_bytes()
    with Model.load(tflite) as model:
        rng = np.random.default_rng(1)
        window = rng.normal(0, 1, model.manifest.inputs.shape).astype(np.float32)
        bare, same_job = peers(tflite, BACKENDS[model.info.backend].package, window, model)
        ours_us, bare_us, job_us = [], [], []
        for i in range(calls + calls // 10):
            t0 = perf_counter_ns()
            bare()
            t1 = perf_counter_ns()
            model.predict(window)
            t2 = perf_counter_ns()
            same_job()
            t3 = perf_counter_ns()
            if i >= calls // 10:
                bare_us.append((t1 - t0) / 1e3)
                ours_us.append((t2 - t1) / 1e3)
                job_us.append((t3 - t2) / 1e3)
        p50, peer_p50, job_p50 = map(statistics.median, (ours_us, bare_us, job_us))
        return {
            "model": path.stem,
            "backend": f"{model.info.backend} {model.info.backend_version}",
            "predict_p50_us": round(p50, 2),
            "bare_p50_us": round(peer_p50, 2),
            "same_job_p50_us": round(job_p50, 2),
            "overhead_us": round(p50 - peer_p50, 2),
            "ratio": round(p50 / peer_p50, 3),
            "ratio_to_same_job": round(p50 / job_p50, 3),
        }


def main() -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--calls", type=int, default=5000)
    arguments = parser.parse_args()
    for path in arguments.models or [FIXTURES / f"{name}.tflite" for name in DEFAULT]:
        print(json.dumps(measure(path, arguments.calls)), flush=True)


if __name__ == "__main__":
    main()
