"""Before a model's answer: a window is checked and prepared, a tensor is fed, the model is run.

Both are closures made while loading, with all that can be known beforehand in
local variables: on a path of five microseconds an attribute is worth counting.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from edgeml.arrays import Array, ArrayLike, Floats
from edgeml.errors import InputError
from edgeml.manifest import InputSpec, Manifest
from edgeml.preprocess import Pipeline
from edgeml.preprocess.pipeline import as_floats
from edgeml.runtime.backend import Backend
from edgeml.runtime.tensors import encoder

Prepare = Callable[[ArrayLike, "int | None"], Floats]
"""`prepare(window, new)`: a raw window preprocessed, float32 in the input tensor's shape."""

Feed = Callable[[Floats], Sequence[Array]]
"""`feed(x)`: what the interpreter makes of a prepared window."""

_FLOAT32: Final = np.dtype(np.float32)
_DOT_LIMIT: Final = 8192
"""Above it OpenBLAS may start threads for a dot product, and they spin after it."""


def pipeline_of(manifest: Manifest) -> Pipeline:
    """The manifest's preprocessing, compiled.

    Raises:
        PreprocessError: a step that does not exist or does not fit.
    """
    inputs = manifest.inputs
    return Pipeline.from_steps(manifest.preprocess, inputs.shape, inputs.sample_rate_hz)


def preparer(name: str, inputs: InputSpec, pipeline: Pipeline, shape: tuple[int, ...]) -> Prepare:
    """A function that checks a raw window and preprocesses it.

    A window's dot product with itself is finite if and only if all of it is,
    unless it overflows; only then each element is looked at. That costs 0.3 µs
    where `np.isfinite(window).all()` costs 1.5 µs.

    Args:
        name: of the model, for messages.
        inputs: what a raw window looks like.
        pipeline: the preprocessing.
        shape: of the input tensor.

    Returns:
        A function that raises InputError on another shape, NaN or infinity.
    """
    wanted = inputs.shape
    small = math.prod(wanted) <= _DOT_LIMIT and math.prod(shape) <= _DOT_LIMIT
    ndarray, float32, isfinite = np.ndarray, _FLOAT32, math.isfinite

    def check(window: ArrayLike, _: int | None = None) -> Floats:
        if type(window) is ndarray and window.dtype is float32 and window.shape == wanted:
            x: Floats = window
        else:
            x = as_window(window, name, inputs)
        flat = x.ravel()
        if not (small and isfinite(flat.dot(flat))):
            check_finite(x, "the window")
        if not identity:
            return x
        return x[None] if leading else x.reshape(shape)

    def prepare(window: ArrayLike, new: int | None) -> Floats:
        x = pipeline(check(window), new)
        flat = x.ravel()
        if not (small and isfinite(flat.dot(flat))):
            check_finite(x, "the preprocessed window")
        return x.reshape(shape)

    identity = not pipeline.steps
    leading = shape == (1, *wanted)
    return check if identity else prepare


def batch_preparer(
    name: str, inputs: InputSpec, pipeline: Pipeline, shape: tuple[int, ...]
) -> Callable[[ArrayLike], Floats]:
    """`preparer` for many windows at once, each by itself.

    Returns:
        A function from (n, *inputs.shape) to float32 (n, *rows of the input tensor).
    """
    rows = shape[1:] if shape[:1] == (1,) else shape

    def prepare(windows: ArrayLike) -> Floats:
        x = as_floats(windows)
        if x.shape[1:] != inputs.shape or x.ndim == 0:
            raise InputError(
                f"the batch has the shape {list(x.shape)}; {name} takes "
                f"[n, {', '.join(map(str, inputs.shape))}]"
            )
        check_finite(x, "the batch")
        if pipeline.steps:
            x = pipeline.batch(x)
            check_finite(x, "the preprocessed batch")
        return x.reshape(len(x), *rows)

    return prepare


def feeder(backend: Backend) -> Feed:
    """A function that writes a prepared window into the input tensor and runs the model.

    A float32 tensor takes the window as it is; for another dtype the last
    operation of quantisation writes into the tensor's own memory.
    """
    if backend.input.dtype == _FLOAT32:
        return backend.run
    encode = encoder(backend.input, backend.input.shape)
    view, run = backend.view, backend.run

    def feed(x: Floats) -> Sequence[Array]:
        encode(x, view())
        return run()

    return feed


def as_window(window: ArrayLike, name: str, inputs: InputSpec) -> Floats:
    """A window as float32 of the right shape.

    Raises:
        InputError: another shape, or no numbers.
    """
    x = as_floats(window)
    if x.shape != inputs.shape:
        shown = inputs.channels[:8]
        names = ", ".join(f"{c.name} in {c.unit}" if c.unit else c.name for c in shown)
        more = ", …" if len(inputs.channels) > len(shown) else ""
        raise InputError(
            f"the window has the shape {list(x.shape)}; {name} takes {list(inputs.shape)}, "
            f"the last axis being {names}{more}"
        )
    return x


def check_finite(x: Floats, what: str) -> None:
    """Object to NaN and infinity.

    Raises:
        InputError: says how many, and where the first one is.
    """
    finite = np.isfinite(x)
    if finite.all():
        return
    bad = np.argwhere(~finite)
    raise InputError(
        f"{what} holds {len(bad)} NaN or infinite values, the first at {bad[0].tolist()}; "
        "decide what a missing sample means before the model sees it"
    )
