"""What every source becomes, and the checks that all of them share."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConversionError

Floats = npt.NDArray[np.float32]

BATCH: Final = 256


@dataclass(frozen=True, slots=True)
class LiteFile:
    """A `.tflite` that somebody made already.

    Attributes:
        tflite: without what a bundle has behind it.
        scheme: what it is.
        io: "float" or "int8": the type of its input and output, as `convert` names them.
        made_here: whether it was made of another format a moment ago, so that nobody knows
            its bytes and it may be made smaller.
    """

    tflite: bytes
    scheme: str
    io: str
    made_here: bool = False


@dataclass(frozen=True, slots=True)
class FloatModel:
    """A trained model, opened.

    `predict` is what the conversion is later held to: the model in its own
    framework. `save` writes what the converter reads: a SavedModel with a fixed
    batch of one, which keeps shape arithmetic out of the graph.

    Attributes:
        framework: "keras 3.15.1", for the report.
        input_shape: without the batch axis.
        output_shape: without the batch axis.
        predict: float32 (n, *input_shape) to float32 (n, *output_shape).
        save: writes a SavedModel, signature `serve` with a batch of 1, into a folder.
        notes: what was unusual about opening it.
        only: the one scheme that makes sense; empty where all may.
        because: why, where there is one.
        activation: what a device applies to the outputs; None leaves it to the last
            operator.
        labels: the classifier's own classes, in the order of its outputs; empty where it
            has no names for them.
        task: a manifest's, where the model itself says one; empty where it does not.
        threshold: the score from which such a model speaks of an anomaly, or of a label.
        shaped: the same model for windows of another shape with as many elements, where
            it takes plain rows; None for one that has a shape of its own.
        lite: the file itself, where the source is a `.tflite` already or became one; None
            where there is a SavedModel to make one from.
        settled: the same model converted for windows (n, *prepared) and proven on them, for
            those whose layout windows decide; None for all others.
    """

    framework: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    predict: Callable[[Floats], Floats]
    save: Callable[[Path], None]
    notes: tuple[str, ...] = ()
    only: str = ""
    because: str = ""
    activation: str | None = None
    labels: tuple[str, ...] = ()
    task: str = ""
    threshold: float | None = None
    shaped: "Callable[[tuple[int, ...]], FloatModel] | None" = None
    lite: LiteFile | None = None
    settled: "Callable[[Floats], FloatModel] | None" = None


def without_answer(said: Floats) -> int:
    """To how many windows a model answers NaN or infinity."""
    return int(np.sum(~np.isfinite(said.reshape(len(said), -1)).all(axis=1)))


def finite(said: Floats, framework: str) -> Floats:
    """What a model answers, if it is a reference: NaN has no error to measure.

    Raises:
        ConversionError: to how many windows it answers none.
    """
    lost = without_answer(said)
    if lost:
        raise ConversionError(
            f"the model itself ({framework}) answers NaN or infinity to {lost} of {len(said)} "
            "windows; did training diverge, or does the preprocessing not fit?"
        )
    return said


def one_of_each(inputs: int, outputs: int) -> None:
    """Object to a model with several inputs or outputs.

    Raises:
        ConversionError: how many there are.
    """
    if inputs != 1 or outputs != 1:
        raise ConversionError(
            f"the model has {inputs} inputs and {outputs} outputs; edgeml runs models with one of "
            "each (a Keras model that was never built has none: call it once)"
        )


def fixed(shape: Any, what: str) -> tuple[int, ...]:
    """A shape without its batch axis, every size known.

    Raises:
        ConversionError: a size is open, or zero.
    """
    sizes = tuple(shape)[1:]
    if any(n is None for n in sizes):
        raise ConversionError(
            f"the model's {what} has the shape {list(shape)}; a device needs fixed sizes: build it "
            "with an input of the window's shape"
        )
    known = tuple(int(n) for n in sizes)
    if math.prod(known) < 1:
        raise ConversionError(f"the model's {what} is empty: {list(known)}")
    return known


def in_batches(
    run: Callable[[Floats], Any], batch: Floats, output_shape: tuple[int, ...], size: int = BATCH
) -> Floats:
    """Run windows through a function, `size` at a time.

    Args:
        run: float32 (m, ...) to anything numpy reads as (m, *output_shape).
        batch: (n, ...).
        output_shape: of one answer, for n = 0.
        size: how many at a time.

    Raises:
        ConversionError: the function fails on them: a model may do so in any way.
    """
    parts = [_answer(run, batch[i : i + size]) for i in range(0, len(batch), size)]
    return np.concatenate(parts) if parts else np.empty((0, *output_shape), np.float32)


def _answer(run: Callable[[Floats], Any], windows: Floats) -> Floats:
    try:
        return np.asarray(run(windows), np.float32)
    except (ConversionError, MemoryError):
        raise
    except Exception as exc:
        raise ConversionError(
            f"the model itself fails on the windows: {first_line(exc)}; are they what it was "
            "trained on, behind the same preprocessing?"
        ) from exc


_DECORATION: Final = re.compile(r"\x1b\[[0-9;]*m|\{\{[^}]*\}\}")
"""Colours of a terminal, and what TensorFlow calls its own functions."""
_INTRODUCES: Final = "Exception encountered when calling"
"""How Keras begins; the reason stands below."""


def first_line(exc: Exception) -> str:
    """The first line that says something, of an exception that may have hundreds."""
    lines = (" ".join(line.split()) for line in _DECORATION.sub("", str(exc)).splitlines())
    said = [line for line in lines if line][:2]
    telling = said if said and said[0].startswith(_INTRODUCES) else said[:1]
    return " ".join(telling)[:300] or type(exc).__name__
