"""Decides by what a source is, not by what it says, which module opens it."""

import os
from pathlib import Path
from typing import Final

from edgeml.errors import ConversionError, nearest
from edgeml_converters.sources import (
    keras2,
    keras3,
    keras_file,
    lite_file,
    onnx_file,
    pt2_file,
    saved_model,
    sklearn,
    torch_module,
)
from edgeml_converters.sources.float_model import FloatModel

KERAS_SUFFIXES: Final = (".keras", ".h5", ".hdf5")
SUFFIXES: Final = (
    *(*KERAS_SUFFIXES, lite_file.SUFFIX, onnx_file.SUFFIX, pt2_file.SUFFIX),
    *(*torch_module.PICKLES, *sklearn.SUFFIXES),
)


def open_source(source: object, *, trust_pickle: bool = False) -> FloatModel:
    """Open a model: an object, a file or a folder.

    Args:
        source: a Keras model, a TensorFlow concrete function, a PyTorch module, a
            scikit-learn estimator, or the path of a `.keras`, `.h5`, `.tflite`, `.onnx`,
            `.pt2`, `.skops` or pickle file or of a SavedModel.
        trust_pickle: whether a pickle may be loaded, which executes what is in it.

    Raises:
        ConversionError: no such file, not a model, more than one input or output, or
            sizes that are open.
        MissingDependencyError: what reads this kind is not installed.
    """
    if isinstance(source, (str, os.PathLike)):
        return _open_path(Path(source), trust_pickle=trust_pickle)
    if hasattr(source, "structured_input_signature"):
        return saved_model.from_function(source)
    if torch_module.is_module(source):
        return torch_module.from_module(source)
    if hasattr(source, "inputs") and callable(source):
        return keras3.from_model(source)
    if sklearn.is_estimator(source):
        return sklearn.from_estimator(source)
    raise ConversionError(
        f"a {type(source).__name__} is not a model; give a Keras model, a concrete function, a "
        "PyTorch module, a scikit-learn estimator, or the path of a "
        f"{', '.join(SUFFIXES)} file or a SavedModel"
    )


def _open_path(path: Path, *, trust_pickle: bool) -> FloatModel:
    if path.is_dir():
        return saved_model.load(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise ConversionError(
            f"{path}: {suffix or 'no suffix'} is none of {known}{nearest(suffix, SUFFIXES)}"
        )
    if suffix == lite_file.SUFFIX:
        return lite_file.load(path)
    if suffix == onnx_file.SUFFIX:
        return onnx_file.load(path)
    if suffix == pt2_file.SUFFIX:
        return pt2_file.load(path)
    if suffix in torch_module.PICKLES:
        return torch_module.load(path, trust_pickle=trust_pickle)
    if suffix in sklearn.SUFFIXES:
        return sklearn.load(path, trust_pickle=trust_pickle)
    keras_file.check(path)
    if suffix == ".keras":
        return keras3.load(path)
    try:
        return keras3.load(path)
    except ConversionError as refusal:
        return keras2.load(path, refusal)
