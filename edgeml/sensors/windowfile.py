"""Windows and their labels from whatever people keep them in: the one reader of all verbs.

- `.npz`: the array `windows` or `x`, else `recordings`, `samples` or `codes`, else the only
  one; labels beside it as `labels` or `y`
- `.npy`: windows, one window, or recordings
- `.csv`, `.wav`: a recording
- a folder of `.wav`, each a recording, or of images, each a window: labelled by the name of
  the folder that it lies in

A recording is cut into windows by the model's own length and stride; where it holds the
time of each sample, no window spans a gap. What it says of its rate and its channels is
held against the model's.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeml.errors import InputError, SensorError, nearest
from edgeml.manifest import InputSpec
from edgeml.sensors.arrayfile import MAX_BYTES, read_arrays
from edgeml.sensors.recordings import Recordings, rate_of, read_recordings
from edgeml.sensors.tempo import RATE_TOLERANCE, same_rate
from edgeml.sensors.window import GAP_PERIODS

WINDOW_NAMES: Final = ("windows", "x")
RECORDING_NAMES: Final = ("recordings", "samples", "codes")
LABEL_NAMES: Final = ("labels", "y")
FILES: Final = (".npz", ".npy", ".csv", ".wav")
_SAID_TOLERANCE: Final = 1e-3
"""A rate that a file says is exact, where one by its times is not."""

Array = npt.NDArray[Any]


class WindowFile(NamedTuple):
    """What a file or a folder holds.

    Attributes:
        windows: (n, *inputs.shape), n at least 1, in the file's own dtype.
        labels: (n,), as they are written; None where it has none.
    """

    windows: Array
    labels: Array | None


def read_windows(path: str | os.PathLike[str], inputs: InputSpec) -> WindowFile:
    """Raw windows, and labels where the same file holds them.

    Args:
        path: a file or a folder, see above.
        inputs: the model's: what one window looks like.

    Raises:
        InputError: there is no such file, it is damaged, or holds nothing that fits.
        MissingDependencyError: images need Pillow, and it is not installed.
    """
    source = Path(path)
    try:
        if source.is_dir():
            return _folder(source, inputs)
        suffix = source.suffix.lower()
        if suffix in (".npz", ".npy"):
            return _arrays(source, inputs)
        if suffix in (".csv", ".wav"):
            return WindowFile(_recording(source, inputs), None)
    except SensorError as exc:
        raise InputError(str(exc)) from exc
    except OSError as exc:
        raise InputError(f"{source}: cannot be read ({exc.strerror or exc})") from exc
    raise InputError(
        f"{source}: {suffix or 'no suffix'} is none of {', '.join(FILES)} or a folder of .wav or "
        f"images{nearest(suffix, FILES)}"
    )


def cut(array: Array, inputs: InputSpec, where: str) -> tuple[Array, Array]:
    """Windows of whatever an array holds, and which of its rows each comes from.

    Args:
        array: windows (n, *inputs.shape), one window, recordings (n, samples, ...) or
            one recording (samples, ...).
        inputs: what one window looks like.
        where: what to call the array.

    Raises:
        InputError: it is none of these.
    """
    shape = inputs.shape
    if array.dtype.kind not in "fiub":
        raise InputError(f"{where}: holds {array.dtype}, not numbers")
    if array.shape[1:] == shape:
        return array, np.arange(len(array))
    if array.shape == shape:
        return array[np.newaxis], np.zeros(1, np.int64)
    recordings = array[np.newaxis] if array.ndim == len(shape) else array
    fits = recordings.ndim == len(shape) + 1 and recordings.shape[2:] == shape[1:]
    if not fits or recordings.shape[1] < inputs.window or not len(recordings):
        raise InputError(
            f"{where}: an array {list(array.shape)}; the model takes windows "
            f"[n, {', '.join(map(str, shape))}] or recordings longer than a window"
        )
    starts = range(0, recordings.shape[1] - inputs.window + 1, inputs.stride)
    windows = [
        recording[start : start + inputs.window] for recording in recordings for start in starts
    ]
    return np.stack(windows), np.repeat(np.arange(len(recordings)), len(starts))


def named(arrays: dict[str, Array], names: Sequence[str]) -> Array | None:
    """The first of these arrays that is there."""
    return next((arrays[name] for name in names if name in arrays), None)


def _arrays(source: Path, inputs: InputSpec) -> WindowFile:
    arrays = read_arrays(source)
    if isinstance(arrays, np.ndarray):
        return WindowFile(cut(arrays, inputs, str(source))[0], None)
    labels = named(arrays, LABEL_NAMES)
    windows = named(arrays, WINDOW_NAMES)
    if windows is None and named(arrays, RECORDING_NAMES) is not None:
        found = _recordings(source, inputs)
        windows, rows = _cut(found, inputs, str(source))
        whole = labels is not None and len(labels) == len(found.played)
        return WindowFile(windows, labels[rows] if labels is not None and whole else labels)
    if windows is None:
        others = [name for name in arrays if name not in LABEL_NAMES]
        if len(others) != 1:
            raise InputError(
                f"{source}: no array named {', '.join((*WINDOW_NAMES, *RECORDING_NAMES))} among "
                f"{', '.join(arrays) or 'nothing'}; which of them is it? Name it 'windows'"
            )
        windows = arrays[others[0]]
    return WindowFile(cut(windows, inputs, str(source))[0], labels)


def _recordings(source: Path, inputs: InputSpec) -> Recordings:
    names = [channel.name for channel in inputs.channels]
    found = read_recordings(source, channels=names, size=None, colour="rgb")
    _check_rate(source, found.rate_hz, inputs.sample_rate_hz, _SAID_TOLERANCE)
    _check_rate(source, rate_of(found.times_s), inputs.sample_rate_hz, RATE_TOLERANCE)
    said = found.channel_names
    if source.suffix.lower() == ".npz" and said is not None and list(said) != names:
        raise InputError(
            f"{source}: its channels are {', '.join(said)}; the model takes {', '.join(names)}"
        )
    return found


def _check_rate(
    source: Path, found_hz: float | None, wanted_hz: float | None, tolerance: float
) -> None:
    if wanted_hz and found_hz and not same_rate(found_hz, wanted_hz, tolerance):
        raise InputError(
            f"{source}: {found_hz:g} samples a second, but the model takes {wanted_hz:g}; "
            f"resample it, a .wav with: ffmpeg -i IN.wav -ar {wanted_hz:g} OUT.wav"
        )


def _recording(source: Path, inputs: InputSpec) -> Array:
    """Every window of one recording."""
    found = _recordings(source, inputs)
    played = np.asarray(found.played)
    samples = played.shape[1]
    if samples < inputs.window:
        raise InputError(f"{source}: {samples} rows, fewer than one window of {inputs.window}")
    flat = (1, samples, *inputs.shape[1:])
    if played.size == np.prod(flat):
        found = replace(found, played=played.reshape(flat))
    return _cut(found, inputs, str(source))[0]


def _cut(found: Recordings, inputs: InputSpec, where: str) -> tuple[Array, Array]:
    """`cut`, and never across a gap of a recording that holds its times."""
    played = np.asarray(found.played)
    if found.times_s is None:
        return cut(played, inputs, where)
    rate = inputs.sample_rate_hz
    steps_s = np.diff(found.times_s)
    joined = (steps_s > 0) & (steps_s <= (GAP_PERIODS / rate if rate else np.inf))
    parts = np.split(played[0], np.flatnonzero(~joined) + 1)
    whole = [cut(part, inputs, where)[0] for part in parts if len(part) >= inputs.window]
    if not whole:
        raise InputError(
            f"{where}: no {inputs.window} rows, a window, without a gap in their times"
        )
    return np.concatenate(whole), np.zeros(sum(map(len, whole)), np.int64)


def _folder(source: Path, inputs: InputSpec) -> WindowFile:
    sounds = sorted(path for path in source.rglob("*") if path.suffix.lower() == ".wav")
    return _sounds(source, sounds, inputs) if sounds else _images(source, inputs)


def _sounds(source: Path, sounds: Sequence[Path], inputs: InputSpec) -> WindowFile:
    found: list[Array] = []
    labels: list[str] = []
    held = 0
    for path in sounds:
        windows = _recording(path, inputs)
        held += windows.nbytes
        if held > MAX_BYTES:
            raise InputError(f"{source}: more than {MAX_BYTES} bytes of windows; leave some out")
        found.append(windows)
        labels += [path.parent.name] * len(windows)
    nested = any(path.parent != source for path in sounds)
    return WindowFile(np.concatenate(found), np.array(labels) if nested else None)


def _images(source: Path, inputs: InputSpec) -> WindowFile:
    shape = inputs.shape
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise InputError(
            f"{source}: a folder without .wav; images would give windows (height, width, 1 or 3), "
            f"but the model takes {list(shape)}"
        )
    colour = "grey" if shape[-1] == 1 else "rgb"
    found = read_recordings(source, channels=None, size=shape[:2], colour=colour)
    frames = list(found.played[0])
    return WindowFile(np.stack(frames), None if found.labels is None else np.array(found.labels))
