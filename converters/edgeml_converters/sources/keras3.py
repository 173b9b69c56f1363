"""Keras 3: model objects, `.keras` files, and `.h5` files that it still reads."""

import warnings
from pathlib import Path
from typing import Any

from edgeml.errors import ConversionError
from edgeml_converters.lite import quiet_converter, tensorflow
from edgeml_converters.sources.float_model import (
    FloatModel,
    Floats,
    first_line,
    fixed,
    in_batches,
    one_of_each,
)


def load(path: Path) -> FloatModel:
    """Open a file that `keras_file.check` let pass.

    Raises:
        ConversionError: Keras cannot load it.
    """
    tf = tensorflow()
    with quiet_converter():
        try:
            model = tf.keras.models.load_model(path, compile=False, safe_mode=True)
        except Exception as exc:
            raise ConversionError(f"{path}: Keras cannot load it: {first_line(exc)}") from exc
    return from_model(model)


def from_model(model: Any) -> FloatModel:
    """Take a model object.

    Raises:
        ConversionError: not one input and one output, or sizes that are open.
    """
    tf = tensorflow()
    inputs, outputs = list(model.inputs or ()), list(model.outputs or ())
    one_of_each(len(inputs), len(outputs))
    input_shape = fixed(inputs[0].shape, "input")
    output_shape = fixed(outputs[0].shape, "output")

    def call(batch: Any) -> Any:
        return model(batch, training=False)

    def predict(batch: Floats) -> Floats:
        with warnings.catch_warnings():
            # An old file's input comes as a list of one; the tensor alone means the same.
            warnings.filterwarnings("ignore", "The structure of `inputs` doesn't match")
            return in_batches(call, batch, output_shape)

    def save(folder: Path) -> None:
        archive = tf.keras.export.ExportArchive()
        archive.track(model)
        signature = [tf.TensorSpec((1, *input_shape), tf.float32, name="input")]
        with quiet_converter():
            try:
                archive.add_endpoint(name="serve", fn=call, input_signature=signature)
                archive.write_out(folder, verbose=False)
            except Exception as exc:
                raise ConversionError(f"Keras cannot export the model: {first_line(exc)}") from exc

    return FloatModel(f"keras {tf.keras.__version__}", input_shape, output_shape, predict, save)
