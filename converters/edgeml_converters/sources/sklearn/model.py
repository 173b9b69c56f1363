"""A scikit-learn estimator as a `FloatModel`: itself as the reference, compiled as the graph."""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from edgeml.errors import ConversionError, MissingDependencyError
from edgeml_converters.lite import quiet_converter, tensorflow
from edgeml_converters.sources.float_model import BATCH, FloatModel, Floats, first_line, in_batches
from edgeml_converters.sources.sklearn.compiled import Head

TREES_STAY_FLOAT = (
    "decision trees are tables of thresholds; quantised, they would decide differently, and "
    "nothing would run faster"
)


def is_estimator(source: object) -> bool:
    """Whether an object is a scikit-learn estimator, or made like one."""
    return not isinstance(source, type) and all(
        hasattr(source, name) for name in ("get_params", "set_params", "fit")
    )


def from_estimator(estimator: Any, notes: tuple[str, ...] = ()) -> FloatModel:
    """Take a fitted estimator or pipeline.

    Args:
        estimator: it.
        notes: what was unusual about loading it.

    Raises:
        ConversionError: it is not supported or not fitted.
        MissingDependencyError: scikit-learn is not installed.
    """
    version = installed()
    from edgeml_converters.sources.sklearn.compiling import compile_estimator

    compiled = compile_estimator(estimator)
    head = compiled.head
    found = list(notes) + list(head.notes)
    if compiled.mixed:
        found.append(
            "a transformer that mixes columns stands in front of the trees: a value within float32 "
            "rounding of a threshold may go the other way"
        )

    def shaped(shape: tuple[int, ...]) -> FloatModel:
        if math.prod(shape) != compiled.features:
            shape = (compiled.features,)
        return FloatModel(
            f"scikit-learn {version}",
            shape,
            (head.width,),
            lambda batch: _predict(compiled.estimator, head, compiled.features, batch),
            lambda folder: _save(head, shape, folder),
            tuple(found),
            only="float32" if head.trees else "",
            because=TREES_STAY_FLOAT if head.trees else "",
            activation="none" if head.classes else None,
            labels=head.classes,
            task=head.task or ("" if head.classes else "regression"),
            threshold=head.threshold,
            shaped=shaped,
        )

    return shaped((compiled.features,))


def installed() -> str:
    """scikit-learn's version.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import sklearn
    except ImportError as exc:
        raise MissingDependencyError(
            f"scikit-learn cannot be imported ({exc}); install it with: "
            "pip install 'edgeml-converters[sklearn]'"
        ) from exc
    return str(sklearn.__version__)


def _predict(estimator: Any, head: Head, features: int, batch: Floats) -> Floats:
    """What scikit-learn says, in float64 as it was trained, of the float32 values of a device."""

    def run(part: Floats) -> Any:
        rows = part.reshape(len(part), -1).astype(np.float64)
        return head.finish(np.asarray(getattr(estimator, head.method)(rows), np.float64))

    if batch.size != len(batch) * features:
        raise ConversionError(
            f"the model takes {features} columns; given were {list(batch.shape[1:])}"
        )
    with warnings.catch_warnings():
        # Trained on a table with named columns; a device's windows have an order instead.
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        made = in_batches(run, batch, (head.width,), 16 * BATCH)
    if made.shape[1:] != (head.width,):
        raise ConversionError(
            f"scikit-learn gives {list(made.shape[1:])} values where the model has {head.width}; "
            "is the file damaged?"
        )
    return made


def _save(head: Head, shape: tuple[int, ...], folder: Path) -> None:
    tf = tensorflow()
    size = math.prod(shape)

    def call(batch: Any) -> Any:
        row = batch if len(shape) == 1 else tf.reshape(batch, [1, size])
        return head.build(tf, row)

    module = tf.Module()
    signature = [tf.TensorSpec((1, *shape), tf.float32, name="input")]
    module.serve = tf.function(call, input_signature=signature)
    with quiet_converter():
        try:
            tf.saved_model.save(module, str(folder), signatures={"serve": module.serve})
        except Exception as exc:
            raise ConversionError(f"TensorFlow cannot save the graph: {first_line(exc)}") from exc
