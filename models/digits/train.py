"""Train `digits`: which handwritten digit an 8 by 8 image shows.

Data: the digits that scikit-learn carries, 1797 images of 13 writers with grey
values from 0 to 16. A fifth of each class is held out for the figures on the
card; the choices were checked on another fifth of the rest (`--validate`).
"""

import argparse
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml import Model
from edgeml.manifest import Budgets, Channel, InputSpec, OutputSpec, PreprocessStep
from edgeml_converters import Spec, convert
from edgeml_converters.bundling import pipeline_of
from edgeml_converters.training import finish, fit, say, seeded, stratified

HERE: Final = Path(__file__).parent
SEED: Final = 11
SIDE: Final = 8
EPOCHS: Final = 60
HELD_OUT: Final = 0.2
LABELS: Final = tuple("0123456789")
CREATED: Final = "2026-11-22T00:00:00Z"
"""Fixed, so that training twice gives the same file."""

SPEC: Final = Spec(
    name="digits",
    version=1,
    description="A handwritten digit, 0 to 9, in an image of 8 by 8 grey values from 0 to 16",
    inputs=InputSpec((Channel("ink", "1/16"),), None, SIDE, SIDE, (SIDE, SIDE, 1)),
    outputs=OutputSpec("classification", LABELS),
    preprocess=(PreprocessStep("scale", {"factor": 1 / 16}),),
    budgets=Budgets(p95_ms=20.0, peak_rss_mb=200.0),
)

Floats = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]


def load() -> tuple[Floats, Classes, Floats, Classes]:
    """Training images and classes, then the held-out ones: float32 (n, 8, 8, 1) and (n,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.asarray(bunch.images, np.float32)[..., np.newaxis]
    classes = np.asarray(bunch.target, np.int64)
    kept, held = stratified(classes, HELD_OUT, SEED)
    return images[kept], classes[kept], images[held], classes[held]


def train(images: Floats, classes: Classes, title: str) -> Any:
    """A trained Keras model: two convolutions, one pooling, ten classes."""
    keras = seeded(SEED)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1), name="image"),
            layers.RandomTranslation(0.1, 0.1, fill_mode="constant", name="moved"),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="conv_1"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv_2"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Conv2D(32, 3, activation="relu", name="conv_3"),
            layers.Flatten(name="flat"),
            layers.Dropout(0.3, name="dropout"),
            layers.Dense(len(LABELS), activation="softmax", name="digit"),
        ],
        name="digits_network",
    )
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    fit(model, pipeline_of(SPEC).batch(images), classes, EPOCHS, 64, title)
    return model


def validate(images: Floats, classes: Classes) -> float:
    """Int8 accuracy on a fifth of the training images, by a model that never saw them."""
    kept, held = stratified(classes, HELD_OUT, SEED + 1)
    model = train(images[kept], classes[kept], "validation")
    calibration = images[kept[:300]]
    evaluation = (images[held], classes[held])
    return convert(
        model, calibration, spec=SPEC, scheme="int8", evaluation=evaluation
    ).verdict.score


def measure(bundle: Path) -> dict[str, float]:
    """The figures of the card, from the bundle as a device runs it."""
    _, _, images, classes = load()
    with Model.load(bundle) as model:
        said = model.predict_batch(images).labels
    hits = sum(LABELS[label] == name for label, name in zip(classes, said, strict=True))
    return {"accuracy_int8": hits / len(classes), "test_windows": float(len(classes))}


def main() -> None:
    """Train, convert, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "digits.tflite", help="the bundle")
    parser.add_argument("--validate", action="store_true", help="validate on a fifth of train")
    arguments = parser.parse_args()
    images, classes, held_images, held_classes = load()
    if arguments.validate:
        say(f"int8 accuracy on a fifth of train: {validate(images, classes):.4f}")
    conversion = convert(
        train(images, classes, "digits"),
        images[:300],
        spec=SPEC,
        scheme="int8",
        evaluation=(held_images, held_classes),
        max_drop=0.01,
        created=CREATED,
    )
    finish(conversion, arguments.out)


if __name__ == "__main__":
    main()
