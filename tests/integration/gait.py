"""The model that the tests of the runtime load: a gait's bundle around the small fixtures."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.manifest import InputSpec, Manifest, OutputSpec, PreprocessStep, channels

FIXTURES = Path(__file__).parents[1] / "fixtures"
LABELS = ("still", "walk", "run", "jump")
STEPS = (PreprocessStep("standardize", {"mean": [0.5, 0, -0.5], "std": [2, 1, 0.5]}),)


def fixture(name: str) -> bytes:
    return (FIXTURES / f"{name}.tflite").read_bytes()


def windows(count: int, rows: int = 20) -> npt.NDArray[np.float32]:
    i = np.arange(count * rows * 3, dtype=np.int64)
    return (((i * 37) % 101 - 50) / 16).astype(np.float32).reshape(count, rows, 3)


def manifest(outputs: OutputSpec | None = None, **changes: Any) -> Manifest:
    spec = OutputSpec("classification", LABELS) if outputs is None else outputs
    base = Manifest(
        name="gait",
        version=7,
        task=spec.task,
        created="2026-01-31T12:00:00Z",
        inputs=InputSpec(channels(("x", "y", "z"), "m/s^2"), 50.0, 20, 10, (20, 3)),
        outputs=spec,
        preprocess=STEPS,
    )
    return base.replace(**changes)
