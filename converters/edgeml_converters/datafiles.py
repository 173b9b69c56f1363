"""Takes calibration and evaluation data in any form: a path, an array, or a generator of windows.

Files and folders are read by `edgeml.sensors.windowfile`, as `edgeml predict`
reads them; here is only what a converter's callers may hand over beside a path, and labels.
"""

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import InputError, SensorError
from edgeml.manifest import InputSpec
from edgeml.sensors.arrayfile import read_arrays
from edgeml.sensors.windowfile import LABEL_NAMES, WindowFile, named, read_windows

Data = str | os.PathLike[str] | npt.ArrayLike | Iterable[Any]
"""What windows may come as."""

MAX_GENERATED: Final = 2000
"""How many windows are taken of a generator, which may have no end."""


def read_labels(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Labels, one a window: an npy, an npz with `labels` or `y`, or a text file with one a line.

    Raises:
        InputError: there is no such file, or it holds none.
    """
    source = Path(path)
    try:
        if source.suffix.lower() in (".npy", ".npz"):
            arrays = read_arrays(source)
            labels = arrays if isinstance(arrays, np.ndarray) else named(arrays, LABEL_NAMES)
            if labels is None:
                raise InputError(f"{source}: no array named {' or '.join(LABEL_NAMES)}")
            return labels
        lines = [line.strip() for line in source.read_text("utf-8").splitlines() if line.strip()]
    except SensorError as exc:
        raise InputError(str(exc)) from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{source}: cannot be read ({exc})") from exc
    try:
        return np.array([float(line) for line in lines])
    except ValueError:
        return np.array(lines)


def gather(data: Data, inputs: InputSpec, what: str) -> WindowFile:
    """Windows, and labels where the data hold them, not yet checked.

    Args:
        data: a path; an array (n, *inputs.shape); or an iterable of windows, or of
            (window, label) pairs, of which the first 2000 are taken.
        inputs: what one window looks like.
        what: what to call the data: "calibration".

    Raises:
        InputError: it cannot be read, or its windows are of different shapes.
        MissingDependencyError: images need Pillow, and it is not installed.
    """
    if isinstance(data, (str, os.PathLike)):
        return read_windows(data, inputs)
    if hasattr(data, "__array__") or isinstance(data, (list, tuple)):
        try:
            return WindowFile(np.asarray(data), None)
        except ValueError as exc:
            raise InputError(f"{what}: the windows are not of one shape ({exc})") from exc
    if isinstance(data, Iterable):
        return _generated(data, inputs, what)
    raise InputError(
        f"{what}: a {type(data).__name__}; give a path, an array or an iterable of windows"
    )


def _generated(data: Iterable[Any], inputs: InputSpec, what: str) -> WindowFile:
    windows: list[npt.NDArray[Any]] = []
    labels: list[Any] = []
    for item in islice(data, MAX_GENERATED):
        window = item
        if isinstance(item, tuple) and len(item) == 2:
            window, label = item
            labels.append(label)
        windows.append(_one(window, inputs, len(windows), what))
    if labels and len(labels) != len(windows):
        raise InputError(f"{what}: {len(labels)} of {len(windows)} windows came with a label")
    stacked = np.stack(windows) if windows else np.empty((0, *inputs.shape), np.float32)
    return WindowFile(stacked, np.asarray(labels) if labels else None)


def _one(window: Any, inputs: InputSpec, i: int, what: str) -> npt.NDArray[Any]:
    array = np.asarray(window)
    # TensorFlow's representative datasets yield a list of one input, with a batch axis of 1.
    while array.ndim > len(inputs.shape) and array.shape[0] == 1:
        array = array[0]
    if array.shape != inputs.shape:
        raise InputError(
            f"{what}: window {i} has the shape {list(array.shape)}; the spec says "
            f"{list(inputs.shape)}"
        )
    return array
