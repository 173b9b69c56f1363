"""TensorFlow SavedModels, and concrete functions, which become one."""

from pathlib import Path
from typing import Any

import numpy as np

from edgeml.errors import ConversionError
from edgeml_converters.lite import quiet_converter, tensorflow
from edgeml_converters.sources import graph_file
from edgeml_converters.sources.float_model import (
    FloatModel,
    Floats,
    first_line,
    fixed,
    in_batches,
    one_of_each,
)

_PREFERRED = ("serving_default", "serve")


def load(folder: Path) -> FloatModel:
    """Open a folder with a `saved_model.pb`.

    Raises:
        ConversionError: TensorFlow cannot load it, or it has no usable signature.
    """
    tf = tensorflow()
    if not (folder / "saved_model.pb").is_file():
        raise ConversionError(f"{folder}: a folder without a saved_model.pb is no SavedModel")
    graph_file.check(folder / "saved_model.pb")
    with quiet_converter():
        try:
            loaded = tf.saved_model.load(str(folder))
        except Exception as exc:
            raise ConversionError(
                f"{folder}: TensorFlow cannot load it: {first_line(exc)}"
            ) from exc
    signatures = dict(getattr(loaded, "signatures", {}))
    name = next((n for n in (*_PREFERRED, *signatures) if n in signatures), None)
    if name is None:
        raise ConversionError(
            f"{folder}: it has no signature; save it with signatures={{'serving_default': …}}"
        )
    return from_function(signatures[name], keep=loaded)


def from_function(function: Any, keep: Any = None) -> FloatModel:
    """Take a concrete function with one input and one output.

    Args:
        function: `tf.function(...).get_concrete_function(...)`, or a signature.
        keep: what owns its variables.

    Raises:
        ConversionError: not one input and one output, or sizes that are open.
    """
    tf = tensorflow()
    positional, named = function.structured_input_signature
    specs = [*tf.nest.flatten(positional), *tf.nest.flatten(named)]
    outputs = tf.nest.flatten(function.structured_outputs)
    one_of_each(len(specs), len(outputs))
    for spec, what in ((specs[0], "input"), (outputs[0], "output")):
        if not (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool):
            raise ConversionError(
                f"the model's {what} is {spec.dtype.name}, and a device has numbers; save a "
                "signature that takes and gives tensors of numbers"
            )
    key = next(iter(named), None)
    input_shape = fixed(specs[0].shape, "input")
    output_shape = fixed(outputs[0].shape, "output")
    fixed_batch = next(iter(specs[0].shape))

    def call(batch: Any) -> Any:
        tensor = tf.cast(batch, specs[0].dtype)
        made = function(**{key: tensor}) if key is not None else function(tensor)
        return tf.cast(tf.nest.flatten(made)[0], tf.float32)

    def predict(batch: Floats) -> Floats:
        if fixed_batch is None:
            return in_batches(call, batch, output_shape)
        if len(batch) % fixed_batch:
            rest = np.zeros((-len(batch) % fixed_batch, *input_shape), np.float32)
            whole = np.concatenate([batch, rest])
            return in_batches(call, whole, output_shape, fixed_batch)[: len(batch)]
        return in_batches(call, batch, output_shape, fixed_batch)

    def save(folder: Path) -> None:
        if fixed_batch not in (None, 1):
            raise ConversionError(
                f"the model takes batches of {fixed_batch}; a device has batches of 1"
            )
        module = tf.Module()
        # What is saved must own every variable that its function reads.
        module.keep = (keep, function, list(function.graph.variables))
        signature = [tf.TensorSpec((1, *input_shape), tf.float32, name="input")]
        module.serve = tf.function(call, input_signature=signature)
        with quiet_converter():
            try:
                tf.saved_model.save(module, str(folder), signatures={"serve": module.serve})
            except Exception as exc:
                raise ConversionError(f"TensorFlow cannot save it: {first_line(exc)}") from exc

    return FloatModel(f"tensorflow {tf.__version__}", input_shape, output_shape, predict, save)
