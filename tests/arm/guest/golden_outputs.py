"""Runs bundles on their own golden windows through edgeml; prints the backend of each.

Usage: golden_outputs.py FOLDER BUNDLE.tflite...  Writes FOLDER/BUNDLE.tflite.npy for each.
"""

import sys
from pathlib import Path

import numpy as np

from edgeml import Model
from edgeml.bundle import Bundle


def main() -> None:
    """Write the raw output tensors of every golden window of every bundle."""
    folder, *bundles = sys.argv[1:]
    for path in bundles:
        golden = Bundle.read(path).golden
        if golden is None:
            raise SystemExit(f"{path} has no golden windows")
        with Model.load(path) as model:
            rows = np.stack([model.run_raw(window) for window in golden.windows])
            print(model.info.backend)
        np.save(Path(folder) / f"{Path(path).name}.npy", rows)


if __name__ == "__main__":
    main()
