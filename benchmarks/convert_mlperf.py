"""Int8 by edgeml's converter beside MLPerf Tiny's own int8 files: bytes, and error against float.

The Keras files and the references are MLPerf Tiny's (Apache-2.0), looked for in
EDGEML_TEST_DATA or beside the checkout in ../shared/data. Each model is
calibrated on one set of windows and both files are run on another, except for
the wakeword, whose 45 published windows are all there is. Images are patches of
the two photographs that scikit-learn carries; machine sound is synthetic: hums
with harmonics in coloured noise, as log-mel energies in dB. `smaller` and
`closer` are ratios, ours over theirs: both should be at most 1.

    python benchmarks/convert_mlperf.py
"""

import json
import os
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_sample_images

from edgeml.manifest import InputSpec, OutputSpec, channels
from edgeml.preprocess import Pipeline
from edgeml_converters import Spec, convert
from edgeml_converters.measure import run_tflite
from edgeml_converters.sources import open_source

Floats = npt.NDArray[np.float32]

SAMPLES = 200
MELS, FRAME, HOP, FRAMES, RATE_HZ = 128, 1024, 512, 5, 16000


def data_folder() -> Path | None:
    """Where MLPerf Tiny's files are, if anywhere."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("EDGEML_TEST_DATA", beside)) / "mlperf_tiny"
    return folder if folder.is_dir() else None


def patches(photograph: int, n: int) -> Floats:
    """Square pieces of a photograph at three scales: float32 (n, 32, 32, 3), 0 to 255."""
    rng = np.random.default_rng(photograph)
    image = load_sample_images().images[photograph].astype(np.float32)
    made = []
    for _ in range(n):
        k = int(rng.choice([1, 2, 4]))
        top = int(rng.integers(0, image.shape[0] - 32 * k))
        left = int(rng.integers(0, image.shape[1] - 32 * k))
        piece = image[top : top + 32 * k, left : left + 32 * k]
        made.append(piece.reshape(32, k, 32, k, 3).mean((1, 3)))
    return np.stack(made).astype(np.float32)


def hums(seed: int, n: int) -> Floats:
    """Machine sound as five frames of 128 log-mel energies in dB: float32 (n, 640)."""
    rng = np.random.default_rng(seed)
    length = FRAME + HOP * (FRAMES - 1)
    step = {"step": "log_mel", "frame": FRAME, "hop": HOP, "mels": MELS}
    pipeline = Pipeline.from_steps([step], (length, 1), float(RATE_HZ))
    time_s = np.arange(length) / RATE_HZ
    sounds = []
    for _ in range(n):
        base_hz = rng.uniform(40, 400)
        parts = [
            rng.uniform(0, 1) / k * np.sin(2 * np.pi * base_hz * k * time_s + rng.uniform(0, 6))
            for k in range(1, 30)
        ]
        noise = np.cumsum(rng.normal(size=length)) * 0.02
        noise += rng.normal(size=length) * rng.uniform(0.01, 0.2)
        sounds.append(0.02 * (np.sum(parts, axis=0) + noise - noise.mean()))
    decibels: Floats = pipeline.batch(np.array(sounds, np.float32)[..., np.newaxis])
    scaled: Floats = decibels.reshape(n, -1) * np.float32(10 / np.log(10))
    return scaled


def windows(folder: Path, name: str) -> tuple[Floats, Floats]:
    """What to calibrate with and what to measure on."""
    if name == "wakeword":
        with np.load(folder / "wakeword_calibration.npz") as arrays:
            published = arrays["specs"].astype(np.float32)
        return published, published
    if name == "resnet8":
        return patches(0, SAMPLES), patches(1, SAMPLES)
    return hums(1, SAMPLES), hums(2, SAMPLES)


def compare(folder: Path, name: str) -> dict[str, object]:
    """One model: ours, theirs, and the two ratios."""
    calibration, evaluation = windows(folder, name)
    theirs = (folder / f"{name}_int8_reference.tflite").read_bytes()
    model = open_source(folder / f"{name}.h5")
    shape = model.input_shape
    inputs = InputSpec(channels([f"c{i}" for i in range(shape[-1])]), None, shape[0], 1, shape)
    started = perf_counter()
    conversion = convert(
        folder / f"{name}.h5",
        calibration,
        spec=Spec(name, 1, inputs, OutputSpec("regression")),
        evaluation=(evaluation, None),
        scheme="int8",
        max_bytes=len(theirs),
    )
    seconds = perf_counter() - started
    expected = model.predict(evaluation).astype(np.float64)

    def rmse(tflite: bytes) -> float:
        made = run_tflite(tflite, evaluation).outputs.reshape(expected.shape)
        return float(np.sqrt(np.mean((made - expected) ** 2)))

    ours, reference = rmse(conversion.tflite), rmse(theirs)
    return {
        "model": name,
        "bytes": len(conversion.tflite),
        "reference_bytes": len(theirs),
        "smaller": round(len(conversion.tflite) / len(theirs), 4),
        "rmse": round(ours, 6),
        "reference_rmse": round(reference, 6),
        "closer": round(ours / reference, 4),
        "seconds": round(seconds, 2),
    }


def main() -> int:
    """Print a JSON line a model; exit status 1 where ours is larger or further off."""
    folder = data_folder()
    if folder is None:
        print(
            "MLPerf Tiny's files are not here (EDGEML_TEST_DATA); nothing compared", file=sys.stderr
        )
        return 0
    rows = [compare(folder, name) for name in ("resnet8", "wakeword", "anomaly")]
    for row in rows:
        print(json.dumps(row), flush=True)
    return int(any(float(str(row[key])) > 1 for row in rows for key in ("smaller", "closer")))


if __name__ == "__main__":
    sys.exit(main())
