"""Five schemes converted, checked, measured and bundled, beside five bare conversions.

The peer is TensorFlow's own TFLiteConverter, called once for each scheme on the
same Keras model with the same calibration windows, and nothing measured after
it. Both run in one process after a warm-up, in turns. Prints one JSON line; the
ratio should be at most 1.

    python benchmarks/convert_schemes.py [--rounds 3] [--windows 100]
"""

import argparse
import contextlib
import io
import json
import statistics
import sys
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.manifest import InputSpec, OutputSpec, channels
from edgeml_converters import Spec, convert
from edgeml_converters.lite import quiet_converter, tensorflow
from edgeml_converters.schemes import BY_TENSORFLOW, SCHEMES
from edgeml_converters.training import seeded

SHAPE = (32, 32, 3)
LABELS = tuple("0123456789")

Floats = npt.NDArray[np.float32]


def network() -> Any:
    """A small residual network for images, with weights as initialised: size counts, not skill."""
    keras = seeded(1)
    layers = keras.layers
    x = given = keras.Input(SHAPE, name="image")
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        side = layers.Conv2D(filters, 1, strides=stride, padding="same")(x)
        y = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.Conv2D(filters, 3, padding="same", use_bias=False)(y)
        x = layers.ReLU()(layers.Add()([layers.BatchNormalization()(y), side]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(given, layers.Dense(len(LABELS), activation="softmax")(x))


def bare(model: Any, windows: Floats) -> float:
    """Five conversions one after another, in seconds."""
    tf = tensorflow()

    def representative() -> Iterator[list[Floats]]:
        for window in windows:
            yield [window[np.newaxis]]

    started = perf_counter()
    for scheme in (SCHEMES[name] for name in BY_TENSORFLOW):
        with quiet_converter(), contextlib.redirect_stdout(io.StringIO()):
            converter = tf.lite.TFLiteConverter.from_keras_model(model)
            converter.target_spec.supported_ops = [
                getattr(tf.lite.OpsSet, name) for name in scheme.op_sets
            ]
            if scheme.optimise:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if scheme.weight_type:
                converter.target_spec.supported_types = [getattr(tf, scheme.weight_type)]
            if scheme.calibrated:
                converter.representative_dataset = representative
            converter.convert()
    return perf_counter() - started


def main() -> int:
    """Print one JSON line; exit status 1 where the ratio is above 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--windows", type=int, default=100)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(arguments.windows, *SHAPE)).astype(np.float32)
    inputs = InputSpec(channels(("r", "g", "b")), None, SHAPE[0], 1, SHAPE)
    spec = Spec("image", 1, inputs, OutputSpec("classification", LABELS))
    model = network()

    def ours() -> float:
        started = perf_counter()
        convert(model, windows, spec=spec, scheme="auto", max_drop=1.0)
        return perf_counter() - started

    bare(model, windows[:2])
    ours()
    pairs = [(ours(), bare(model, windows)) for _ in range(arguments.rounds)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = mine / theirs
    print(
        json.dumps(
            {
                "schemes": len(BY_TENSORFLOW),
                "windows": arguments.windows,
                "edgeml_s": round(mine, 3),
                "bare_s": round(theirs, 3),
                "ratio": round(ratio, 3),
            }
        )
    )
    return int(ratio > 1)


if __name__ == "__main__":
    sys.exit(main())
