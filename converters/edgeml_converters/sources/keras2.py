"""Keras 2, for `.h5` files that Keras 3 refuses: through tf_keras, which carries it on."""

from importlib import import_module
from pathlib import Path
from typing import Any

from edgeml.errors import ConversionError, MissingDependencyError
from edgeml_converters.lite import quiet_converter, tensorflow
from edgeml_converters.sources.float_model import (
    FloatModel,
    Floats,
    first_line,
    fixed,
    in_batches,
    one_of_each,
)


def load(path: Path, refusal: ConversionError) -> FloatModel:
    """Open a file that Keras 3 refused.

    Args:
        path: an `.h5` file that `keras_file.check` let pass.
        refusal: what Keras 3 said.

    Raises:
        ConversionError: tf_keras cannot load it either.
        MissingDependencyError: tf_keras is not installed.
    """
    tf = tensorflow()
    with quiet_converter():
        try:
            tf_keras = import_module("tf_keras")
        except ImportError as exc:
            raise MissingDependencyError(
                f"{refusal}. It may be of Keras 2, for which there is: "
                "pip install 'edgeml-converters[keras2]'"
            ) from exc
        try:
            model = tf_keras.models.load_model(path, compile=False)
        except Exception as exc:
            raise ConversionError(
                f"{path}: neither Keras 3 nor Keras 2 can load it: {first_line(exc)}"
            ) from exc
    return _from_model(tf, model, f"keras {tf_keras.__version__} (tf_keras)", path)


def _from_model(tf: Any, model: Any, framework: str, path: Path) -> FloatModel:
    one_of_each(len(model.inputs or ()), len(model.outputs or ()))
    input_shape = fixed(model.inputs[0].shape, "input")
    output_shape = fixed(model.outputs[0].shape, "output")

    def call(batch: Any) -> Any:
        return tf.cast(model(batch, training=False), tf.float32)

    def predict(batch: Floats) -> Floats:
        return in_batches(call, batch, output_shape)

    def save(folder: Path) -> None:
        signature = [tf.TensorSpec((1, *input_shape), tf.float32, name="input")]
        with quiet_converter():
            try:
                serve = tf.function(call, input_signature=signature)
                tf.saved_model.save(model, str(folder), signatures={"serve": serve})
            except Exception as exc:
                raise ConversionError(f"Keras 2 cannot export it: {first_line(exc)}") from exc

    note = f"{path.name} is of Keras 2, which Keras 3 refuses; it was read with tf_keras"
    return FloatModel(framework, input_shape, output_shape, predict, save, (note,))
