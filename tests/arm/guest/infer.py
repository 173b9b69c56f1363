"""Runs a model N times on zeros, for counting instructions.  Usage: infer.py N MODEL.tflite."""

import sys

import numpy as np
from raw_outputs import interpreter_class


def main() -> None:
    """Load once, invoke N times."""
    model = interpreter_class()(model_path=sys.argv[2], num_threads=1)
    model.allocate_tensors()
    entry = model.get_input_details()[0]
    window = np.zeros(entry["shape"], entry["dtype"])
    for _ in range(int(sys.argv[1])):
        model.set_tensor(entry["index"], window)
        model.invoke()


if __name__ == "__main__":
    main()
