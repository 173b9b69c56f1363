"""Takes calibration and evaluation data in any form: a path, an array, or a generator of windows.

Files and folders are read by `edgeml.sensors.windowfile`, as `edgeml predict`
reads them; here is only what a converter's callers may hand over beside a path, and labels.
"""

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import InputError, SensorError
from edgeml.manifest import InputSpec
from edgeml.sensors.arrayfile import read_arrays
from edgeml.sensors.recordings import LABEL_COLUMN, TIME_COLUMN
from edgeml.sensors.windowfile import LABEL_NAMES, WindowFile, named, read_windows
from edgeml_converters.samples import numbers

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
        data: a path; an array (n, *inputs.shape); an iterable of windows or of batches of
            them, each alone or with its label or labels, of which the first 2000 windows
            are taken; or a pair of any of these and labels.
        inputs: what one window looks like.
        what: what to call the data: "calibration".

    Raises:
        InputError: it cannot be read, or its windows are of different shapes.
        MissingDependencyError: images need Pillow, and it is not installed.
    """
    if isinstance(data, tuple) and len(data) == 2 and _shape(data[0]) != inputs.shape:
        return WindowFile(gather(data[0], inputs, what).windows, np.asarray(data[1]))
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


def column_names(data: Data, count: int) -> tuple[str, ...]:
    """What the columns of a CSV are called, if so many are names; none for any other data."""
    if not isinstance(data, (str, os.PathLike)) or Path(data).suffix.lower() != ".csv":
        return ()
    try:
        with Path(data).open(newline="", encoding="utf-8-sig") as file:
            header = [name.strip() for name in next(csv.reader(file), [])]
    except (OSError, ValueError, csv.Error):
        return ()  # whoever reads all of it says what is wrong
    names = tuple(name for name in header if name not in (TIME_COLUMN, LABEL_COLUMN))
    return names if len(names) == count == len(set(names)) and numbers(names) is None else ()


def left_out(data: Data, taken: int, what: str) -> str | None:
    """What to say where more windows may have followed than were taken; None elsewhere."""
    whole = isinstance(data, (str, os.PathLike, list, tuple)) or hasattr(data, "__array__")
    if whole or taken < MAX_GENERATED:
        return None
    return (
        f"{what}: of an iterable the first {MAX_GENERATED} windows are taken, and none that "
        "followed; give an array or a file for more"
    )


def _generated(data: Iterable[Any], inputs: InputSpec, what: str) -> WindowFile:
    batches: list[npt.NDArray[Any]] = []
    labels: list[npt.NDArray[Any]] = []
    count = 0
    for item in data:
        windows, label = _batch(item, inputs, count, what)
        batches.append(windows)
        labels += [] if label is None else [label]
        count += len(windows)
        if count >= MAX_GENERATED:
            break
    if labels and len(labels) != len(batches):
        raise InputError(f"{what}: {len(labels)} of {len(batches)} windows came with a label")
    stacked = np.concatenate(batches) if batches else np.empty((0, *inputs.shape), np.float32)
    said = np.concatenate(labels)[:MAX_GENERATED] if labels else None
    return WindowFile(stacked[:MAX_GENERATED], said)


def _batch(
    item: Any, inputs: InputSpec, i: int, what: str
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """What an iterable gave: windows (k, *inputs.shape), and as many labels, if any."""
    given, label = item, None
    pair = isinstance(item, (tuple, list)) and len(item) == 2
    if pair and (isinstance(item, tuple) or _shape(item[0])[-len(inputs.shape) :] == inputs.shape):
        given, label = item[0], np.asarray(item[1])
    # TensorFlow's representative datasets yield a list of one input, with a batch axis.
    if isinstance(given, (list, tuple)) and len(given) == 1 and _shape(given) != inputs.shape:
        given = given[0]
    if _shape(given) == inputs.shape:
        one = None if label is None else label.reshape(1, *label.shape)
        return np.asarray(given)[np.newaxis], one
    if _shape(given)[1:] != inputs.shape:
        raise InputError(
            f"{what}: window {i} has the shape {list(_shape(given))}; the spec says "
            f"{list(inputs.shape)}"
        )
    windows = np.asarray(given)
    if label is not None and _shape(label)[:1] != windows.shape[:1]:
        raise InputError(
            f"{what}: a batch of {len(windows)} windows came with labels {list(label.shape)}"
        )
    return windows, label


def _shape(value: Any) -> tuple[int, ...]:
    """What numpy takes it for; empty for what is no one array."""
    try:
        return np.shape(value)
    except ValueError:
        return ()
