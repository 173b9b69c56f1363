"""Reads windows and labels from the files people keep them in.

A window file is `.npz` (an array named `windows`, `x` or `recordings`, or the
only one; labels beside it as `labels` or `y`), `.npy`, or `.csv` (a row a
sample, cut into windows by the spec). Nothing is unpickled.
"""

import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import InputError, nearest
from edgeml.manifest import InputSpec

WINDOW_NAMES: Final = ("windows", "x", "recordings")
LABEL_NAMES: Final = ("labels", "y")
MAX_DATA_BYTES: Final = 4 << 30
"""Of an npz's content, so that a small hostile file cannot fill the memory."""
_DAMAGE: Final = (OSError, ValueError, EOFError, MemoryError)
"""What numpy raises on a damaged array; MemoryError where its header claims a hostile size."""

Array = npt.NDArray[Any]


def read_windows(path: str | os.PathLike[str], inputs: InputSpec) -> tuple[Array, Array | None]:
    """Raw windows, and labels where the same file holds them.

    Args:
        path: an npz, npy or csv file.
        inputs: cuts a csv's rows into windows and names its columns.

    Raises:
        InputError: there is no such file, it is damaged, or its arrays have other names.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix == ".npz":
        arrays = _npz(file)
        windows = _named(arrays, WINDOW_NAMES)
        if windows is None:
            numeric = [name for name in arrays if name not in LABEL_NAMES]
            if len(numeric) != 1:
                raise InputError(
                    f"{file}: no array named {' or '.join(WINDOW_NAMES)} among {', '.join(arrays)}"
                )
            windows = arrays[numeric[0]]
        return windows, _named(arrays, LABEL_NAMES)
    if suffix == ".npy":
        return _npy(file), None
    if suffix == ".csv":
        return _csv(file, inputs), None
    known = (".npz", ".npy", ".csv")
    raise InputError(
        f"{file}: {suffix or 'no suffix'} is none of {', '.join(known)}{nearest(suffix, known)}"
    )


def read_labels(path: str | os.PathLike[str]) -> Array:
    """Labels, one a window: an npy, an npz with `labels` or `y`, or a text file with one a line.

    Raises:
        InputError: there is no such file, or it holds none.
    """
    file = Path(path)
    if file.suffix.lower() == ".npy":
        return _npy(file)
    if file.suffix.lower() == ".npz":
        labels = _named(_npz(file), LABEL_NAMES)
        if labels is None:
            raise InputError(f"{file}: no array named {' or '.join(LABEL_NAMES)}")
        return labels
    try:
        lines = [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{file}: cannot be read ({exc})") from exc
    try:
        return np.array([float(line) for line in lines])
    except ValueError:
        return np.array(lines)


def _named(arrays: dict[str, Array], names: Sequence[str]) -> Array | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _npz(file: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_DATA_BYTES:
            raise InputError(f"{file}: {size} bytes once unpacked, more than {MAX_DATA_BYTES}")
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (*_DAMAGE, zipfile.BadZipFile, zlib.error, NotImplementedError) as exc:
        raise exc if isinstance(exc, InputError) else _unreadable(file, exc) from exc


def _npy(file: Path) -> Array:
    try:
        array: Array = np.load(file, allow_pickle=False)
    except _DAMAGE as exc:
        raise _unreadable(file, exc) from exc
    if not isinstance(array, np.ndarray):
        raise InputError(f"{file}: a .npy file with something else than one array in it")
    return array


def _csv(file: Path, inputs: InputSpec) -> Array:
    names = [channel.name for channel in inputs.channels]
    try:
        with file.open(encoding="utf-8") as lines:
            header = [cell.strip() for cell in lines.readline().split(",")]
        for name in names:
            if name not in header:
                raise InputError(f"{file}: no column {name!r}{nearest(name, header)}")
        columns = [header.index(name) for name in names]
        rows = np.loadtxt(file, np.float32, delimiter=",", skiprows=1, usecols=columns, ndmin=2)
    except (OSError, ValueError) as exc:
        raise exc if isinstance(exc, InputError) else _unreadable(file, exc) from exc
    if len(rows) < inputs.window:
        raise InputError(f"{file}: {len(rows)} rows, fewer than one window of {inputs.window}")
    starts = range(0, len(rows) - inputs.window + 1, inputs.stride)
    cut = np.stack([rows[start : start + inputs.window] for start in starts])
    return cut.reshape(-1, *inputs.shape)


def _unreadable(file: Path, exc: Exception) -> InputError:
    detail = " ".join(str(exc).split())[:200]
    return InputError(f"{file}: cannot be read ({detail or type(exc).__name__})")
