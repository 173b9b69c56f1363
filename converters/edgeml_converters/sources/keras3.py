"""Keras 3: model objects, `.keras` files, and `.h5` files that it still reads."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

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

_HALVES: Final = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")


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
    model, notes = _in_float32(model)
    inputs, outputs = list(model.inputs or ()), list(model.outputs or ())
    one_of_each(len(inputs), len(outputs))
    input_shape = fixed(inputs[0].shape, "input")
    output_shape = fixed(outputs[0].shape, "output")

    def call(batch: Any) -> Any:
        return tf.cast(model(batch, training=False), tf.float32)

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

    name = f"keras {tf.keras.__version__}"
    return FloatModel(name, input_shape, output_shape, predict, save, notes)


def _in_float32(model: Any) -> tuple[Any, tuple[str, ...]]:
    """The model, or one like it with the same weights that computes in float32 throughout.

    TFLite has no operators for the half-precision products of a mixed policy; its weights
    are float32 anyway.

    Raises:
        ConversionError: it cannot be built anew.
    """
    half = sorted({name for name in _computed_in(model) if "float16" in name})
    if not half:
        return model, ()
    try:
        again = type(model).from_config(_with_policy(model.get_config()))
        again.set_weights(model.get_weights())
    except Exception as exc:
        raise ConversionError(
            f"the model computes in {', '.join(half)}, which TFLite has no operators for, and "
            f"cannot be built anew ({first_line(exc)}): build it under "
            "keras.config.set_dtype_policy('float32') and give it the trained weights"
        ) from exc
    return again, (f"the model was trained in {', '.join(half)}; it is converted in float32",)


def _computed_in(model: Any) -> Iterator[str]:
    """What the layers of a model, and of models in it, compute in."""
    for layer in getattr(model, "layers", ()):
        yield str(getattr(layer, "compute_dtype", ""))
        yield from _computed_in(layer)


def _with_policy(config: Any) -> Any:
    """A configuration with float32 wherever it has a half-precision policy."""
    if isinstance(config, dict):
        return {key: _with_policy(value) for key, value in config.items()}
    if isinstance(config, list):
        return [_with_policy(value) for value in config]
    return "float32" if isinstance(config, str) and config in _HALVES else config
