"""Train `activity`: what a smartwatch's wearer is doing, from ten seconds of motion.

Data: BasicMotions as the package aeon carries it, in its own split of 40
training and 40 test recordings. Every choice here was made on the training
recordings (`--validate` repeats the cross-validation); the test recordings are
only what the finished model is measured on.
"""

import argparse
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml import Model
from edgeml.manifest import Budgets, Channel, InputSpec, OutputSpec
from edgeml_converters import Spec, convert, standardize_step
from edgeml_converters.training import finish, fit, say, seeded

RECORDED_STEPS: Final = np.array([0.001] * 3 + [0.002663373] * 3, np.float32)
"""Of the shipped recordings: 1 mm/s², far below its noise, and the gyroscope's own step."""

HERE: Final = Path(__file__).parent
SEED: Final = 7
LABELS: Final = ("standing", "walking", "running", "badminton")
SAMPLE_RATE_HZ: Final = 10.0
WINDOW: Final = 100
EPOCHS: Final = 120
COPIES: Final = 4
FOLDS: Final = 5
CREATED: Final = "2026-11-22T00:00:00Z"
"""Fixed, so that training twice gives the same file."""

CHANNELS: Final = (
    *(Channel(f"accelerometer_{axis}", "m/s^2") for axis in "xyz"),
    *(Channel(f"gyroscope_{axis}", "rad/s") for axis in "xyz"),
)

Floats = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]


def load(split: str) -> tuple[Floats, Classes]:
    """Recordings from aeon's own folder: float32 (n, 100, 6) and class indices (n,)."""
    from aeon.datasets import load_basic_motions

    series, names = load_basic_motions(split=split)
    windows = np.ascontiguousarray(np.transpose(series, (0, 2, 1)), np.float32)
    return windows, np.array([LABELS.index(str(name)) for name in names], np.int64)


def augment(windows: Floats, labels: Classes, seed: int) -> tuple[Floats, Classes]:
    """Each recording `COPIES` times: started at another moment, moved a little harder or softer."""
    rng = np.random.default_rng(seed)
    copies = [windows]
    for _ in range(COPIES - 1):
        shifts = rng.integers(0, WINDOW, len(windows))
        moved = np.stack([np.roll(w, s, axis=0) for w, s in zip(windows, shifts, strict=True)])
        copies.append(moved * rng.uniform(0.8, 1.25, (len(windows), 1, 1)).astype(np.float32))
    return np.concatenate(copies).astype(np.float32), np.tile(labels, COPIES)


def train(windows: Floats, labels: Classes, spec: Spec, title: str) -> Any:
    """A trained Keras model: two convolutions over time, the mean of what they found, a class."""
    from edgeml_converters.bundling import pipeline_of

    keras = seeded(SEED)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((WINDOW, len(CHANNELS)), name="motion"),
            layers.Conv1D(16, 5, strides=2, activation="relu", name="conv_1"),
            layers.Conv1D(24, 5, strides=2, activation="relu", name="conv_2"),
            layers.GlobalAveragePooling1D(name="mean"),
            layers.Dropout(0.2, name="dropout"),
            layers.Dense(len(LABELS), activation="softmax", name="activity"),
        ],
        name="activity_network",
    )
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    more, their_labels = augment(windows, labels, SEED)
    fit(model, pipeline_of(spec).batch(more), their_labels, EPOCHS, 32, title)
    return model


def make_spec(windows: Floats) -> Spec:
    """What the bundle says; the standardisation is fitted on these windows."""
    return Spec(
        name="activity",
        version=1,
        description="Standing, walking, running or badminton, from a smartwatch on the wrist",
        inputs=InputSpec(CHANNELS, SAMPLE_RATE_HZ, WINDOW, WINDOW // 2, (WINDOW, len(CHANNELS))),
        outputs=OutputSpec("classification", LABELS),
        preprocess=(standardize_step(windows),),
        budgets=Budgets(p95_ms=20.0, peak_rss_mb=200.0),
    )


def cross_validate(windows: Floats, labels: Classes) -> float:
    """Accuracy on the training recordings, each judged by a model that never saw it."""
    rng = np.random.default_rng(SEED)
    fold = np.empty(len(labels), np.int64)
    for label in range(len(LABELS)):
        members = rng.permutation(np.flatnonzero(labels == label))
        fold[members] = np.arange(len(members)) % FOLDS
    hits = 0
    for k in range(FOLDS):
        kept, held = fold != k, fold == k
        spec = make_spec(windows[kept])
        conversion = convert(
            train(windows[kept], labels[kept], spec, f"fold {k + 1} of {FOLDS}"),
            windows[kept],
            spec=spec,
            scheme="int8",
            evaluation=(windows[held], labels[held]),
        )
        hits += round(conversion.verdict.score * int(held.sum()))
    return hits / len(labels)


def measure(bundle: Path) -> dict[str, float]:
    """The figures of the card, from the bundle as a device runs it."""
    windows, labels = load("test")
    with Model.load(bundle) as model:
        said = model.predict_batch(windows).labels
    hits = sum(LABELS[label] == name for label, name in zip(labels, said, strict=True))
    return {"accuracy_int8": hits / len(labels), "test_windows": float(len(labels))}


def write_recordings(path: Path) -> None:
    """The test recordings as the demonstration replays them: whole steps, half the bytes."""
    windows, labels = load("test")
    names = np.array([LABELS[i] for i in labels])
    codes = np.rint(windows / RECORDED_STEPS).astype(np.int16)
    np.savez_compressed(
        path,
        codes=codes,
        scale=RECORDED_STEPS,
        labels=names,
        sample_rate_hz=np.float64(SAMPLE_RATE_HZ),
    )


def main() -> None:
    """Train, convert, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "activity.tflite", help="the bundle")
    parser.add_argument("--recordings", type=Path, help="write the test recordings there (npz)")
    parser.add_argument("--validate", action="store_true", help="cross-validate on the train split")
    arguments = parser.parse_args()
    windows, labels = load("train")
    if arguments.validate:
        say(f"int8 accuracy in {FOLDS} folds of train: {cross_validate(windows, labels):.4f}")
    spec = make_spec(windows)
    model = train(windows, labels, spec, "activity")
    conversion = convert(
        model,
        windows,
        spec=spec,
        scheme="int8",
        evaluation=load("test"),
        max_drop=0.025,
        created=CREATED,
    )
    finish(conversion, arguments.out)
    if arguments.recordings is not None:
        write_recordings(arguments.recordings)
        say(f"{arguments.recordings.name}: the test recordings")


if __name__ == "__main__":
    main()
