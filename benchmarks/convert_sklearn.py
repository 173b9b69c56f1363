"""Every estimator that is compiled, beside scikit-learn: the same answers, and the time for a row.

The peer is scikit-learn's own predict_proba, decision_function, predict,
transform or score_samples, whichever the outputs are held to (`method`), in the
same process on the same held-out rows. For each estimator and data set it
prints one JSON line:

- `agreement`: rows with the same class or cluster; `error`: the largest difference of an
  output, as a share of the largest output.
- `row_us`: one row at a time through the interpreter (write, invoke, read), as a
  device gets them; `sklearn_row_us`: one call of `method` with one row;
  `times_faster` is their ratio. Each is the fastest of several rounds in turns.
- `sklearn_batch_row_us`: one call with all rows, for each row of them. The
  interpreter has no batch of a compiled estimator, so `row_us` is its figure there,
  too; `times_faster_in_batch` below 1 says that scikit-learn is the faster one then.

The last line is the 50-tree forest on digits through the whole of `Model.predict`
(window in, label out). Exit status 1 where a class differs, an error is above
the case's tolerance, or that forest is less than 100 times faster for a row.

    python benchmarks/convert_sklearn.py [--only RandomForest] [--rounds 7]
"""

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml import Model
from edgeml.manifest import InputSpec, OutputSpec, channels
from edgeml.runtime.backend import open_backend
from edgeml_converters import Spec, convert
from edgeml_converters.lite import convert_saved_model
from edgeml_converters.measure import run_tflite
from edgeml_converters.schemes import SCHEMES
from edgeml_converters.slim import slim
from edgeml_converters.sources import open_source
from edgeml_converters.sources.sklearn.compiling import compile_estimator

ROOT: Final = Path(__file__).parents[1]
WANTED: Final = 100.0
Floats = npt.NDArray[np.float32]


def main() -> int:
    """Print one JSON line for each estimator and data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="estimators with this in their names")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(ROOT))
    from tests.converters.sklearn_cases import CASES, DATASETS, fitted, load

    data = {name: load(name) for name in DATASETS}
    good = True
    for case in (one for one in CASES if arguments.only in one.name):
        for name in case.on:
            estimator = fitted(case, data[name])
            line = compare(estimator, data[name].held_out, arguments.rounds)
            good &= line.get("agreement", 1.0) == 1.0 and line["error"] <= case.tolerance
            print(json.dumps({"estimator": case.name, "data": name, **line}), flush=True)
    forest = next(one for one in CASES if one.name == "RandomForestClassifier")
    if arguments.only in forest.name:
        line = headline(fitted(forest, data["digits"]), data["digits"].held_out, arguments.rounds)
        print(json.dumps(line))
        good &= line["times_faster"] >= WANTED and line["agreement"] == 1.0
    return 0 if good else 1


def compare(estimator: Any, rows: Floats, rounds: int) -> dict[str, Any]:
    """One estimator on one data set."""
    model = open_source(estimator)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        none = np.empty((0, *model.input_shape), np.float32)
        tflite = slim(convert_saved_model(Path(folder), SCHEMES["float32"], "float", none))
    expected, made = model.predict(rows), run_tflite(tflite, rows).outputs
    method = compile_estimator(estimator).head.method
    theirs, wide = getattr(estimator, method), rows.astype(np.float64)
    run, one, own = open_backend(tflite).run, wide[:1], rows[:1].copy()
    row_s, sklearn_s, batch_s = fastest(
        [lambda: run(own), lambda: theirs(one), lambda: theirs(wide)], [500, 20, 1], rounds
    )
    batch_row_s = batch_s / len(rows)
    same = float(np.mean(made.argmax(1) == expected.argmax(1)))
    return {
        "method": method,
        **({"agreement": same} if model.labels else {}),
        "error": float(np.abs(made - expected).max() / np.abs(expected).max()),
        "bytes": len(tflite),
        "row_us": round(row_s * 1e6, 2),
        "sklearn_row_us": round(sklearn_s * 1e6, 1),
        "times_faster": round(sklearn_s / row_s, 1),
        "sklearn_batch_row_us": round(batch_row_s * 1e6, 2),
        "times_faster_in_batch": round(batch_row_s / row_s, 3),
    }


def headline(forest: Any, rows: Floats, rounds: int) -> dict[str, Any]:
    """A forest through the whole of `Model.predict`, beside predict_proba called for each row."""
    size = rows.shape[1]
    windows = rows[:, np.newaxis, :]
    inputs = InputSpec(channels([f"c{i}" for i in range(size)]), None, 1, 1, (1, size))
    spec = Spec("forest", 1, inputs, OutputSpec("classification", tuple(map(str, range(10)))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forest.tflite"
        convert(forest, windows, spec=spec, scheme="float32").write(path)
        model = Model.load(path)
    wide = rows.astype(np.float64)
    labels = [model.predict(window).label for window in windows]
    window, one = windows[0], wide[:1]
    ours, theirs, batch = fastest(
        [
            lambda: model.predict(window),
            lambda: forest.predict_proba(one),
            lambda: forest.predict_proba(wide),
        ],
        [500, 20, 1],
        rounds,
    )
    return {
        "estimator": f"RandomForestClassifier, {len(forest.estimators_)} trees, Model.predict",
        "data": "digits",
        "agreement": float(np.mean(np.array(labels, int) == forest.predict(wide))),
        "row_us": round(ours * 1e6, 2),
        "sklearn_row_us": round(theirs * 1e6, 1),
        "times_faster": round(theirs / ours, 1),
        "sklearn_batch_row_us": round(batch / len(rows) * 1e6, 2),
        "times_faster_in_batch": round(batch / len(rows) / ours, 3),
    }


def fastest(work: list[Callable[[], object]], calls: list[int], rounds: int) -> list[float]:
    """The seconds of one call of each, the fastest of several rounds in turns."""
    best = [float("inf")] * len(work)
    for _ in range(rounds):
        for i, (job, count) in enumerate(zip(work, calls, strict=True)):
            started = perf_counter()
            for _ in range(count):
                job()
            best[i] = min(best[i], (perf_counter() - started) / count)
    return best


if __name__ == "__main__":
    sys.exit(main())
