"""Pairs of bundles as a fleet sees them: a MobileNet, and what a later release changes in it.

Weights are drawn as trained ones are spread (heavy tails, each layer by its fan-in), because
what a update costs depends on how they pack and not on what they know. The trunk is a MobileNetV1
of 3.2 million weights with a head of 20 classes.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.bundle import Bundle, Golden, pack
from edgeml.manifest import Channel, InputSpec, Manifest, OutputSpec

SIDE = 96
CLASSES = 20
SCHEMES = ("int8", "float32")
CHANGES = ("labels", "head", "whole")


@dataclass(frozen=True)
class Pair:
    """Two bundles, the older first."""

    scheme: str
    change: str
    old: bytes
    new: bytes


def make_pairs(folder: Path) -> list[Pair]:
    """All pairs; bundles that lie in the folder from an earlier run are taken from there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not all((folder / f"{s}-{c}.tflite").exists() for s in SCHEMES for c in ("old", *CHANGES)):
        _make(folder)
    read = {path.stem: path.read_bytes() for path in folder.glob("*.tflite")}
    return [Pair(s, c, read[f"{s}-old"], read[f"{s}-{c}"]) for s in SCHEMES for c in CHANGES]


def _make(folder: Path) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    rng = np.random.default_rng(6)
    images = _images(rng, 24)
    model = keras.Sequential(
        [
            keras.applications.MobileNet(
                input_shape=(SIDE, SIDE, 3), include_top=False, weights=None, pooling="avg"
            ),
            keras.layers.Dense(CLASSES, "softmax"),
        ]
    )
    trunk, head = model.layers
    trunk.set_weights([_trained(rng, w.path, w.shape) for w in trunk.weights])
    head.set_weights([_trained(rng, w.path, w.shape) for w in head.weights])
    for scheme in SCHEMES:
        old = _bundle(model, scheme, images, 1)
        (folder / f"{scheme}-old.tflite").write_bytes(old)
        (folder / f"{scheme}-labels.tflite").write_bytes(_relabelled(old))
    head.set_weights([_trained(rng, w.path, w.shape) for w in head.weights])
    for scheme in SCHEMES:
        (folder / f"{scheme}-head.tflite").write_bytes(_bundle(model, scheme, images, 2))
    trunk.set_weights([w + rng.normal(0, 0.1 * w.std() + 1e-4, w.shape).astype(np.float32)
                       if w.min() < 0 else w for w in trunk.get_weights()])  # fmt: skip
    for scheme in SCHEMES:
        (folder / f"{scheme}-whole.tflite").write_bytes(_bundle(model, scheme, images, 2))


def _trained(
    rng: np.random.Generator, path: str, shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Numbers as training leaves them in a layer of this name and shape."""
    draws: dict[str, Callable[[], Any]] = {
        "gamma": lambda: rng.normal(1.0, 0.2, shape).clip(0.2),
        "beta": lambda: rng.normal(0.0, 0.3, shape),
        "bias": lambda: rng.normal(0.0, 0.1, shape),
        "moving_mean": lambda: rng.normal(0.0, 0.3, shape),
        "moving_variance": lambda: rng.lognormal(-0.5, 0.5, shape),
    }
    kind = path.rsplit("/", 1)[-1]
    if kind in draws:
        return np.asarray(draws[kind](), np.float32)
    fan_in = int(np.prod(shape[:-1])) if "depthwise" not in path else shape[0] * shape[1]
    return np.asarray(rng.standard_t(5, shape) * np.sqrt(1.2 / fan_in), np.float32)


def _images(rng: np.random.Generator, count: int) -> npt.NDArray[np.float32]:
    """Pictures as smooth and as noisy as a camera's."""
    coarse = rng.uniform(0, 255, (count, SIDE // 8, SIDE // 8, 3))
    smooth = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return np.round((smooth + rng.normal(0, 4, smooth.shape)).clip(0, 255)).astype(np.float32)


def _bundle(model: Any, scheme: str, images: npt.NDArray[np.float32], version: int) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if scheme == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None] / 255] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    tflite = converter.convert()
    dtype = np.int8 if scheme == "int8" else np.float32
    outputs = np.random.default_rng(version).integers(-128, 127, (8, CLASSES)).astype(dtype)
    labels = tuple(f"class {i} of the first list" for i in range(CLASSES))
    manifest = Manifest(
        name="camera",
        version=version,
        task="classification",
        created="2026-01-01T00:00:00Z",
        inputs=InputSpec(
            channels=tuple(Channel(c, "1") for c in "rgb"),
            sample_rate_hz=None, window=SIDE, stride=SIDE, shape=(SIDE, SIDE, 3),
        ),
        outputs=OutputSpec("classification", labels),
    )  # fmt: skip
    return pack(tflite, manifest, Golden(images[:8], outputs, 1.0))


def _relabelled(data: bytes) -> bytes:
    """The same model with other labels."""
    bundle = Bundle.from_bytes(data)
    labels = tuple(f"kind {i * i} of a second, longer list" for i in range(CLASSES))
    outputs = replace_labels(bundle.manifest.outputs, labels)
    manifest = bundle.manifest.replace(version=2, outputs=outputs)
    return pack(bundle.tflite, manifest, bundle.golden, bundle.baseline)


def replace_labels(outputs: OutputSpec, labels: tuple[str, ...]) -> OutputSpec:
    """The same outputs under other names."""
    return outputs._replace(labels=labels)
