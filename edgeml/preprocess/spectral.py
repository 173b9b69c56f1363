"""Spectra: of the whole window, and of short frames along it.

Fourier transforms run in float64 and are rounded to float32 once at the end.
numpy 1 always works so, numpy 2 would transform float32 in float32; asking for
float64 keeps a model's features the same on both.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from edgeml.arrays import Wide
from edgeml.errors import PreprocessError
from edgeml.jsonread import Fields
from edgeml.manifest import MAX_ELEMENTS
from edgeml.preprocess.params import choice, whole
from edgeml.preprocess.stage import Array, Signal, Stage, signal, widen

COSINES: Final = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "rectangular": (1.0,),
}
"""Each window as a sum of cosines with alternating signs (Harris, 1978)."""

WINDOWS: Final = tuple(COSINES)

SPECTRA = ("magnitude", "power")
MAX_TRANSFORM = 1 << 16


def rfft(fields: Fields, given: Signal) -> Stage:
    """The spectrum of each channel over the whole window, from 0 Hz to half the sample rate.

    `output`: magnitude |X| (the default) or power |X|^2, not divided by the length.
    `n_fft`: rows to transform, the window padded with zeros; the window's own if left out.
    Gives (n_fft // 2 + 1, channels).
    """
    rows = given.shape[0]
    output = choice(fields, "output", SPECTRA, default="magnitude")
    n_fft = whole(fields, "n_fft", rows, max(rows, MAX_TRANSFORM), default=rows)
    result = signal(fields, (n_fft // 2 + 1, *given.shape[1:]))
    rank = len(given.shape)

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        return as_rows(spectrum(as_columns(x, rank), n_fft, output), x, rank)

    return Stage(result, run)


def spectrogram(fields: Fields, given: Signal) -> Stage:
    """The spectrum of each frame: (frames, n_fft // 2 + 1, channels).

    `frame` and `hop`, in rows: the first frame starts at row 0 and the last one is
    the last to fit. `n_fft` (the frame's length if left out), `window` (hann,
    periodic) and `output` (magnitude, or power) as elsewhere.
    """
    frames = Frames.read(fields, given)
    output = choice(fields, "output", SPECTRA, default="magnitude")
    result = signal(fields, (frames.count, frames.bins, *given.shape[1:]), frames.rate_hz(given))
    rank = len(given.shape)

    def run(x: Array, out: Array | None) -> Array:  # noqa: ARG001
        return as_rows(frames.spectra(as_columns(x, rank), output), x, rank)

    return Stage(result, run)


@dataclass(frozen=True, slots=True)
class Frames:
    """How a window is cut into frames, each to be tapered and transformed.

    Attributes:
        frame: rows in a frame.
        hop: rows from one frame's start to the next one's.
        n_fft: rows transformed, the frame padded with zeros.
        count: frames in a window.
        taper: float64 (frame,).
    """

    frame: int
    hop: int
    n_fft: int
    count: int
    taper: Wide

    @classmethod
    def read(cls, fields: Fields, given: Signal) -> "Frames":
        """From the parameters frame, hop, n_fft and window.

        Raises:
            PreprocessError: a frame longer than the window or than the transform, or more
                frames than memory should have to hold.
        """
        rows = given.shape[0]
        frame = whole(fields, "frame", 1, rows)
        hop = whole(fields, "hop", 1, rows)
        n_fft = whole(fields, "n_fft", frame, max(frame, MAX_TRANSFORM), default=frame)
        name = choice(fields, "window", WINDOWS, default="hann")
        count = 1 + (rows - frame) // hop
        if count * n_fft > MAX_ELEMENTS:
            raise PreprocessError(
                f"{fields.path} would transform {count} frames of {n_fft} rows, more than "
                f"{MAX_ELEMENTS} in all; take a longer hop or a shorter frame"
            )
        return cls(frame, hop, n_fft, count, window_function(name, frame))

    @property
    def bins(self) -> int:
        """Frequencies in a frame's spectrum."""
        return self.n_fft // 2 + 1

    def rate_hz(self, given: Signal) -> float | None:
        """Frames a second."""
        return None if given.sample_rate_hz is None else given.sample_rate_hz / self.hop

    def spectra(self, columns: Wide, output: str) -> Wide:
        """(..., columns, rows) to (..., columns, frames, bins)."""
        cut = np.lib.stride_tricks.sliding_window_view(columns, self.frame, axis=-1)
        return spectrum(cut[..., :: self.hop, :] * self.taper, self.n_fft, output)


def window_function(name: str, size: int, periodic: bool = True) -> Wide:
    """A window of `size` values, float64.

    Periodic leaves out the last of size + 1 symmetric values, so that frames
    overlapping by half add up evenly; symmetric has both ends.
    """
    if size == 1:
        return np.ones(1)
    span = size if periodic else size - 1
    phase = 2 * np.pi * np.arange(size) / span
    total = np.zeros(size)
    for k, weight in enumerate(COSINES[name]):
        total += (-1) ** k * weight * np.cos(k * phase)
    return total


def spectrum(x: Wide, n_fft: int, output: str) -> Wide:
    """Magnitude or power of the transform of the last axis, padded with zeros to n_fft."""
    transformed = np.fft.rfft(x, n_fft, axis=-1)
    power: Wide = np.square(transformed.real) + np.square(transformed.imag)
    return power if output == "power" else np.sqrt(power, power)


def as_columns(x: Array, rank: int) -> Wide:
    """(..., rows, *rest) of a window of `rank` axes to float64 (..., columns, rows)."""
    lead = x.shape[: x.ndim - rank]
    wide = x.reshape((*lead, x.shape[x.ndim - rank], -1)).swapaxes(-1, -2)
    return widen(wide)


def as_rows(y: Wide, like: Array, rank: int) -> Array:
    """(..., columns, *body) back to float32 (..., *body, *rest), `rest` as in `like`."""
    split = like.ndim - rank
    rows_first = np.moveaxis(y, split, -1).astype(np.float32, order="C")
    return rows_first.reshape((*rows_first.shape[:-1], *like.shape[split + 1 :]))
