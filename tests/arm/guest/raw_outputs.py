"""Runs int8 models on random input with whichever interpreter this machine has.

Usage: raw_outputs.py FOLDER WINDOWS MODEL.tflite...  Writes FOLDER/MODEL.tflite.npy for each.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

import numpy as np

SEED = 7


def main() -> None:
    """Write what every model answers to the same WINDOWS inputs."""
    folder, count, *models = sys.argv[1:]
    for model in models:
        np.save(Path(folder) / f"{Path(model).name}.npy", outputs(model, int(count)))


def outputs(model: str, count: int) -> np.ndarray:
    """Int8 outputs, one row an input; int8 draws are the same on 32 and 64 bits."""
    found = interpreter_class()(model_path=model, num_threads=1)
    found.allocate_tensors()
    entry, end = found.get_input_details()[0], found.get_output_details()[0]
    random = np.random.RandomState(SEED)
    rows = []
    for _ in range(count):
        window = random.randint(-128, 128, size=entry["shape"], dtype=np.int8)
        found.set_tensor(entry["index"], window)
        found.invoke()
        rows.append(found.get_tensor(end["index"]).copy())
    return np.stack(rows)


def interpreter_class() -> type:
    """LiteRT's Interpreter, or tflite-runtime's where that is what is installed."""
    known = ("ai_edge_litert", "tflite_runtime")
    installed = [name for name in known if importlib.util.find_spec(name)]
    if not installed:
        raise SystemExit(f"none of {', '.join(known)} is installed on this machine")
    found: type = importlib.import_module(f"{installed[0]}.interpreter").Interpreter
    return found


if __name__ == "__main__":
    main()
