"""A `.tflite` that somebody made already, or a bundle, whose model is taken out of it.

Its reference is itself in the devices' interpreter. Which scheme it has is read
from its tensors, not from its name: a quantised file is packed as it is, and
only a float one may be quantised.
"""

from pathlib import Path
from typing import Final

import numpy as np

from edgeml.bundle import read_file, split
from edgeml.errors import BackendError, BundleError, ConversionError
from edgeml.runtime.backend import open_backend
from edgeml.runtime.graph import Graph, read_graph
from edgeml_converters.inspection import read_activations, read_weights
from edgeml_converters.measure import run_tflite
from edgeml_converters.schemes import SCHEMES, check_applied
from edgeml_converters.sources.float_model import (
    FloatModel,
    Floats,
    LiteFile,
    first_line,
    fixed,
    one_of_each,
)

SUFFIX: Final = ".tflite"
_IO: Final = {"float32": "float", "int8": "int8", "int16": "int8"}
"""What `convert` calls an input or output of a type."""


def load(path: Path) -> FloatModel:
    """Open a file, which is not trusted: its tables are read before an interpreter sees it.

    Raises:
        ConversionError: it is damaged, has several inputs or outputs or a batch, or is
            quantised in a way that has no name here.
    """
    try:
        tflite, archive = split(read_file(path), str(path))
        graph = read_graph(tflite, str(path))
    except BundleError as exc:
        raise ConversionError(str(exc)) from exc
    one_of_each(len(graph.inputs), len(graph.outputs))
    shapes = _shapes(path, graph)
    lite = _known(path, tflite, graph)
    version = _opened(path, tflite)

    def predict(batch: Floats) -> Floats:
        if not len(batch):
            return np.empty((0, *shapes[1]), np.float32)
        try:
            return run_tflite(tflite, batch).outputs
        except (BackendError, ValueError) as exc:
            raise ConversionError(
                f"{path}: the interpreter fails on it: {first_line(exc)}"
            ) from exc

    def save(_: Path) -> None:
        raise ConversionError(f"{path}: a .tflite cannot be turned back into a SavedModel")

    quantised = lite.scheme != "float32"
    notes = [f"{path.name} is {lite.scheme} already; it is packed byte for byte"] * quantised
    if archive is not None:
        notes.append(f"{path.name} is a bundle: its model is taken, its manifest is not")
    return FloatModel(
        version,
        *shapes,
        predict,
        save,
        tuple(notes),
        only=lite.scheme if quantised else "",
        because=f"{path.name} is {lite.scheme} already, and what was quantised once only loses"
        if quantised
        else "",
        lite=lite,
    )


def _shapes(path: Path, graph: Graph) -> tuple[tuple[int, ...], tuple[int, ...]]:
    given, made = graph.inputs[0].shape, graph.outputs[0].shape
    if given[:1] != (1,) or made[:1] != (1,):
        raise ConversionError(
            f"{path}: it takes {list(given)} and gives {list(made)}; a device needs a batch axis "
            "of 1 in front of both"
        )
    return fixed(given, "input"), fixed(made, "output")


def _known(path: Path, tflite: bytes, graph: Graph) -> LiteFile:
    """Which scheme the file has, by the types of its tensors."""
    given, made = graph.inputs[0].dtype, graph.outputs[0].dtype
    if given != made or given not in _IO:
        raise ConversionError(
            f"{path}: its input is {given} and its output {made}; edgeml packs files that have "
            f"both in {', '.join(_IO)}: convert the model from its source"
        )
    lite = LiteFile(tflite, _scheme(tflite), _IO[given])
    try:
        check_applied(tflite, SCHEMES[lite.scheme], lite.io)
    except ConversionError as exc:
        raise ConversionError(f"{path}: it is of no scheme that edgeml knows ({exc})") from exc
    return lite


def _scheme(tflite: bytes) -> str:
    kinds = read_activations(tflite)
    if "int16" in kinds:
        return "int16x8"
    if "int8" in kinds:
        return "mixed" if "float32" in kinds else "int8"
    held = read_weights(tflite).elements
    named = {"int4": "int4", "int8": "dynamic", "float16": "float16"}
    return next((scheme for kind, scheme in named.items() if kind in held), "float32")


def _opened(path: Path, tflite: bytes) -> str:
    try:
        backend = open_backend(tflite)
    except BackendError as exc:
        raise ConversionError(f"{path}: the interpreter refuses it: {first_line(exc)}") from exc
    return f"{backend.name} {backend.version}"
