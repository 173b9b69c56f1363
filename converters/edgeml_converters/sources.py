"""Opens a trained model, whatever it was saved as, and says what it answers.

Everything becomes a `FloatModel`: a function from a batch to its outputs in the
model's own framework, which is what the conversion is later held to, and a
SavedModel with a fixed batch of one, which is what the converter reads. A fixed
batch keeps shape arithmetic out of the graph: fewer operators, smaller files.
"""

import math
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConversionError, nearest
from edgeml_converters.lite import quiet_converter, tensorflow

Floats = npt.NDArray[np.float32]

BATCH: Final = 256
_HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
_KNOWN: Final = (".keras", ".h5", ".hdf5")


@dataclass(frozen=True, slots=True)
class FloatModel:
    """A trained model, opened.

    Attributes:
        framework: "keras 3.15.1", for the report.
        input_shape: without the batch axis.
        output_shape: without the batch axis.
        predict: float32 (n, *input_shape) to float32 (n, *output_shape).
        save: writes a SavedModel, signature `serve` with a batch of 1, into a folder.
    """

    framework: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    predict: Callable[[Floats], Floats]
    save: Callable[[Path], None]


def open_source(source: object) -> FloatModel:
    """Open a Keras model: an object, a `.keras` file or an `.h5` file.

    Raises:
        ConversionError: no such file, not a model, more than one input or output,
            or a shape that is not fixed.
    """
    if isinstance(source, (str, os.PathLike)):
        return _from_keras(_load_keras(Path(source)))
    if hasattr(source, "inputs") and callable(source):
        return _from_keras(source)
    raise ConversionError(
        f"a {type(source).__name__} is not a model; give a Keras model, or the path of a "
        f"{', '.join(_KNOWN)} file"
    )


def _load_keras(path: Path) -> Any:
    _check_file(path)
    tf = tensorflow()
    with quiet_converter():
        try:
            return tf.keras.models.load_model(path, compile=False, safe_mode=True)
        except Exception as exc:
            raise ConversionError(f"{path}: Keras cannot load it: {_first_line(exc)}") from exc


def _check_file(path: Path) -> None:
    """Object, before Keras sees it, to what is no Keras file at all."""
    suffix = path.suffix.lower()
    if suffix not in _KNOWN:
        raise ConversionError(
            f"{path}: {suffix or 'no suffix'} is none of {', '.join(_KNOWN)}"
            f"{nearest(suffix, _KNOWN)}"
        )
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as exc:
        raise ConversionError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    if suffix == ".keras" and not zipfile.is_zipfile(path):
        raise ConversionError(f"{path}: not a .keras file (no zip); is the download complete?")
    if suffix != ".keras" and head != _HDF5_MAGIC:
        raise ConversionError(f"{path}: not an HDF5 file; is the download complete?")


def _from_keras(model: Any) -> FloatModel:
    tf = tensorflow()
    inputs, outputs = list(model.inputs or ()), list(model.outputs or ())
    if len(inputs) != 1 or len(outputs) != 1:
        raise ConversionError(
            f"the model has {len(inputs)} inputs and {len(outputs)} outputs; edgeml runs models "
            "with one of each (an unbuilt model has none: call it once)"
        )
    input_shape = _fixed(inputs[0].shape, "input")
    output_shape = _fixed(outputs[0].shape, "output")

    def predict(batch: Floats) -> Floats:
        parts = [
            np.asarray(model(batch[i : i + BATCH], training=False), np.float32)
            for i in range(0, len(batch), BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, *output_shape), np.float32)

    def save(folder: Path) -> None:
        archive = tf.keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint(
            name="serve",
            fn=lambda x: model(x, training=False),
            input_signature=[tf.TensorSpec((1, *input_shape), tf.float32, name="input")],
        )
        with quiet_converter():
            try:
                archive.write_out(folder, verbose=False)
            except Exception as exc:
                raise ConversionError(f"Keras cannot export the model: {_first_line(exc)}") from exc

    return FloatModel(f"keras {tf.keras.__version__}", input_shape, output_shape, predict, save)


def _fixed(shape: Any, what: str) -> tuple[int, ...]:
    sizes = tuple(shape)[1:]
    if any(n is None for n in sizes):
        raise ConversionError(
            f"the model's {what} has the shape {list(shape)}; a device needs fixed sizes: build it "
            "with keras.Input of the window's shape"
        )
    fixed = tuple(int(n) for n in sizes)
    if math.prod(fixed) < 1:
        raise ConversionError(f"the model's {what} is empty: {list(fixed)}")
    return fixed


def _first_line(exc: Exception) -> str:
    lines = (line.strip() for line in str(exc).splitlines())
    return next((line[:300] for line in lines if line), type(exc).__name__)
