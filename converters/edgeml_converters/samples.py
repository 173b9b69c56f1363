"""The windows a model is calibrated and judged on: read, checked, counted, fingerprinted.

Windows here are raw, in sensor units, as a device will see them; nothing is
calibrated on data that did not go through the bundle's own preprocessing. What
makes data useless is an error; what makes it poor is a warning with the number
that would be wise.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from edgeml.errors import InputError, nearest
from edgeml.manifest import InputSpec, OutputSpec, PreprocessStep

Floats = npt.NDArray[np.float32]
ArrayT = TypeVar("ArrayT", bound=npt.NDArray[Any])
Labels = npt.NDArray[Any]

WISE_SAMPLES: Final = 100
"""TensorFlow's advice for post-training quantisation: around 100 to 500 representative windows."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Raw windows, and what is true of them.

    Attributes:
        windows: float32 (n, *inputs.shape), finite.
        labels: (n,) class indices as int64 for a classification, 0 or 1 for an
            anomaly, float32 values otherwise; None where nobody said.
    """

    windows: Floats
    labels: Labels | None = None

    def __len__(self) -> int:
        return len(self.windows)

    def digest(self) -> str:
        """SHA-256 over shape and values, in hex: which data this was."""
        state = hashlib.sha256(repr(self.windows.shape).encode())
        state.update(np.ascontiguousarray(self.windows, "<f4").tobytes())
        return state.hexdigest()


def check_windows(windows: npt.ArrayLike, inputs: InputSpec, what: str) -> Floats:
    """Raw windows as float32, or an error that says what is wrong with them.

    Args:
        windows: (n, *inputs.shape), numbers.
        inputs: what one window looks like.
        what: what to call them: "calibration".

    Raises:
        InputError: not numbers, another shape, none at all, NaN or infinity.
    """
    try:
        array = np.asarray(windows)
        if array.dtype.kind not in "fiub":
            raise InputError(f"{what}: the windows hold {array.dtype}, not numbers")
        array = np.ascontiguousarray(array, np.float32)
    except (TypeError, ValueError) as exc:
        if isinstance(exc, InputError):
            raise
        raise InputError(f"{what}: the windows are not one array of numbers ({exc})") from exc
    if array.shape[1:] != inputs.shape:
        raise InputError(
            f"{what}: the windows have the shape {list(array.shape)}; the spec says "
            f"(n, {', '.join(map(str, inputs.shape))})"
        )
    if not len(array):
        raise InputError(f"{what}: there are no windows")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise InputError(
            f"{what}: {len(bad)} values are NaN or infinite, the first in window {bad[0][0]}; "
            "drop those windows or fill the gaps before converting"
        )
    return array


def check_labels(labels: npt.ArrayLike, outputs: OutputSpec, n: int, what: str) -> Labels:
    """Labels in the form that the task's metrics use.

    Args:
        labels: n of them: names or indices for a classification, 0 and 1 (or
            "normal" and "anomaly") for an anomaly, numbers for a regression. Numbers that
            are all names of labels are these names: 2 is the label "2", wherever it stands.
        outputs: the task and its labels.
        n: how many windows there are.
        what: what to call them.

    Raises:
        InputError: another number of labels, an unknown one, NaN.
    """
    array = np.asarray(labels)
    if len(array.shape) < 1 or len(array) != n:
        raise InputError(f"{what}: {array.size} labels for {n} windows")
    if array.dtype.kind in "USO":
        names = ("normal", "anomaly") if outputs.task == "anomaly" else outputs.labels
        return _indices([_text(name) for name in array.ravel()], names, what)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what}: the labels hold {array.dtype}; use names, indices or numbers")
    lost = int(np.sum(~np.isfinite(array.astype(np.float64))))
    if lost:
        raise InputError(
            f"{what}: {lost} labels are NaN or infinite; drop those windows, or label them"
        )
    if outputs.task not in ("classification", "anomaly"):
        return array.astype(np.float32)
    count = 2 if outputs.task == "anomaly" else len(outputs.labels)
    named = _by_number(array, outputs.labels) if array.size == n else None
    if named is not None:
        return named
    indices = array.astype(np.int64)
    if indices.size != n or (indices != array).any():
        raise InputError(
            f"{what}: labels {list(array.shape)} such as {array.ravel()[-1]:g}; a class is one "
            "whole number, or a name"
        )
    indices = indices.reshape(n)
    if not 0 <= indices.min() <= indices.max() < count:
        raise InputError(
            f"{what}: labels run from {indices.min()} to {indices.max()}, not 0 to {count - 1}"
        )
    return indices


def _text(label: Any) -> str:
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)


def _by_number(array: Labels, known: Sequence[str]) -> Labels | None:
    """The places of labels whose names are these numbers; None where they are not all names."""
    place = {number: i for i, number in enumerate(numbers(known) or ())}
    values = array.reshape(-1).astype(np.float64).tolist()
    if len(place) != len(known) or not place.keys() >= set(values):
        return None
    return np.array([place[value] for value in values], np.int64)


def numbers(names: Sequence[str]) -> tuple[float, ...] | None:
    """Names of labels as the numbers that they are; None where one is none."""
    try:
        return tuple(float(name) for name in names)
    except ValueError:
        return None


def _indices(names: Sequence[str], known: Sequence[str], what: str) -> Labels:
    if not known:
        raise InputError(
            f"{what}: the labels are names such as {names[0]!r}, but the model has none to compare "
            "with; name its task and its labels in a spec"
        )
    place = {name: i for i, name in enumerate(known)}
    for name in names:
        if name not in place:
            raise InputError(
                f"{what}: label {name!r} is none of {', '.join(known)}{nearest(name, known)}"
            )
    return np.array([place[name] for name in names], np.int64)


def warnings_about(windows: Floats, inputs: InputSpec, what: str) -> tuple[str, ...]:
    """What makes these windows poor for calibration, in words."""
    found = []
    if len(windows) < WISE_SAMPLES:
        found.append(
            f"{what}: {len(windows)} windows; {WISE_SAMPLES} or more are wise, since ranges that "
            "calibration never saw are clipped on the device"
        )
    if len(inputs.shape) == 2 or inputs.shape[-1] > 1:
        flat = windows.reshape(-1, inputs.shape[-1])
        ranges = zip(inputs.channels, flat.min(0), flat.max(0), strict=True)
        still = [f"{one.name!r} is always {low:g}" for one, low, high in ranges if low == high]
        if still:
            found.append(f"{what}: channel {shortened(still)}; was the sensor connected?")
    elif math.isclose(float(windows.min()), float(windows.max())):
        found.append(f"{what}: every value is {float(windows.min()):g}")
    return tuple(found)


def spread(windows: ArrayT, most: int) -> ArrayT:
    """At most so many windows, or whatever lies along the first axis, from the first to the last.

    The first ones would not do: data of several classes often lie class by class.
    """
    if len(windows) <= most:
        return windows
    chosen: ArrayT = windows[np.linspace(0, len(windows) - 1, most).round().astype(np.int64)]
    return chosen


def shortened(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def standardize_step(
    windows: npt.ArrayLike, *, each: bool = False, digits: int = 6
) -> PreprocessStep:
    """A `standardize` step fitted on these windows.

    Args:
        windows: (n, ..., channels), the training data as the step will be given it.
        each: a mean and a deviation for every element instead of every channel, for
            features that are not alike.
        digits: significant digits kept, so that the manifest stays readable.

    Raises:
        InputError: a channel or an element that never varies.
    """
    flat = np.asarray(windows, np.float64)
    flat = flat if each else flat.reshape(-1, flat.shape[-1])
    mean, std = flat.mean(0), flat.std(0)
    if not (std > 0).all():
        where = [int(i) for i in np.argwhere(std <= 0)[0]]
        raise InputError(f"element {where} never varies; leave it out with a select step")
    rounded = np.vectorize(lambda value: float(f"{value:.{digits}g}"))
    return PreprocessStep(
        "standardize", {"mean": rounded(mean).tolist(), "std": rounded(std).tolist()}
    )
