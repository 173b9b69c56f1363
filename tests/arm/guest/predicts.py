"""A prediction N times, for counting instructions.  Usage: predicts.py bare|predict N MODEL.tflite.

`bare` is what the interpreter's own API asks for; `predict` goes from sensor units to an answer.
"""

import sys
from pathlib import Path

import numpy as np
from raw_outputs import interpreter_class

from edgeml.runtime.model import Model


def main() -> None:
    """Load once, predict N times."""
    way, times, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if way == "predict":
        with Model.load(path) as model:
            window = np.zeros(model.manifest.inputs.shape, np.float32)
            for _ in range(times):
                model.predict(window)
        return
    interpreter = interpreter_class()(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    x = np.zeros(given["shape"], given["dtype"])
    for _ in range(times):
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        interpreter.get_tensor(made["index"])


if __name__ == "__main__":
    main()
